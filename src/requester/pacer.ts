import { roomNanoUsd } from '../batch/budget.ts'
import { type DeadlineFacts, planForDeadline, type RunningBatch, type SendMode } from '../batch/deadline.ts'
import { waitingIn } from '../batch/deadline-facts.ts'
import { isRemote, isUnpushed, type QueueFile } from '../batch/queue-file.ts'
import type { TaskState } from '../batch/task-state.ts'
import { formatCount, formatUsd } from '../util/format.ts'
import { Notifier } from '../util/notifier.ts'
import { cancelBatch } from './cancel-batch.ts'
import type { Context } from './context.ts'
import type { DeadlineWatch } from './deadline-watch.ts'

export interface PacerOptions {
  readonly watch: DeadlineWatch
  /** Something may be sent; without, only the end of the time matters. */
  readonly isSending: boolean
  /** Direct sets of an earlier run: of them only answered lines are left. */
  readonly foundDirect: ReadonlySet<number>
  /** Calls on the wire, and how many there may be. */
  readonly wire: () => { readonly onWire: number; readonly concurrency: number }
  /** Wakes whoever looks. */
  readonly wake: () => void
}

/** What a run leaves at its deadline, for people. */
export function leftAtDeadline({ files, counters }: TaskState): readonly string[] {
  const remote = [...files.values()].filter(isRemote)
  const inBatches = remote.reduce((sum, { live }) => sum + live, 0)
  const there =
    remote.length === 0
      ? ''
      : `, ${formatCount(inBatches)} of them in ${formatCount(remote.length)} batches at the server, which go on and are collected by the next run`
  return [
    `the deadline has passed with ${formatCount(counters.pending)} requests left${there}`,
    'run again without --deadline, or with a later one, to go on',
  ]
}

/** While nothing new is heard, and no moment is near that must not be missed, a plan stands for so long. */
const LOOK_AGAIN_MS = 1_000
const BACKGROUND = { background: true } as const

/**
 * Keeps a run to its deadline: looks how it stands, changes the way of sending when the plan says so, takes requests
 * back from batches that will be late, and ends the run when the time is over.
 */
export class Pacer {
  readonly #context: Context
  readonly #options: PacerOptions
  /** Batches that the plan gave up on, and those of them that are still to be cancelled. */
  readonly #recalled = new Set<number>()
  readonly #toRecall = new Set<number>()
  /** A new plan may want to be looked at earlier than the one before. */
  readonly #planned = new Notifier()
  /** What there was when a plan was last made. */
  #seen = ''
  #lookedMs = Number.NEGATIVE_INFINITY
  #nextMs = Number.NEGATIVE_INFINITY

  constructor(context: Context, options: PacerOptions) {
    this.#context = context
    this.#options = options
  }

  /** Batches are to be cancelled. */
  get hasWork(): boolean {
    return this.#toRecall.size > 0
  }

  /** Makes a plan if one is due, and acts by it. */
  look(): void {
    const { watch, isSending } = this.#options
    const now = this.#context.clock.now()
    if (now >= watch.deadlineMs) watch.end()
    if (watch.isOver || !isSending || !this.#isDue(now)) return
    const facts = this.#facts(now)
    const plan = planForDeadline(facts)
    this.#lookedMs = now
    this.#nextMs = now + plan.nextLookMs
    watch.goBy(plan.mode)
    for (const id of plan.cancel) {
      this.#recalled.add(id)
      this.#toRecall.add(id)
    }
    this.#planned.notify()
    if (plan.why !== '') this.#say(plan.why, plan.mode === facts.current ? undefined : plan.mode)
  }

  #isDue(now: number): boolean {
    const { lastFile, counters } = this.#context.store.head.state
    const seen = `${lastFile} ${counters.requests}`
    const hasMore = seen !== this.#seen
    this.#seen = seen
    // A clock that was set back must not keep the next look away.
    const isEarly = now >= this.#lookedMs && now < this.#lookedMs + LOOK_AGAIN_MS
    return this.#options.watch.takeNews() || hasMore || !isEarly
  }

  /** Has a look taken in time, also while nothing happens. Until `signal` is aborted. */
  async run(signal: AbortSignal): Promise<void> {
    const { watch, wake } = this.#options
    const ends = AbortSignal.any([signal, watch.ended])
    while (!ends.aborted) {
      const isNews = Promise.race([watch.news(), this.#planned.wait()])
      const dueInMs = this.#dueInMs()
      // The look is taken by whoever is woken, and leads to a new plan.
      if (watch.hasNews || dueInMs <= 0) wake()
      await this.#sleep(dueInMs > 0 ? dueInMs : LOOK_AGAIN_MS, ends, isNews)
    }
  }

  async #sleep(ms: number, ends: AbortSignal, isNews: Promise<void>): Promise<void> {
    const awake = new AbortController()
    const asleep = this.#context.clock.sleep(ms, AbortSignal.any([ends, awake.signal]), BACKGROUND)
    await Promise.race([asleep, isNews])
    awake.abort()
  }

  /** Without sending anything, only the end of the time matters. */
  #dueInMs(): number {
    const { watch, isSending } = this.#options
    const dueMs = isSending ? Math.min(this.#nextMs, watch.deadlineMs) : watch.deadlineMs
    return dueMs - this.#context.clock.now()
  }

  /** Cancels the batches that the plan names. What they answered is taken as of any batch that ends. */
  async recall(): Promise<void> {
    for (const id of this.#toRecall) {
      await this.#recall(id)
      this.#toRecall.delete(id)
    }
  }

  async #recall(id: number): Promise<void> {
    const batchId = await this.#context.store.commit((draft) => {
      const file = draft.state.files.get(id)
      if (file?.phase !== 'remote') return undefined
      // Before the server can act: what it leaves unanswered is to be known as nobody's fault.
      draft.apply({ kind: 'remote', file: id, status: 'cancelling', recalled: true })
      return file.batchId
    })
    if (batchId !== undefined) await cancelBatch(this.#context, batchId)
  }

  #facts(nowMs: number): DeadlineFacts {
    const { watch, wire } = this.#options
    const files = [...this.#context.store.head.state.files.values()]
    const { onWire, concurrency } = wire()
    const waiting = files.map((file) => ({ ...file, waiting: this.#waitingIn(file) }))
    const unsent = waiting.filter((file) => file.waiting > 0)
    const mayUseFlex = ({ endpoint, model }: QueueFile) => watch.mayUseFlex(endpoint, model)
    const flexWorks = (unsent.length > 0 ? unsent : files).some(mayUseFlex)
    return {
      nowMs,
      deadlineMs: watch.deadlineMs,
      current: watch.mode,
      batchDurationsMs: this.#context.store.head.state.batchDurationsMs,
      running: this.#affordable(files, flexWorks).map((file) => this.#running(file, nowMs)),
      waiting: Math.max(0, waiting.reduce((sum, file) => sum + file.waiting, 0) - onWire),
      batchRounds: this.#batchRounds(files),
      callMs: watch.callMs('direct', nowMs),
      flexCallMs: watch.callMs('flex', nowMs),
      concurrency,
      flexWorks,
    }
  }

  #waitingIn(file: QueueFile): number {
    if (file.phase === 'direct' && this.#options.foundDirect.has(file.id)) return 0
    const completed = this.#options.watch.progressOf(file.id)?.completed ?? 0
    return waitingIn(file, { completed, isEnding: this.#isEnding(file) })
  }

  /** An earlier run may have been about to cancel a batch: only the server's word tells whether it did. */
  #isEnding(file: QueueFile): boolean {
    return this.#recalled.has(file.id) || (file.phase === 'remote' && file.status === 'cancelling')
  }

  #running(file: QueueFile, nowMs: number): RunningBatch {
    const unknown = { sinceMs: file.pricedAt ?? nowMs, completed: 0 }
    const { sinceMs, completed } = this.#options.watch.progressOf(file.id) ?? unknown
    return { id: file.id, sinceMs, total: file.requests, completed }
  }

  /** Batches that go one after another at least, since limits let no more of them go at one time. */
  #batchRounds(files: readonly QueueFile[]): number {
    const { limits } = this.#context.settings
    const waiting = files.filter((file) => file.live > 0 && (file.phase === 'open' || isUnpushed(file)))
    const tokens = waiting.reduce((sum, file) => sum + (file.tokens?.input ?? 0), 0)
    const rounds = [
      waiting.length / Math.max(1, limits.maxRemoteBatches),
      tokens / Math.max(1, limits.maxRemoteTokens),
    ]
    for (const [model, group] of Map.groupBy(waiting, (file) => file.model)) {
      const enqueued = group.reduce((sum, file) => sum + (file.tokens?.input ?? 0), 0)
      const limit = this.#context.governor.limitOf(model)
      if (limit !== undefined) rounds.push(enqueued / Math.max(1, limit))
    }
    return Math.max(1, Math.ceil(Math.max(...rounds)))
  }

  /** Under a hard cap: the batches that could be paid call by call, once what is set aside for them is given back. */
  #affordable(files: readonly QueueFile[], flexWorks: boolean): readonly QueueFile[] {
    const { store, settings, valuer } = this.#context
    const { maxSpendNanoUsd } = settings.limits
    const remote = files.filter((file) => file.phase === 'remote' && !this.#isEnding(file))
    if (maxSpendNanoUsd === undefined) return remote
    const api = flexWorks ? 'flex' : 'direct'
    let room = roomNanoUsd(store.head.state, maxSpendNanoUsd) - this.#waitingCost(api)
    return remote.filter(({ tokens, model, reserved = 0 }) => {
      const left = room + reserved - (tokens ? valuer.expectedNanoUsd(tokens, model, api) : 0)
      if (left >= 0) room = left
      return left >= 0
    })
  }

  /** What that which waits is expected to cost in this way, in nano-USD. */
  #waitingCost(api: SendMode): number {
    const { store, valuer } = this.#context
    let cost = 0
    for (const file of store.head.state.files.values()) {
      const share = this.#waitingIn(file) / Math.max(1, file.requests)
      if (share > 0 && file.tokens) cost += share * valuer.expectedNanoUsd(file.tokens, file.model, api)
    }
    return Math.round(cost)
  }

  #say(why: string, mode: SendMode | undefined): void {
    const price = mode === undefined ? '' : `. ${this.#priceText(mode)}`
    this.#context.emit({ kind: 'warning', code: 'deadline', message: `deadline: ${why}${price}` })
  }

  #priceText(mode: SendMode): string {
    const files = this.#context.store.head.state.files.values()
    const waiting = files.reduce((sum, file) => sum + this.#waitingIn(file), 0)
    const byBatch = formatUsd(this.#waitingCost('batch'))
    const than = mode === 'direct' ? `; by batch it would be ${byBatch}` : ', as by batch'
    return `The ${formatCount(waiting)} requests that wait are expected to cost ${formatUsd(this.#waitingCost(mode))}${than}`
  }
}
