import { CallTimes } from '../../../batch/call-times.ts'
import { type CallEnd, isSoundAnswer, isTrouble } from '../../../batch/direct-answer.ts'
import {
  afterPushback,
  afterServerError,
  afterSuccess,
  concurrencyOf,
  type DirectRate,
  initialRate,
  pauseLeftMs,
} from '../../../batch/direct-rate.ts'
import type { FlexRefusal } from '../../../batch/flex.ts'
import { refusalOf } from '../../../batch/refusals.ts'
import type { Endpoint } from '../../../openai/wire.ts'

/** The ways of calling. */
export type Tier = 'flex' | 'direct'

/** One call that came to an end. */
export interface CallNote {
  readonly request: string
  readonly model: string
  readonly end: CallEnd
  readonly retryAfterMs: number | undefined
  readonly nowMs: number
}

interface ModelFacts {
  readonly rate: DirectRate
  /** The model has no flex. */
  readonly noFlex: boolean
  /** Flex had no room for it: until when it is not tried, and how often it was refused on end. */
  readonly flexPause: { readonly untilMs: number; readonly refusals: number }
}

const NO_PAUSE = { untilMs: 0, refusals: 0 } as const
const FIRST_FLEX_PAUSE_MS = 5_000
const MAX_FLEX_PAUSE_MS = 60_000
/** More of them say nothing new. */
const MOST_FAILING = 16
/** Models are named by callers: those that were not called for the longest are forgotten when there are so many. */
const MOST_MODELS = 500

/**
 * What this process has seen of its calls: how fast they may go, how long they take, whether flex works, whether the
 * key does. Servers limit models one by one, so each has a pace of its own. None of it is kept: another process finds
 * out by itself.
 */
export class CallKnowledge {
  readonly #times = { flex: new CallTimes(), direct: new CallTimes() } as const
  readonly #models = new Map<string, ModelFacts>()
  readonly #unknown: ModelFacts
  /** Requests that met with trouble since the last sound answer. */
  readonly #failing = new Set<string>()
  #keyWorks = false

  /** `concurrency`: calls at once, while the server allows it. */
  constructor(concurrency: number) {
    this.#unknown = { rate: initialRate(concurrency), noFlex: false, flexPause: NO_PAUSE }
  }

  /** Calls of a model at once, as the server allows it at present: at least 1. */
  concurrency(model: string): number {
    return concurrencyOf(this.#factsOf(model).rate)
  }

  /** Milliseconds for which nothing of a model is to be sent. */
  pauseMs(model: string, nowMs: number): number {
    return pauseLeftMs(this.#factsOf(model).rate, nowMs)
  }

  /** Models of which nothing more may be sent now. `active`: calls on the wire. */
  busyModels(active: (model: string) => number, nowMs: number): readonly string[] {
    return [...this.#models.keys()].filter((model) => !this.mayCall(model, active(model), nowMs))
  }

  /** Whether one more may be called. `active`: calls of the model on the wire. */
  mayCall(model: string, active: number, nowMs: number): boolean {
    return this.pauseMs(model, nowMs) === 0 && active < this.concurrency(model)
  }

  /** Milliseconds until the first pause ends; undefined without any. */
  nextPauseEndMs(nowMs: number): number | undefined {
    const pauses = [...this.#models.keys()].map((model) => this.pauseMs(model, nowMs)).filter((ms) => ms > 0)
    return pauses.length === 0 ? undefined : Math.min(...pauses)
  }

  /** There were good answers with this key before. */
  get keyWorks(): boolean {
    return this.#keyWorks
  }

  /** Different requests that failed on end for trouble of the server's or the way's. */
  get failing(): number {
    return this.#failing.size
  }

  /** What a call takes, in milliseconds; undefined while nothing is known. */
  callMs(tier: Tier, nowMs: number): number | undefined {
    return this.#times[tier].meanMs(nowMs)
  }

  began(call: object, tier: Tier, nowMs: number): void {
    this.#times[tier].begin(call, nowMs)
  }

  finished(call: object, tier: Tier, { nowMs, end }: CallNote): void {
    // What was refused took its time, and is no answer.
    this.#times[tier].end(call, nowMs, isSoundAnswer(end))
  }

  /** Learns from a call that was not refused for being a flex call. */
  note(note: CallNote): void {
    const { request, model, end } = note
    if (end.kind === 'answered' && !end.failure) this.#keyWorks = true
    if (isSoundAnswer(end)) this.#failing.clear()
    else if (isTrouble(end) && this.#failing.size < MOST_FAILING) this.#failing.add(request)
    const facts = this.#factsOf(model)
    this.#keep(model, { ...facts, rate: rateAfter(facts.rate, note) })
  }

  /** Flex is not known to be refused for good: models differ, and embeddings do not have it. */
  mayUseFlex(endpoint: Endpoint, model: string): boolean {
    return endpoint !== '/v1/embeddings' && !this.#factsOf(model).noFlex
  }

  /** Milliseconds for which flex is not to be tried, having had no room. */
  flexPauseMs(model: string, nowMs: number): number {
    return Math.max(0, this.#factsOf(model).flexPause.untilMs - nowMs)
  }

  flexRefused(refusal: FlexRefusal, { model, nowMs, retryAfterMs = 0 }: CallNote): void {
    const facts = this.#factsOf(model)
    if (refusal === 'unknown') {
      this.#keep(model, { ...facts, noFlex: true })
      return
    }
    const { refusals } = facts.flexPause
    const own = Math.min(MAX_FLEX_PAUSE_MS, FIRST_FLEX_PAUSE_MS * 2 ** refusals)
    const flexPause = { untilMs: nowMs + Math.max(own, retryAfterMs), refusals: refusals + 1 }
    this.#keep(model, { ...facts, flexPause })
  }

  flexWorked(model: string): void {
    this.#keep(model, { ...this.#factsOf(model), flexPause: NO_PAUSE })
  }

  #factsOf(model: string): ModelFacts {
    return this.#models.get(model) ?? this.#unknown
  }

  #keep(model: string, facts: ModelFacts): void {
    this.#models.delete(model)
    this.#models.set(model, facts)
    if (this.#models.size <= MOST_MODELS) return
    const [first] = this.#models.keys()
    if (first !== undefined) this.#models.delete(first)
  }
}

function rateAfter(rate: DirectRate, { end, nowMs, retryAfterMs }: CallNote): DirectRate {
  const failure = end.kind === 'answered' ? end.failure : undefined
  const isPushback = end.kind !== 'answered' || (failure !== undefined && refusalOf(failure) !== undefined)
  if (isPushback) return afterPushback(rate, nowMs, retryAfterMs)
  return (failure?.status ?? 200) < 500 ? afterSuccess(rate) : afterServerError(rate, nowMs, retryAfterMs)
}
