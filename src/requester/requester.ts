import type { SampleStanding } from '../batch/request-table.ts'
import type { StepOf } from '../batch/steps.ts'
import { currentParams, initialState, type TaskState } from '../batch/task-state.ts'
import type { Verdict } from '../batch/verdict.ts'
import { TaskError } from '../errors.ts'
import { type Context, requestCounts } from './context.ts'
import { Engine, type EngineMode } from './engine.ts'
import {
  addJudgement,
  checkVerdict,
  type Judgement,
  type JudgeOverrides,
  type JudgeTools,
} from './judging.ts'
import { type OpenedTask, openTask, type RequesterOptions } from './opening.ts'
import { leftAtDeadline } from './pacer.ts'
import { type PilotReport, pilotReport } from './pilot-report.ts'
import type { QuotedRest } from './pilot-rest.ts'
import { readPilotSample } from './pilot-sample.ts'
import { type PilotSurvey, surveyForPilot } from './pilot-survey.ts'
import { type NewRequest, prepareRequest } from './prepare.ts'
import { enqueueDirect, enqueueNew, type PreparedRequest } from './queue.ts'
import { type Beginning, type Receipt, receiptOf } from './receipt.ts'
import { checkAccount, loadForQueue, recover, reserveForSent } from './recovery.ts'
import { requestPlaces } from './request-places.ts'
import type { RequestResult } from './request-result.ts'
import { RequestWindow, twoBodies } from './request-window.ts'
import { type Keep, Reuse } from './reuse.ts'
import type { AnyRequests } from './survey.ts'
import { commitWiped } from './wipe.ts'

/**
 * Why a run ended, or may end. Only `complete` means that nothing is left to do. `waited`: the account was exhausted
 * or the server out of reach for longer than `maxWait`. `deadline`: it passed before all was done.
 */
export type RunOutcome =
  | 'complete'
  | 'limits'
  | 'failed-batches'
  | 'pass-ratio'
  | 'waited'
  | 'deadline'
  | 'only-process'
  | 'interrupted'

/** `added`; `known`: the key was committed before; `stopped`: nothing more is taken, because of a limit or a signal. */
export type AddOutcome = 'added' | 'known' | 'stopped'

/**
 * The engine room of a task, for what `TaskManager` cannot express. Its life:
 *
 *     open -> (add, commit, push, direct, results, judge)* -> close
 *
 * Requests are added and committed; `results` drives everything that follows and yields each answer once it is
 * durable; every result gets its verdict by `judge`. All of it can be stopped at any instant and goes on in the next
 * `open`.
 */
export class GPTRequester {
  readonly #options: RequesterOptions
  readonly #halt = new AbortController()
  #task: OpenedTask | undefined
  #closed: OpenedTask | undefined
  #engine: Engine | undefined
  #driving: Promise<void> | undefined
  /** The books as they were when the run began. */
  #began: Beginning = initialState
  #foundDirect: ReadonlySet<number> = new Set()
  #holds = 0
  /** There may be more requests than those that were taken before the deadline. */
  #cutShort = false
  readonly #window = new RequestWindow()
  /** Where answers that are there already come from; undefined when none are to be used. */
  #reuse: Reuse | undefined
  #committing: Promise<void> = Promise.resolve()

  constructor(options: RequesterOptions) {
    this.#options = options
  }

  /** Takes the lock, reads the task, and puts in order what an earlier run left. Throws LockError, StateError, UsageError. */
  async open(): Promise<void> {
    const task = await openTask(this.#options, this.#halt.signal, {
      onDurable: () => this.#onDurable(),
      onDropped: (error) => this.#engine?.fail(error),
    })
    this.#task = task
    try {
      const { context } = task
      this.#began = context.store.durable.state
      if (context.settings.limits.maxSpendNanoUsd !== undefined) await loadForQueue(context)
      if (task.isConnected) await checkAccount(context)
      this.#foundDirect = await recover(context)
      await reserveForSent(context)
      this.#reuse = await this.#openReuse(context)
      this.#engine = this.#newEngine(this.#mode())
      task.stateFile.touch(context.store.durable, context.store.seq)
    } catch (error) {
      await this.close()
      throw error
    }
  }

  /** The state as it is on disk. */
  get state(): TaskState {
    return this.#opened.context.store.durable.state
  }

  /** The task's parameters, frozen when it was created. */
  get params(): unknown {
    return currentParams(this.#opened.context.store.head.state)
  }

  /** A wipe was begun and is not finished: take the results that still come, then call `finishWipe`. */
  get isWiping(): boolean {
    return this.state.wipe !== undefined
  }

  /** Keys that were given another body than in an earlier run; their first body stays in force. */
  get changedBodies(): number {
    return this.#window.changedBodies
  }

  /** Standing of a sample, with verdicts that are still being written; after `close`, too. Undefined for an unknown sample. */
  sample(name: string): SampleStanding | undefined {
    return (this.#closed ?? this.#opened).context.store.head.requests.sample(name)
  }

  /** Failed requests that were put back when the task was opened (`retryFailed`): their keys may be added again. */
  get putBack(): number {
    return this.#opened.putBack
  }

  get sampleCount(): number {
    return this.#opened.context.store.durable.requests.sampleCount
  }

  /** What the task has cost so far, and what this run of it has. */
  get receipt(): Receipt {
    const { store, settings } = this.#opened.context
    const { state, requests } = store.durable
    const { maxSpendNanoUsd } = settings.limits
    const awaitingVerdict = requestPlaces(state, requests).received
    return receiptOf(state, { before: this.#began, maxSpendNanoUsd, awaitingVerdict })
  }

  /** Path of a side file, given its suffix such as `_output.jsonl`. */
  path(suffix: string): string {
    return this.#opened.context.store.path(suffix)
  }

  /** Committed length of a side file in bytes. */
  fileLength(suffix: string): number {
    return this.#opened.context.store.length(suffix)
  }

  /**
   * Says that new requests will come: nothing is sealed for want of more, and `results` does not end, until the
   * returned function is called. Keys are compared within the time between.
   */
  hold(): () => Promise<void> {
    this.#holds++
    this.#window.beginPass()
    let held = true
    return async () => {
      if (!held) return
      held = false
      try {
        if (!this.#stopping.aborted) await this.commit()
      } finally {
        this.#holds--
        this.#engine?.notify()
      }
    }
  }

  /**
   * Adds a request to the window in memory, and commits the window when it is full; then it waits until there is
   * room in the queue. Throws TaskError for a request that cannot be sent or whose key was given another body.
   */
  async add(request: NewRequest): Promise<AddOutcome> {
    if (this.#stopping.aborted) return 'stopped'
    const { store, valuer } = this.#opened.context
    const prepared = prepareRequest(request, this.#options.prepare)
    if (this.#window.isKnown(prepared, store.head.requests)) return 'known'
    if (this.#isOver) {
      this.#cutShort = true
      return 'stopped'
    }
    const measured = valuer.measured(prepared)
    valuer.check(measured)
    this.#window.add(measured)
    if (!this.#window.isFull) return 'added'
    await this.commit()
    return (await this.#room()) ? 'added' : 'stopped'
  }

  /** Makes the requests added so far durable. */
  async commit(): Promise<void> {
    this.#committing = this.#committing.then(() => this.#commitWindow())
    await this.#committing
  }

  /** Starts sending whatever is ready to be sent. `results` does so by itself. */
  push(): void {
    const engine = this.#running
    this.#driving ??= engine.drive().finally(() => {
      this.#driving = undefined
    })
    engine.notify()
  }

  /** Commits requests of their own and sends them directly, whatever their number. Their results come by `results`. */
  async direct(requests: readonly NewRequest[]): Promise<void> {
    const { store, valuer } = this.#opened.context
    const fresh = new Map<string, PreparedRequest>()
    for (const request of requests) {
      const prepared = prepareRequest(request, this.#options.prepare)
      if (this.#window.isKnown(prepared, store.head.requests)) continue
      if ((fresh.get(prepared.key)?.hash ?? prepared.hash) !== prepared.hash) throw twoBodies(prepared.key)
      const measured = valuer.measured(prepared)
      valuer.check(measured)
      fresh.set(prepared.key, measured)
    }
    const all = [...fresh.values()]
    await valuer.sample(all)
    const found = this.#reuse?.find(all, Number.POSITIVE_INFINITY)
    await store.commit((draft) => {
      const enqueue = (some: readonly PreparedRequest[]) => enqueueDirect(draft, some, valuer)
      if (this.#reuse && found) this.#reuse.add(draft, found, enqueue)
      else enqueue(all)
    })
    this.push()
  }

  /** While on, everything goes directly, whatever its number: for a pilot. */
  sendDirectly(on: boolean): void {
    this.#opened.context.valuer.sendDirectly(on)
    this.#engine?.notify()
  }

  /**
   * Goes over requests as `add` does but adds none: picks so many of the new ones, evenly spread, and adds up what the
   * others would take. Undefined when the run is to stop. Throws TaskError as `add` does.
   */
  survey(requests: AnyRequests, count: number): Promise<PilotSurvey | undefined> {
    return surveyForPilot(this.#opened.context, { requests, count, prepare: this.#options.prepare })
  }

  /** What has come of the requests judged so far, and what it says about the rest. */
  async pilotReport(rest: QuotedRest): Promise<PilotReport> {
    const { store, valuer, settings } = this.#opened.context
    const { taskDir, name } = this.#options.settings.options
    const sample = await readPilotSample(store.fs, taskDir, name)
    const { maxSpendNanoUsd } = settings.limits
    const card = (model: string, api: 'batch' | 'direct') => valuer.card(model, api)
    return pilotReport({ state: this.state, sample, rest, card, maxSpendNanoUsd })
  }

  /** Results as they come, until nothing is left to do or nothing can be done. Throws what stopped the run. */
  async *results(): AsyncGenerator<RequestResult> {
    if (this.#running.isFinished) await this.#driving
    if (this.#holds === 0) await this.commit()
    this.push()
    yield* this.#running.results()
  }

  /** Ends `results` as soon as what is in hand is safe, as a stop signal does. There is no way back but a new `open`. */
  halt(): void {
    this.#halt.abort()
    this.#engine?.notify()
  }

  /** Commits a verdict: the verdict itself, its output, its sample, and the line of another try. */
  async judge(result: RequestResult, verdict: Verdict, over: JudgeOverrides = {}): Promise<Judgement> {
    const tools = this.#judgeTools
    const checked = checkVerdict(result, verdict, tools, over)
    const isKept = checked.kind === 'accept' && over.isReusable !== false
    const keep = isKept ? this.#reuse?.keeping(result) : undefined
    const done = this.#opened.context.store.commit((draft) => {
      const judgement = addJudgement(draft, result, checked, tools, over)
      if (checked.kind === 'retry' && checked.repair) this.#reuse?.repaired(result)
      this.#engine?.judged(result.request)
      return judgement
    })
    // Many verdicts wait for their commit at one time: what waits must not hold on to the reply.
    return this.#judged(result.key, done, keep)
  }

  async #judged(key: string, done: Promise<Judgement>, keep: Keep | undefined): Promise<Judgement> {
    const { emit } = this.#opened.context
    const judgement = await done
    keep?.()
    const { kind, reason } = judgement
    if (kind !== 'accepted')
      emit({ kind: 'request-failed', key, reason: reason ?? '', final: kind === 'rejected' })
    return judgement
  }

  /** What the run has come to. Meant for when `results` has ended. */
  get outcome(): { readonly kind: RunOutcome; readonly details: readonly string[] } {
    const trouble = this.#engine?.trouble
    if (trouble) return trouble
    if (this.#options.stop?.aborted) return { kind: 'interrupted', details: [] }
    if (this.#isOver && (this.#cutShort || this.state.counters.pending > 0))
      return { kind: 'deadline', details: leftAtDeadline(this.state) }
    if (this.state.counters.pending === 0) return { kind: 'complete', details: [] }
    if (this.#opened.context.settings.onlyProcess) return { kind: 'only-process', details: [] }
    return { kind: 'limits', details: this.#engine?.limits ?? [] }
  }

  /** Ends a wipe after its last result: forgets what is to be forgotten and makes ready for new work. */
  async finishWipe(createParams: () => unknown | Promise<unknown>): Promise<StepOf<'wiped'>> {
    await this.#driving
    const { store } = this.#opened.context
    const wiped = await commitWiped(store, createParams)
    this.#reuse?.reset()
    // Of the requests that a wipe has forgotten this run counts none.
    this.#began = { ...this.#began, counters: store.durable.state.counters }
    this.#engine = this.#newEngine(this.#mode())
    return wiped
  }

  /** Lets what is on the wire end, saves the state file, and gives the lock back. */
  async close(): Promise<void> {
    const task = this.#task
    if (!task) return
    this.#task = undefined
    this.#closed = task
    this.halt()
    const { store } = task.context
    try {
      await this.#driving
      // Whoever awaited a failed commit has been told already.
      await Promise.allSettled([this.#committing])
      await store.settled()
      await task.stateFile.save(store.durable, store.seq)
    } finally {
      this.#reuse?.close()
      await task.stateFile.stop()
      await store.close()
      await task.lock.release()
    }
    // What failed while the run wound down has been told to nobody yet.
    if (this.#engine?.failure !== undefined) throw this.#engine.failure
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  get #opened(): OpenedTask {
    if (!this.#task)
      throw new TaskError(
        'not_open',
        'the requester is not open: call open() first, and nothing after close()',
      )
    return this.#task
  }

  get #running(): Engine {
    if (!this.#engine) throw new TaskError('not_open', 'the requester is not open: call open() first')
    return this.#engine
  }

  /** The deadline has passed. */
  get #isOver(): boolean {
    return this.#opened.context.pace?.isOver ?? false
  }

  get #stopping(): AbortSignal {
    return this.#opened.context.stop
  }

  get #judgeTools(): JudgeTools {
    const { settings, valuer } = this.#opened.context
    return { settings, valuer, output: this.#options.output, prepare: this.#options.prepare }
  }

  #mode(): EngineMode {
    const { wipe } = this.state
    if (wipe) return wipe === 'task' ? 'discard' : 'cancel'
    return this.#opened.context.settings.onlyProcess ? 'collect' : 'work'
  }

  #newEngine(mode: EngineMode): Engine {
    return new Engine(this.#opened.context, {
      mode,
      before: this.#began.spending,
      foundDirect: this.#foundDirect,
      isProducing: () => this.#holds > 0,
      onHalt: () => this.halt(),
    })
  }

  /** Only for a run that works. */
  async #openReuse(context: Context): Promise<Reuse | undefined> {
    const { options, environment } = this.#options.settings
    if (!options.run && !this.isWiping) return undefined
    const { cache, dedupe } = options
    return Reuse.open(context, { cache, dedupe, baseUrl: environment.baseUrl })
  }

  async #commitWindow(): Promise<void> {
    const { context } = this.#opened
    while (!this.#window.isEmpty) await this.#commitSome(context)
  }

  /** Commits the window, or as much of it as answers to it can be held in memory. */
  async #commitSome(context: Context): Promise<void> {
    const found = this.#reuse?.find(this.#window.requests)
    await context.valuer.sample(found?.fresh ?? this.#window.requests)
    const requests = this.#window.take(found && found.fresh.length + found.answered.length)
    const { first, last } = await context.store.commit((draft) => {
      const first = draft.requests.last + 1
      const enqueue = (some: readonly PreparedRequest[]) => enqueueNew(draft, some, context.valuer)
      if (this.#reuse && found) this.#reuse.add(draft, found, enqueue)
      else enqueue(requests)
      return { first, last: draft.requests.last }
    })
    for (let request = first; request <= last; request++) this.#window.markSeen(request)
    context.emit({ kind: 'requests-added', added: requests.length, counts: requestCounts(this.state) })
  }

  /** Waits until the queue is short enough. False when that will not happen in this run. */
  async #room(): Promise<boolean> {
    const engine = this.#running
    this.push()
    for (;;) {
      const news = engine.news()
      if (this.#stopping.aborted) return false
      if (this.#isOver) {
        this.#cutShort = true
        return false
      }
      if (!engine.isCongested) return true
      if (engine.isIdle) return false
      await news
    }
  }

  #onDurable(): void {
    const task = this.#task
    if (!task) return
    this.#engine?.notify()
    const { context, stateFile } = task
    stateFile.touch(context.store.durable, context.store.seq)
    context.emit({ kind: 'judged', counts: requestCounts(context.store.durable.state) })
  }
}
