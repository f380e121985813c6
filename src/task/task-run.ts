import type { SampleStanding } from '../batch/request-table.ts'
import { errorText } from '../errors.ts'
import type { Endpoint } from '../openai/wire.ts'
import type { View } from '../requester/draft.ts'
import type { RequesterOptions } from '../requester/opening.ts'
import type { PrepareOptions } from '../requester/prepare.ts'
import { GPTRequester } from '../requester/requester.ts'
import { nodeFileSystem } from '../state/file-system.ts'
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
import { endingOf, RunTelling } from './run-telling.ts'
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

/** One run of a task: generation, results and verdicts, going on beside each other. */
export class TaskRun<Answer> {
  readonly #options: TaskRunOptions<Answer>
  readonly #schemas: AnswerSchemas<Answer>
  readonly #telling: RunTelling
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
    this.#telling = new RunTelling({ settings, className, dependencies })
    this.#schemas = new AnswerSchemas(className, (request) => hooks.answerSchemaFor(request))
    this.#generation = new Generation(hooks, (code, message) => this.#telling.warn(code, message))
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
      this.#telling.ended(endingOf(error), this.#requester?.state)
      throw error
    } finally {
      await this.#telling.finish()
    }
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
      emit: this.#telling.emit,
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
          this.#telling.settle(
            failure === undefined ? { kind: 'finished', outcome: summary.outcome } : endingOf(failure),
            requester.state,
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
    const { run } = settings.options
    this.#telling.started(requester)
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
      const beforeRelease = () => this.#telling.settle(endingOf(error), requester.state)
      await requester.close({ beforeRelease })
    } catch (second) {
      if (second === error) return
      this.#telling.warn('close_failed', `while closing: ${errorText(second)}`)
    }
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
      emit: this.#telling.emit,
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
    await requester.finishWipe(() => callHook('createParams', () => this.#options.hooks.createParams()))
    this.#options.setParams(requester.params)
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
    this.#telling.warn(
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
}
