import { NightshiftError } from '../../../errors.ts'
import type { Endpoint } from '../../../openai/wire.ts'
import type { Clock } from '../../../util/clock.ts'
import { assertNever } from '../../../util/exhaustive.ts'
import { prepareBody } from '../../body/prepare-body.ts'
import type { RefusedModels } from '../../body/unbatchable.ts'
import type { Acceptance, Arrival } from '../../domain/arrival.ts'
import type { StoredAnswer } from '../../domain/request.ts'
import type { Arrived } from '../../engine/engine.ts'
import type { GatewaySettings } from '../../settings.ts'
import type { Caller } from '../access/access.ts'
import { type CallWishes, readWishes } from '../call-wishes.ts'
import { type ClientLine, lineOf } from '../client-line.ts'
import { comeBack, HttpError, refused } from '../http-error.ts'
import { readBytes } from '../read-body.ts'
import type { Remembered } from '../remembered.ts'
import type { Call, HeaderReader, Reply, ReplyHeaders } from '../reply.ts'
import { newRequestId } from '../request-id.ts'
import { holdMs } from '../waiting/hold.ts'
import type { Releases } from '../waiting/releases.ts'
import type { Waiter } from '../waiting/waiter.ts'
import type { WaitingRoom } from '../waiting/waiting-room.ts'
import { checkWebhook, type WebhookRules } from '../webhook-url.ts'
import {
  answerHeaders,
  answerReply,
  closingReply,
  type Form,
  isSuccess,
  pendingReply,
  queuedReply,
} from './answer-reply.ts'
import { eventReply, waitingReply } from './event-stream.ts'
import { makeArrival, type RouteAdvice } from './make-arrival.ts'
import { type Accepted, acceptedOf } from './refusals.ts'

/** Puts calls on record, many at once. */
export interface Intake {
  accept(arrival: Arrival): Promise<Acceptance>
}

export interface InferenceParts {
  readonly settings: Pick<
    GatewaySettings,
    'mode' | 'cacheMs' | 'claimMs' | 'maxHoldMs' | 'heartbeatMs' | 'maxBodyBytes' | 'maxBatchBytes'
  >
  readonly webhooks: WebhookRules
  readonly intake: Intake
  readonly room: WaitingRoom
  readonly releases: Releases
  readonly answers: (ids: readonly string[]) => Promise<ReadonlyMap<string, StoredAnswer>>
  readonly refusedModels: Remembered<RefusedModels>
  readonly advice: RouteAdvice
  /** A request was put on record. */
  readonly arrived: (request: Arrived) => void
  /** So long it took until a call was on record. */
  readonly onAccepted: (kind: string, ms: number) => void
  readonly replica: string
  readonly clock: Clock
}

/** A call that is on record, and all that is still needed of it: its body is gone by now. */
interface Taken {
  readonly accepted: Accepted
  readonly form: Form
  readonly wishes: CallWishes
  /** When it came in. */
  readonly at: number
  readonly line: ClientLine
  /** Of whoever waits. */
  readonly waiter: Waiter | undefined
  /** Where requests are asked for, under the prefix that the call came by. */
  readonly requestsPath: string
}

/** What a caller is told, apart from its body, that it came to. */
export interface Entrance {
  readonly caller: Caller
  readonly header: HeaderReader
  readonly headers: ReplyHeaders
}

const MODELS_FRESH_MS = 5000
/** Signs of life come no more often, however little patience a client has. */
const MIN_BEAT_MS = 250

/** The endpoints whose requests are batched. */
export class Inference {
  readonly #parts: InferenceParts

  constructor(parts: InferenceParts) {
    this.#parts = parts
  }

  async serve(call: Call, endpoint: Endpoint, entrance: Entrance): Promise<Reply> {
    const taken = await this.#take(call, endpoint, entrance)
    const { accepted, wishes, waiter } = taken
    if (accepted.kind === 'cached' || (accepted.kind === 'joined' && accepted.isDone)) {
      if (waiter) this.#parts.room.forget(waiter)
      return this.#stored(taken)
    }
    if (waiter) {
      taken.line.dropHeaders()
      const isStream = taken.form.isStreamed && wishes.mode === 'sync'
      return isStream ? this.#stream(taken, waiter) : this.#hold(taken, waiter)
    }
    if (wishes.mode === 'async') return queued(taken)
    return pendingReply(accepted.id, taken.form, { nowMs: this.#parts.clock.now(), returns: false })
  }

  /** Reads a call and puts it on record. Throws `HttpError` and `StoreError`, and then nothing is stored. */
  async #take(call: Call, endpoint: Endpoint, { caller, header, headers }: Entrance): Promise<Taken> {
    const { settings, clock, onAccepted } = this.#parts
    const at = clock.now()
    const wishes = readWishes(header, { nowMs: at, mode: settings.mode, cacheMs: settings.cacheMs })
    if (wishes.webhook !== undefined) checkWebhook(wishes.webhook, this.#parts.webhooks)
    const bytes = await readBytes(call, header, settings.maxBodyBytes)
    const refusedModels = await this.#parts.refusedModels.get(MODELS_FRESH_MS)
    const id = newRequestId(at)
    const prepared = prepareBody(endpoint, bytes, { id, refusedModels, maxLineBytes: settings.maxBatchBytes })
    if (prepared.kind === 'refused') throw refused(prepared)
    const waits = wishes.mode === 'sync' || (wishes.mode === 'async' && wishes.waitMs !== undefined)
    const holder = waits ? this.#parts.replica : undefined
    const facts = {
      id,
      tenant: caller.tenant,
      prepared,
      wishes,
      holder,
      claimMs: settings.claimMs,
      nowMs: at,
    }
    const arrival = makeArrival(facts, this.#parts.advice)
    const { isStreamed, includeUsage } = prepared
    const applied =
      wishes.applied === undefined ? headers : { ...headers, 'preference-applied': wishes.applied }
    const form = { endpoint, isStreamed, includeUsage, headers: applied }
    const line = lineOf(call)
    const { accepted, waiter } = await this.#accept(arrival, line)
    onAccepted(accepted.kind, clock.now() - at)
    return { accepted, form, wishes, at, line, waiter, requestsPath: requestsPath(call) }
  }

  /** The waiter is there before the request: the notice of its answer cannot come too early. */
  async #accept(
    arrival: Arrival,
    line: ClientLine,
  ): Promise<{ accepted: Accepted; waiter: Waiter | undefined }> {
    const { room, intake, releases } = this.#parts
    const waiting = { waiter: arrival.holder === undefined ? undefined : room.enter(arrival.id) }
    try {
      const accepted = acceptedOf(await intake.accept(arrival))
      if (accepted.kind === 'new') this.#parts.arrived(arrival)
      if (waiting.waiter && accepted.id !== arrival.id) {
        room.forget(waiting.waiter)
        waiting.waiter = room.enter(accepted.id)
        if (accepted.kind === 'joined' && !accepted.isDone) room.look(accepted.id)
      }
      const { waiter } = waiting
      if (waiter) line.onGone(() => waiter.end({ kind: 'gone' }))
      if (waiter && line.isGone) waiter.end({ kind: 'gone' })
      return { accepted, waiter }
    } catch (error) {
      if (waiting.waiter) room.forget(waiting.waiter)
      // It may be on record after all, and would be held for nobody.
      if (NightshiftError.is(error) && error.code === 'in_doubt') releases.owe(arrival.id, 'letGo')
      throw error
    }
  }

  /** The answer is there. */
  async #stored({ accepted, form, line }: Taken): Promise<Reply> {
    const { id } = accepted
    const answer = (await this.#parts.answers([id])).get(id)
    // It was forgotten just now, being too old: the same call makes a new request.
    if (!answer)
      throw new HttpError(503, 'answer_forgotten', 'Send the request again.', { headers: comeBack(1) })
    if (accepted.kind === 'cached') return this.#give(answer, form, true)
    this.#confirm(id, line)
    return this.#give(answer, form, false)
  }

  #give(answer: StoredAnswer, form: Form, isCached: boolean): Reply {
    if (form.isStreamed && isSuccess(answer)) return eventReply(answer, form, answerHeaders(answer, isCached))
    return answerReply(answer, form, isCached)
  }

  /** An answer counts as delivered when all of it went out; until then whoever asks again gets it. */
  #confirm(id: string, line: ClientLine): void {
    const { releases } = this.#parts
    let isSent = false
    line.onSent(() => {
      isSent = true
      void releases.tell(id, 'delivered')
    })
    const letGo = (): void => {
      if (!isSent) void releases.tell(id, 'letGo')
    }
    line.onGone(letGo)
    if (line.isGone) letGo()
  }

  /** Waits with nothing said until there is an answer, or the client's patience ends. */
  async #hold(taken: Taken, waiter: Waiter): Promise<Reply> {
    const { clock, settings, room } = this.#parts
    const { form, line, at, wishes } = taken
    const wake = await waiter.next(at + holdMs(wishes, settings.maxHoldMs))
    switch (wake.kind) {
      case 'answer':
        room.forget(waiter)
        this.#confirm(waiter.id, line)
        return this.#give(wake.answer, form, false)
      case 'time':
        await room.leave(waiter)
        if (wishes.mode === 'async') return queued(taken)
        return pendingReply(waiter.id, form, { nowMs: clock.now(), returns: true })
      case 'gone':
      case 'closing':
        await room.leave(waiter)
        return closingReply(waiter.id, form)
      default:
        return assertNever(wake)
    }
  }

  /** Waits a moment for an answer with a status of its own; then a stream begins, which shows that it lives. */
  async #stream(taken: Taken, waiter: Waiter): Promise<Reply> {
    const { clock, settings, room } = this.#parts
    const { form, line, wishes } = taken
    const beatMs = Math.max(MIN_BEAT_MS, Math.min(settings.heartbeatMs, holdMs(wishes, settings.maxHoldMs)))
    const next = () => waiter.next(clock.now() + beatMs)
    const wake = await next()
    switch (wake.kind) {
      case 'answer':
        room.forget(waiter)
        this.#confirm(waiter.id, line)
        return this.#give(wake.answer, form, false)
      case 'time':
        return waitingReply({
          waiter,
          form,
          headers: { 'x-request-id': waiter.id, 'x-nightshift-request-id': waiter.id },
          next,
          onAnswer: () => {
            room.forget(waiter)
            this.#confirm(waiter.id, line)
          },
          onEnd: () => room.leave(waiter),
        })
      case 'gone':
      case 'closing':
        await room.leave(waiter)
        return closingReply(waiter.id, form)
      default:
        return assertNever(wake)
    }
  }
}

const queued = ({ accepted: { id }, form, requestsPath }: Taken): Reply =>
  queuedReply(id, `${requestsPath}/${id}`, form)

const requestsPath = ({ req }: Call): string => `${req.path.startsWith('/v1/') ? '/v1' : ''}/requests`
