import { flexRefusal } from '../../../batch/flex.ts'
import type { DirectCall } from '../../../batch/remote-api.ts'
import { RemoteError } from '../../../errors.ts'
import { withServiceTier } from '../../body/prepare-body.ts'
import type { Outcome, StoredRequest } from '../../domain/request.ts'
import type { TakenCall } from '../../store/store.ts'
import { afterCall, afterFlexRefusal } from './after-call.ts'
import { beforeCall } from './before-call.ts'
import { fitsBudget } from './budget.ts'
import { answeredWith, type CallAnswer, endOf, failureOf, retryAfterMsOf } from './call-answer.ts'
import type { CallContext } from './call-context.ts'
import type { CallKnowledge, CallNote, Tier } from './call-knowledge.ts'
import type { LadderWatch } from './ladder-watch.ts'

/** A flex call may be queued at the server: its answer is waited for at least this long. */
const LEAST_FLEX_TIMEOUT_MS = 15 * 60_000

interface Sent {
  readonly tier: Tier
  /** By the store's clock, in milliseconds since 1970. */
  readonly sentAtMs: number
}

/** Makes one call that is committed as sent, and says what it came to. Commits nothing itself. */
export class Caller {
  readonly #context: CallContext
  readonly #knowledge: CallKnowledge
  readonly #watch: LadderWatch

  constructor(context: CallContext, knowledge: CallKnowledge, watch: LadderWatch) {
    this.#context = context
    this.#knowledge = knowledge
    this.#watch = watch
  }

  /** `cut` breaks the call off: whether it was carried out is unknown then. */
  async call(taken: TakenCall, cut: AbortSignal): Promise<Outcome> {
    const { settings, time } = this.#context
    const { request } = taken
    const before = beforeCall(request, { ...this.#facts(request), maxAttempts: settings.maxAttempts })
    if (before.kind === 'settle') return before.outcome
    const sentAtMs = time.now()
    const answer = await this.#send(taken, before.tier, cut)
    return this.#judge(request, answer, { tier: before.tier, sentAtMs })
  }

  async #send({ request, bodyText }: TakenCall, tier: Tier, cut: AbortSignal): Promise<CallAnswer> {
    const { settings, clock } = this.#context
    const { endpoint } = request
    const timeoutMs =
      tier === 'flex' ? Math.max(settings.requestTimeoutMs, LEAST_FLEX_TIMEOUT_MS) : settings.requestTimeoutMs
    const text = tier === 'flex' ? withServiceTier(bodyText, 'flex') : bodyText
    this.#knowledge.began(request, tier, clock.now())
    const answer = await this.#ask({ endpoint, bodyText: text, timeoutMs }, cut)
    this.#knowledge.finished(request, tier, this.#noteOf(request, answer))
    return answer
  }

  async #ask(call: DirectCall, cut: AbortSignal): Promise<CallAnswer> {
    try {
      return answeredWith(call.endpoint, await this.#context.api.call(call, cut))
    } catch (error) {
      if (error instanceof RemoteError) return { kind: 'none', error }
      throw error
    }
  }

  #judge(request: StoredRequest, answer: CallAnswer, sent: Sent): Outcome {
    const failure = failureOf(answer)
    const refusal = sent.tier === 'flex' && failure ? flexRefusal(failure) : undefined
    const note = this.#noteOf(request, answer)
    if (refusal) {
      this.#knowledge.flexRefused(refusal, note)
      return afterFlexRefusal(request, refusal, this.#facts(request))
    }
    this.#knowledge.note(note)
    if (sent.tier === 'flex' && !failure) this.#knowledge.flexWorked(request.model)
    const outcome = afterCall(request, answer, { ...sent, ...this.#afterFacts(request) })
    if (outcome.kind === 'again' && failure?.refusal === 'key')
      this.#context.log.error('upstream_key_refused', { status: failure.status, code: failure.code })
    return outcome
  }

  #afterFacts({ model }: StoredRequest) {
    const { settings, valuer, time, clock } = this.#context
    const { failing, keyWorks } = this.#knowledge
    const pauseMs = this.#knowledge.pauseMs(model, clock.now())
    return { nowMs: time.now(), maxAttempts: settings.maxAttempts, failing, keyWorks, pauseMs, valuer }
  }

  #noteOf({ id, model }: StoredRequest, answer: CallAnswer): CallNote {
    const nowMs = this.#context.clock.now()
    return { request: id, model, end: endOf(answer), retryAfterMs: retryAfterMsOf(answer), nowMs }
  }

  #facts(request: StoredRequest) {
    const { time, clock, valuer } = this.#context
    const nowMs = time.now()
    return {
      nowMs,
      ladder: this.#watch.factsFor(request),
      flexPauseMs: this.#knowledge.flexPauseMs(request.model, clock.now()),
      fits: (route: StoredRequest['route']) => fitsBudget(request, route, { valuer, nowMs }),
    }
  }
}
