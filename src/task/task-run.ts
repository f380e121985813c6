import type { SampleStanding } from '../batch/request-table.ts'
import { errorText, TaskError } from '../errors.ts'
import { ENDPOINTS, type Endpoint } from '../openai/wire.ts'
import type { ProgressEvent } from '../progress/events.ts'
import { ProgressFanOut } from '../progress/fan-out.ts'
import { requestCounts } from '../requester/context.ts'
import type { View } from '../requester/draft.ts'
import type { RequesterOptions } from '../requester/opening.ts'
import { GPTRequester } from '../requester/requester.ts'
import { nodeFileSystem } from '../state/file-system.ts'
import { systemClock } from '../util/clock.ts'
import type { Settings } from '../util/options.ts'
import { AnswerSchemas, schemaHash } from './answer-schemas.ts'
import type { TaskDependencies } from './dependencies.ts'
import { Generation } from './generation.ts'
import { handleResults } from './handle-results.ts'
import { Judge } from './judge.ts'
import type { TaskOutput } from './output.ts'
import { type PilotEnd, runPilot } from './pilot.ts'
import { previewTask } from './preview.ts'
import { projectOutput } from './project-output.ts'
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

const DEFAULT_ENDPOINT: Endpoint = '/v1/chat/completions'
const REPORTER_CLOSE_MS = 5_000

/** One run of a task: generation, results and verdicts, going on beside each other. */
export class TaskRun<Answer> {
  readonly #options: TaskRunOptions<Answer>
  readonly #schemas: AnswerSchemas<Answer>
  readonly #output: TaskOutput
  readonly #reporters: ProgressFanOut
  readonly #endpoint: Endpoint
  readonly #generation: Generation
  readonly #judge: Judge<Answer>
  readonly #startedMs: number
  #requester: GPTRequester | undefined
  /** Of a dry run: the task as it is on disk. */
  #view: View | undefined
  #pilot: PilotEnd | undefined
  #addedByPilot = 0

  constructor(options: TaskRunOptions<Answer>) {
    const { hooks, className, dependencies, settings } = options
    this.#options = options
    this.#startedMs = (dependencies.clock ?? systemClock).now()
    this.#reporters = new ProgressFanOut(dependencies.reporters ?? [])
    this.#schemas = new AnswerSchemas(className, (request) => hooks.answerSchemaFor(request))
    this.#output = hooks.createOutput()
    this.#generation = new Generation(hooks, (code, message) => this.#warn(code, message))
    this.#judge = new Judge({ hooks, schemas: this.#schemas, maxRetries: settings.options.maxRetries })
    this.#endpoint = knownEndpoint(
      settings.options.endpoint ?? hooks.endpoint ?? settings.environment.endpoint,
    )
  }

  /** Standing of a sample, verdicts still being written included. A reply that a hook has in hand counts as answered. */
  sample(name: string): SampleStanding | undefined {
    const known = this.#requester ? this.#requester.sample(name) : this.#view?.requests.sample(name)
    return this.#judge.standing(name, known)
  }

  async run(): Promise<RunSummary> {
    try {
      const { dryRun, quote } = this.#options.settings.options
      return dryRun || quote ? await this.#preview() : await this.#runOpened()
    } finally {
      await this.#reporters.close(REPORTER_CLOSE_MS, this.#options.dependencies.clock ?? systemClock)
    }
  }

  async #preview(): Promise<RunSummary> {
    const { hooks, settings, dependencies, setParams } = this.#options
    return previewTask({
      settings,
      fs: dependencies.fs ?? nodeFileSystem,
      clock: dependencies.clock ?? systemClock,
      prepare: this.#requesterOptions().prepare,
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

  async #runOpened(): Promise<RunSummary> {
    const { hooks, settings, setParams } = this.#options
    const requester = new GPTRequester(this.#requesterOptions())
    await requester.open()
    this.#requester = requester
    try {
      this.#checkOutput(requester)
      const writtenBefore = requester.fileLength(this.#output.suffix(1))
      setParams(requester.params)
      this.#emit({ kind: 'run-started', task: settings.options.name, counts: requestCounts(requester.state) })
      await this.#finishWipe(requester)
      if (settings.options.run) await this.#work(requester)
      const hasNewLines = requester.fileLength(this.#output.suffix(1)) !== writtenBefore
      const { fs = nodeFileSystem } = this.#options.dependencies
      await projectOutput(requester, this.#output, { fs, hasNewLines })
      const summary = this.#summary(requester)
      const counts = requestCounts(requester.state)
      await callHook('onFinish', () => hooks.onFinish(summary))
      await requester.close()
      // Only now: what fails while the run winds down is a failure of the run.
      this.#emit({ kind: 'run-finished', outcome: summary.outcome, counts })
      return summary
    } catch (error) {
      await this.#closeAfter(error, requester)
      throw error
    }
  }

  /** Closes after a failure. What fails then is told, but must not hide what failed first. */
  async #closeAfter(error: unknown, requester: GPTRequester): Promise<void> {
    try {
      await requester.close()
    } catch (second) {
      if (second === error) return
      this.#warn('close_failed', `while closing: ${errorText(second)}`)
    }
  }

  #requesterOptions(): RequesterOptions {
    const { hooks, className, settings, dependencies } = this.#options
    const { stop, cut, api, fetch, clock, fs } = dependencies
    const endpoint = this.#endpoint
    const own = hooks.answerSchema
    return {
      settings,
      code: { className, endpoint, schema: schemaHash(own && this.#schemas.strict(own)) },
      prepare: { endpoint, prepareBody: (body, request) => this.#schemas.apply(endpoint, body, request) },
      output: this.#output,
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

  /** Lines that were written in one form cannot be gone on with in another. */
  #checkOutput(requester: GPTRequester): void {
    const { part, lines } = requester.state.output
    const suffix = this.#output.suffix(part)
    if (lines === 0 || requester.fileLength(suffix) > 0) return
    const message = `createOutput() gives an output that is written to ${requester.path(suffix)}, but the task has ${lines} lines in another file; use the form it was begun with, or another task name`
    throw new TaskError('output_changed', message)
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

  #summary(requester: GPTRequester): RunSummary {
    const { settings, dependencies } = this.#options
    const elapsedMs = (dependencies.clock ?? systemClock).now() - this.#startedMs
    return summarise(requester, this.#output, settings.options, {
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

function knownEndpoint(endpoint: string | undefined): Endpoint {
  const known = ENDPOINTS.find((one) => one === (endpoint ?? DEFAULT_ENDPOINT))
  if (known) return known
  throw new TaskError(
    'bad_endpoint',
    `endpoint ${JSON.stringify(endpoint)} is not supported; use one of ${ENDPOINTS.join(', ')}`,
  )
}
