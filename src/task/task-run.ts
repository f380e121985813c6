import type { SampleStanding } from '../batch/request-table.ts'
import { initialState } from '../batch/task-state.ts'
import { errorText } from '../errors.ts'
import type { Endpoint } from '../openai/wire.ts'
import type { ProgressEvent } from '../progress/events.ts'
import { ProgressFanOut } from '../progress/fan-out.ts'
import { requestCounts } from '../requester/context.ts'
import type { View } from '../requester/draft.ts'
import type { RequesterOptions } from '../requester/opening.ts'
import type { PrepareOptions } from '../requester/prepare.ts'
import { GPTRequester } from '../requester/requester.ts'
import { nodeFileSystem } from '../state/file-system.ts'
import { changedOptions } from '../util/changed-options.ts'
import { systemClock } from '../util/clock.ts'
import type { Settings } from '../util/options.ts'
import { AnswerSchemas, schemaHash } from './answer-schemas.ts'
import { checkOutput, knownEndpoint } from './checks.ts'
import type { TaskDependencies } from './dependencies.ts'
import { Generation } from './generation.ts'
import { handleResults } from './handle-results.ts'
import { Judge } from './judge.ts'
import type { TaskOutput } from './output.ts'
import { type PilotEnd, runPilot } from './pilot.ts'
import { previewTask } from './preview.ts'
import { projectOutput } from './project-output.ts'
import { codeOf, type Ending, endingOf, RunHistory, runEnd } from './run-history.ts'
import { summarise } from './summary.ts'
import { callHook, type TaskHooks } from './task-hooks.ts'
import type { RunSummary } from './task-types.ts'

export interface TaskRunOptions<Answer> {
  readonly hooks: TaskHooks<Answer>
  readonly className: string
  readonly settings: Settings
  readonly dependencies: TaskDependencies
  readonly setParams: (params: unknown) => void
}

const REPORTER_CLOSE_MS = 5_000

/** One run of a task: generation, results and verdicts, going on beside each other. */
export class TaskRun<Answer> {
  readonly #options: TaskRunOptions<Answer>
  readonly #schemas: AnswerSchemas<Answer>
  readonly #reporters: ProgressFanOut
  readonly #history: RunHistory
  readonly #generation: Generation
  readonly #judge: Judge<Answer>
  readonly #startedMs: number
  #requester: GPTRequester | undefined
  /** Of a dry run: the task as it is on disk. */
  #view: View | undefined
  #pilot: PilotEnd | undefined
  #ending: Ending | undefined
  #addedByPilot = 0

  constructor(options: TaskRunOptions<Answer>) {
    const { hooks, className, dependencies, settings } = options
    this.#options = options
    this.#startedMs = (dependencies.clock ?? systemClock).now()
    const emit = (event: ProgressEvent) => this.#emit(event)
    this.#history = new RunHistory({ settings, className, dependencies, emit })
    this.#reporters = new ProgressFanOut([this.#history.reporter, ...(dependencies.reporters ?? [])])
    this.#schemas = new AnswerSchemas(className, (request) => hooks.answerSchemaFor(request))
    this.#generation = new Generation(hooks, (code, message) => this.#warn(code, message))
    this.#judge = new Judge({ hooks, schemas: this.#schemas, maxRetries: settings.options.maxRetries })
  }

  /** Standing of a sample, verdicts still being written included. A reply that a hook has in hand counts as answered. */
  sample(name: string): SampleStanding | undefined {
    const known = this.#requester ? this.#requester.sample(name) : this.#view?.requests.sample(name)
    return this.#judge.standing(name, known)
  }

  async run(): Promise<RunSummary> {
    try {
      const { hooks, settings } = this.#options
      const { dryRun, quote } = settings.options
      const output = hooks.createOutput()
      return dryRun || quote ? await this.#preview() : await this.#runOpened(output)
    } catch (error) {
      this.#tellEnd(endingOf(error))
      throw error
    } finally {
      await this.#finish()
    }
  }

  /** Nothing of the task is held any more: what tells of it may take its time, within bounds. */
  async #finish(): Promise<void> {
    const { clock = systemClock, warn = warnByProcess } = this.#options.dependencies
    if (this.#ending) await this.#history.end(runEnd(this.#ending))
    for (const problem of await this.#reporters.close(REPORTER_CLOSE_MS, clock)) warn(problem)
  }

  async #preview(): Promise<RunSummary> {
    const { hooks, settings, dependencies, setParams } = this.#options
    return previewTask({
      settings,
      fs: dependencies.fs ?? nodeFileSystem,
      clock: dependencies.clock ?? systemClock,
      prepare: this.#prepare,
      generate: () => this.#generation.toLookAt(),
      createParams: () => callHook('createParams', () => hooks.createParams()),
      setParams,
      setView: (view) => {
        this.#view = view
      },
      emit: (event) => this.#emit(event),
      fetch: dependencies.fetch,
      stop: dependencies.stop,
    })
  }

  async #runOpened(output: TaskOutput): Promise<RunSummary> {
    const requester = new GPTRequester(this.#requesterOptions(output))
    await requester.open()
    this.#requester = requester
    try {
      const summary = await this.#workOpened(requester, output)
      // What fails while the run winds down is a failure of the run.
      await requester.close({
        beforeRelease: (failure) =>
          this.#settle(
            failure === undefined ? { kind: 'finished', outcome: summary.outcome } : endingOf(failure),
          ),
      })
      return summary
    } catch (error) {
      await this.#closeAfter(error, requester)
      throw error
    }
  }

  async #workOpened(requester: GPTRequester, output: TaskOutput): Promise<RunSummary> {
    const { hooks, settings, setParams } = this.#options
    const { run, name } = settings.options
    if (run || requester.isWiping) this.#history.open(requester)
    this.#emit({
      kind: 'run-started',
      task: name,
      counts: requestCounts(requester.state),
      options: changedOptions(settings.options),
    })
    requester.tellFigures()
    checkOutput(requester, output)
    const writtenBefore = requester.fileLength(output.suffix(1))
    setParams(requester.params)
    await this.#finishWipe(requester)
    if (run) await this.#work(requester)
    const hasNewLines = requester.fileLength(output.suffix(1)) !== writtenBefore
    const { fs = nodeFileSystem } = this.#options.dependencies
    await projectOutput(requester, output, { fs, hasNewLines })
    const summary = this.#summary(requester, output)
    await callHook('onFinish', () => hooks.onFinish(summary))
    return summary
  }

  /** Closes after a failure. What fails then is told, but must not hide what failed first. */
  async #closeAfter(error: unknown, requester: GPTRequester): Promise<void> {
    try {
      await requester.close({ beforeRelease: () => this.#settle(endingOf(error)) })
    } catch (second) {
      if (second === error) return
      this.#warn('close_failed', `while closing: ${errorText(second)}`)
    }
  }

  /** The last that is told of the run, while the task is still this process's. */
  async #settle(ending: Ending): Promise<void> {
    this.#tellEnd(ending)
    await this.#history.close()
  }

  /** Once in a run: what it failed with first counts. */
  #tellEnd(ending: Ending): void {
    if (this.#ending) return
    this.#ending = ending
    const state = this.#requester?.state ?? initialState
    if (ending.kind === 'finished')
      this.#emit({ kind: 'run-finished', outcome: ending.outcome, counts: requestCounts(state) })
    else this.#emit({ kind: 'run-failed', message: errorText(ending.error), code: codeOf(ending.error) })
  }

  get #endpoint(): Endpoint {
    const { hooks, settings } = this.#options
    return knownEndpoint(settings.options.endpoint ?? hooks.endpoint ?? settings.environment.endpoint)
  }

  get #prepare(): PrepareOptions {
    const endpoint = this.#endpoint
    return { endpoint, prepareBody: (body, request) => this.#schemas.apply(endpoint, body, request) }
  }

  #requesterOptions(output: TaskOutput): RequesterOptions {
    const { hooks, className, settings, dependencies } = this.#options
    const { stop, cut, api, fetch, clock, fs } = dependencies
    const endpoint = this.#endpoint
    const own = hooks.answerSchema
    return {
      settings,
      code: { className, endpoint, schema: schemaHash(own && this.#schemas.strict(own)) },
      prepare: this.#prepare,
      output,
      createParams: () => callHook('createParams', () => hooks.createParams()),
      emit: (event) => this.#emit(event),
      stop,
      cut,
      api,
      fetch,
      clock,
      fs,
    }
  }

  /** Takes what is still to come of a wiped task, then wipes. */
  async #finishWipe(requester: GPTRequester): Promise<void> {
    if (!requester.isWiping) return
    await this.#handleResults(requester, false)
    if (this.#isStopping) return
    const { scope, pending, failed, thrownAway } = await requester.finishWipe(() =>
      callHook('createParams', () => this.#options.hooks.createParams()),
    )
    this.#options.setParams(requester.params)
    const what =
      scope === 'task'
        ? `the whole task, ${thrownAway} paid answers among it`
        : `${pending} pending and ${failed} failed requests`
    this.#warn('wiped', `wiped ${what}`)
  }

  async #work(requester: GPTRequester): Promise<void> {
    const { hooks, settings } = this.#options
    const { requests } = requester.state.counters
    await callHook('onStart', () => hooks.onStart())
    if (!(await this.#mayGoOn(requester))) return
    do {
      await this.#handleResults(requester, !settings.options.onlyProcess)
    } while (
      this.#judge.samplesWithMore > 0 &&
      requester.outcome.kind === 'complete' &&
      !settings.options.onlyProcess
    )
    this.#checkPutBack(requester, requests)
  }

  /** Runs the pilot, if there is to be one. False when the rest is not to be sent. */
  async #mayGoOn(requester: GPTRequester): Promise<boolean> {
    const { settings, dependencies } = this.#options
    const { pilot: size, yes, onlyProcess } = settings.options
    if (size === undefined || onlyProcess) return true
    const { confirm = async () => yes } = dependencies
    const { requests } = requester.state.counters
    const generate = () => this.#generation.toLookAt()
    const process = () => this.#handleResults(requester, false)
    const isStopping = () => this.#isStopping
    this.#pilot = await runPilot({ requester, size, generate, process, isStopping, confirm })
    this.#addedByPilot = requester.state.counters.requests - requests
    return this.#pilot.goesOn
  }

  /** Failed requests that were put back have no body any more: only the hook can bring them again. */
  #checkPutBack(requester: GPTRequester, requestsBefore: number): void {
    if (requester.outcome.kind !== 'complete') return
    const missing = requestsBefore + requester.putBack - requester.state.counters.requests
    if (missing <= 0) return
    this.#warn(
      'not_yielded',
      `${requester.putBack} failed requests were put back, but generateRequests did not yield ${missing} of their keys again: the task no longer knows these`,
    )
  }

  #handleResults(requester: GPTRequester, generates: boolean): Promise<void> {
    const { processConcurrency } = this.#options.settings.options
    const [generation, judge] = [this.#generation, this.#judge]
    return handleResults({ requester, generation, judge, processConcurrency, generates })
  }

  get #isStopping(): boolean {
    return this.#options.dependencies.stop?.aborted ?? false
  }

  #summary(requester: GPTRequester, output: TaskOutput): RunSummary {
    const { settings, dependencies } = this.#options
    const elapsedMs = (dependencies.clock ?? systemClock).now() - this.#startedMs
    return summarise(requester, output, settings.options, {
      added: this.#generation.added + this.#addedByPilot,
      judged: this.#judge.judged,
      elapsedMs,
      pilot: this.#pilot,
    })
  }

  #warn(code: string, message: string): void {
    this.#emit({ kind: 'warning', code, message })
  }

  /** The one way out for what reporters are told of this run. */
  #emit(event: ProgressEvent): void {
    this.#reporters.emit(event)
  }
}

const warnByProcess = (message: string): void => process.emitWarning(message, 'NightshiftWarning')
