import { CallTimes } from '../batch/call-times.ts'
import type { SendMode } from '../batch/deadline.ts'
import type { Endpoint } from '../openai/wire.ts'
import { Notifier } from '../util/notifier.ts'

/** What the server last said of a running batch. */
export interface BatchProgress {
  /** When it was created, in milliseconds since 1970. */
  readonly sinceMs: number
  /** Requests with an answer, failed ones included. */
  readonly completed: number
}

type Tier = 'flex' | 'direct'

/**
 * What a run with a deadline knows and has decided: how requests are sent, what calls and batches take, whether the
 * time is over. The mode is chosen by a `Pacer`; all others only look, and say what they see.
 */
export class DeadlineWatch {
  /** In milliseconds since 1970. */
  readonly deadlineMs: number
  readonly #times = { flex: new CallTimes(), direct: new CallTimes() } as const
  readonly #progress = new Map<number, BatchProgress>()
  readonly #noFlex = new Set<string>()
  readonly #end = new AbortController()
  readonly #changes = new Notifier()
  readonly #news = new Notifier()
  #mode: SendMode = 'batch'
  #flexIsFull = false
  #hasNews = true

  constructor(deadlineMs: number) {
    this.deadlineMs = deadlineMs
  }

  /** How what waits is sent. It never goes back towards `batch`. */
  get mode(): SendMode {
    return this.#mode
  }

  /** There is no time for batches any more: what waits is sent call by call. */
  get isHurried(): boolean {
    return this.#mode !== 'batch'
  }

  goBy(mode: SendMode): void {
    if (mode === this.#mode) return
    this.#mode = mode
    this.#changes.notify()
  }

  /** Resolves when the mode changes. */
  changed(): Promise<void> {
    return this.#changes.wait()
  }

  /** Aborted when the time is over: nothing new is sent, and waiting ends. */
  get ended(): AbortSignal {
    return this.#end.signal
  }

  get isOver(): boolean {
    return this.ended.aborted
  }

  end(): void {
    this.#end.abort()
  }

  /** Something happened that a plan depends on: it is to be looked at again. */
  note(): void {
    this.#hasNews = true
    this.#news.notify()
  }

  /** Resolves when there is something new to be looked at. */
  news(): Promise<void> {
    return this.#news.wait()
  }

  /** Something new was not looked at yet. */
  get hasNews(): boolean {
    return this.#hasNews
  }

  takeNews(): boolean {
    const hadNews = this.#hasNews
    this.#hasNews = false
    return hadNews
  }

  /** Whether a call is to ask for flex now. */
  asksForFlex(endpoint: Endpoint, model: string): boolean {
    return this.#mode === 'flex' && this.mayUseFlex(endpoint, model)
  }

  /** Flex is not known to be refused for this model. */
  mayUseFlex(endpoint: Endpoint, model: string): boolean {
    return endpoint !== '/v1/embeddings' && !this.#flexIsFull && !this.#noFlex.has(model)
  }

  /** The model does not know flex. */
  noFlexFor(model: string): void {
    this.#noFlex.add(model)
    this.note()
  }

  /** Flex was refused for longer than anyone waits. */
  giveUpFlex(): void {
    this.#flexIsFull = true
    this.note()
  }

  /** `call` takes up a place on the wire, or waits for its next try with it. Of a call that was by flex before, too. */
  began(call: object, tier: Tier, nowMs: number): void {
    this.#times[tier === 'flex' ? 'direct' : 'flex'].end(call, nowMs, false)
    this.#times[tier].begin(call, nowMs)
  }

  finished(call: object, nowMs: number, answered: boolean): void {
    for (const times of Object.values(this.#times)) times.end(call, nowMs, answered)
  }

  /** What a call takes, in milliseconds; undefined while nothing is known. */
  callMs(tier: Tier, nowMs: number): number | undefined {
    return this.#times[tier].meanMs(nowMs)
  }

  progressed(file: number, progress: BatchProgress): void {
    this.#progress.set(file, progress)
  }

  progressOf(file: number): BatchProgress | undefined {
    return this.#progress.get(file)
  }
}
