import { requestPlaces } from '../batch/request-places.ts'
import type { SampleStanding } from '../batch/request-table.ts'
import type { StepOf } from '../batch/steps.ts'
import { currentParams, initialState, type TaskState } from '../batch/task-state.ts'
import type { Verdict } from '../batch/verdict.ts'
import { TaskError } from '../errors.ts'
import type { ProgressEvent } from '../progress/events.ts'
import { type Context, requestCounts } from './context.ts'
import { Engine, type EngineMode } from './engine.ts'
import { Figures, type LiveFacts } from './figures.ts'
import { type AddOutcome, Intake } from './intake.ts'
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
import type { NewRequest } from './prepare.ts'
import { type Beginning, type Receipt, receiptOf } from './receipt.ts'
import { checkAccount, loadForQueue, recover, reserveForSent } from './recovery.ts'
import type { RequestResult } from './request-result.ts'
import { type Keep, Reuse } from './reuse.ts'
import { safeEmit } from './safe-emit.ts'
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

export interface CloseOptions {
  /** Called last, while the lock is still held. */
  readonly beforeRelease?: (failure: unknown) => Promise<void>
}

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
  #intake: Intake | undefined
  /** Where answers that are there already come from; undefined when none are to be used. */
  #reuse: Reuse | undefined
  #figures: Figures | undefined

  constructor(options: RequesterOptions) {
    const tell = safeEmit(options.emit)
    const emit = (event: ProgressEvent): void => {
      tell(event)
      this.#figures?.note(event)
    }
    this.#options = { ...options, emit }
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
      this.#intake = this.#newIntake(context)
      this.#engine = this.#newEngine(this.#mode())
      this.#figures = new Figures(context, this.#options.output, () => this.#live())
      task.stateFile.touch(context.store.durable, context.store.seq)
    } catch (error) {
      await this.close()
      throw error
    }
  }

  /**
   * Begins to tell all figures of the task by `sample` events: at once, while something changes once a second, and once
   * more by `close`.
   */
  tellFigures(): void {
    if (!this.#figures) throw notOpen()
    this.#figures.begin()
  }

  /** The state as it is on disk; after `close`, as it was left. */
  get state(): TaskState {
    return (this.#closed ?? this.#opened).context.store.durable.state
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
    return this.#intake?.changedBodies ?? 0
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
    const { state } = store.durable
    const { maxSpendNanoUsd } = settings.limits
    const awaitingVerdict = requestPlaces(state).received
    return receiptOf(state, { before: this.#began, maxSpendNanoUsd, awaitingVerdict })
  }

  /** Throws when this process may not write the task's files any more, as its lock is gone. */
  get guard(): () => void {
    return this.#opened.context.store.guard
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
    return this.#entrance.hold()
  }

  /**
   * Adds a request to the window in memory, and commits the window when it is full; then it waits until there is
   * room in the queue. Throws TaskError for a request that cannot be sent or whose key was given another body.
   */
  async add(request: NewRequest): Promise<AddOutcome> {
    return this.#entrance.add(request)
  }

  /** Makes the requests added so far durable. */
  async commit(): Promise<void> {
    await this.#entrance.commit()
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
    await this.#entrance.direct(requests)
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
    if (!this.#entrance.isHeld) await this.commit()
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
    if (this.#isOver && (this.#entrance.isCutShort || this.state.counters.pending > 0))
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
    const { scope, pending, failed, thrownAway } = wiped
    this.#opened.context.emit({ kind: 'wiped', scope, pending, failed, thrownAway })
    this.#reuse?.reset()
    // Of the requests that a wipe has forgotten this run counts none.
    this.#began = { ...this.#began, counters: store.durable.state.counters }
    this.#engine = this.#newEngine(this.#mode())
    return wiped
  }

  /**
   * Lets what is on the wire end, saves the state file, and gives the lock back: after `beforeRelease`, which is told
   * what the run or its end failed with.
   */
  async close({ beforeRelease }: CloseOptions = {}): Promise<void> {
    const task = this.#task
    if (!task) return
    this.#task = undefined
    this.#closed = task
    this.halt()
    const failures: unknown[] = []
    const carryOut = async (step: () => Promise<void> | undefined) => {
      try {
        await step()
      } catch (error) {
        failures.push(error)
      }
    }
    await carryOut(() => this.#windUp(task))
    await carryOut(async () => this.#reuse?.close())
    await carryOut(() => task.stateFile.stop())
    await carryOut(() => task.context.store.close())
    this.#figures?.end()
    await carryOut(() => beforeRelease?.(failures[0] ?? this.#engine?.failure))
    await carryOut(() => task.lock.release())
    if (failures.length > 0) throw failures[0]
    // What failed while the run wound down has been told to nobody yet.
    if (this.#engine?.failure !== undefined) throw this.#engine.failure
  }

  async #windUp({ context: { store }, stateFile }: OpenedTask): Promise<void> {
    await this.#driving
    await this.#intake?.settled()
    await store.settled()
    await stateFile.save(store.durable, store.seq)
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  get #opened(): OpenedTask {
    if (!this.#task) throw notOpen()
    return this.#task
  }

  get #running(): Engine {
    if (!this.#engine) throw notOpen()
    return this.#engine
  }

  get #entrance(): Intake {
    if (!this.#task || !this.#intake) throw notOpen()
    return this.#intake
  }

  /** The deadline has passed. */
  get #isOver(): boolean {
    return this.#opened.context.pace?.isOver ?? false
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
      isProducing: () => this.#intake?.isHeld ?? false,
      onHalt: () => this.halt(),
    })
  }

  #newIntake(context: Context): Intake {
    const { prepare } = this.#options
    return new Intake({
      context,
      prepare,
      reuse: this.#reuse,
      engine: () => this.#running,
      push: () => this.push(),
    })
  }

  /** Only for a run that works. */
  async #openReuse(context: Context): Promise<Reuse | undefined> {
    const { options, environment } = this.#options.settings
    if (!options.run && !this.isWiping) return undefined
    const { cache, dedupe } = options
    return Reuse.open(context, { cache, dedupe, baseUrl: environment.baseUrl })
  }

  #live(): LiveFacts {
    return {
      before: this.#began.spending,
      uncommitted: this.#intake?.uncommitted ?? 0,
      passes: this.#intake?.passes ?? 0,
      isProducing: this.#intake?.isHeld ?? false,
      processedFailedBatches: this.#engine?.finalised ?? 0,
    }
  }

  #onDurable(): void {
    const task = this.#task
    if (!task) return
    this.#engine?.notify()
    const { context, stateFile } = task
    stateFile.touch(context.store.durable, context.store.seq)
    // What is put in order while it opens is no progress: whoever begins to tell of the run says where it stands.
    if (!this.#figures) return
    context.emit({ kind: 'judged', counts: requestCounts(context.store.durable.state) })
  }
}

const notOpen = (): TaskError =>
  new TaskError('not_open', 'the requester is not open: call open() first, and nothing after close()')
