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
  readonly end: CallEnd
  readonly retryAfterMs: number | undefined
  readonly nowMs: number
}

interface FlexPause {
  readonly untilMs: number
  readonly refusals: number
}

const FIRST_FLEX_PAUSE_MS = 5_000
const MAX_FLEX_PAUSE_MS = 60_000
/** More of them say nothing new. */
const MOST_FAILING = 16

/**
 * What this process has seen of its calls: how fast they may go, how long they take, whether flex works, whether the
 * key does. None of it is kept: another process finds out by itself.
 */
export class CallKnowledge {
  readonly #times = { flex: new CallTimes(), direct: new CallTimes() } as const
  readonly #noFlex = new Set<string>()
  readonly #flexPauses = new Map<string, FlexPause>()
  /** Requests that met with trouble since the last sound answer. */
  readonly #failing = new Set<string>()
  #rate: DirectRate
  #keyWorks = false

  constructor(concurrency: number) {
    this.#rate = initialRate(concurrency)
  }

  /** Calls at once, as the server allows it at present: at least 1. */
  get concurrency(): number {
    return concurrencyOf(this.#rate)
  }

  /** Milliseconds for which nothing is to be sent. */
  pauseMs(nowMs: number): number {
    return pauseLeftMs(this.#rate, nowMs)
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
  note({ request, end, retryAfterMs, nowMs }: CallNote): void {
    if (end.kind === 'answered' && !end.failure) this.#keyWorks = true
    if (isSoundAnswer(end)) this.#failing.clear()
    else if (isTrouble(end) && this.#failing.size < MOST_FAILING) this.#failing.add(request)
    this.#rate = this.#rateAfter(end, nowMs, retryAfterMs)
  }

  #rateAfter(end: CallEnd, nowMs: number, retryAfterMs: number | undefined): DirectRate {
    const failure = end.kind === 'answered' ? end.failure : undefined
    const isPushback = end.kind !== 'answered' || (failure !== undefined && refusalOf(failure) !== undefined)
    if (isPushback) return afterPushback(this.#rate, nowMs, retryAfterMs)
    return (failure?.status ?? 200) < 500
      ? afterSuccess(this.#rate)
      : afterServerError(this.#rate, nowMs, retryAfterMs)
  }

  /** Flex is not known to be refused for good: models differ, and embeddings do not have it. */
  mayUseFlex(endpoint: Endpoint, model: string): boolean {
    return endpoint !== '/v1/embeddings' && !this.#noFlex.has(model)
  }

  /** Milliseconds for which flex is not to be tried, having had no room. */
  flexPauseMs(model: string, nowMs: number): number {
    return Math.max(0, (this.#flexPauses.get(model)?.untilMs ?? 0) - nowMs)
  }

  flexRefused(model: string, refusal: FlexRefusal, { nowMs, retryAfterMs = 0 }: CallNote): void {
    if (refusal === 'unknown') {
      this.#noFlex.add(model)
      return
    }
    const refusals = this.#flexPauses.get(model)?.refusals ?? 0
    const own = Math.min(MAX_FLEX_PAUSE_MS, FIRST_FLEX_PAUSE_MS * 2 ** refusals)
    this.#flexPauses.set(model, { untilMs: nowMs + Math.max(own, retryAfterMs), refusals: refusals + 1 })
  }

  flexWorked(model: string): void {
    this.#flexPauses.delete(model)
  }
}
