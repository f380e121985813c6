import type { z } from 'zod'
import type { SampleStanding } from '../batch/request-table.ts'
import { retry, type Verdict } from '../batch/verdict.ts'
import { errorText, NightshiftError, TaskError } from '../errors.ts'
import { ENDPOINTS, type Endpoint } from '../openai/wire.ts'
import type { ProgressEvent } from '../progress/events.ts'
import { ProgressFanOut } from '../progress/fan-out.ts'
import { requestCounts } from '../requester/context.ts'
import type { View } from '../requester/draft.ts'
import type { RequesterOptions } from '../requester/opening.ts'
import type { RequestResult } from '../requester/request-result.ts'
import { GPTRequester } from '../requester/requester.ts'
import { nodeFileSystem } from '../state/file-system.ts'
import { systemClock } from '../util/clock.ts'
import type { Settings } from '../util/options.ts'
import { AnswerSchemas, schemaHash } from './answer-schemas.ts'
import { CommitWindow } from './commit-window.ts'
import type { TaskDependencies } from './dependencies.ts'
import type { TaskOutput } from './output.ts'
import { Pass } from './pass.ts'
import { type PilotEnd, runPilot } from './pilot.ts'
import { previewTask } from './preview.ts'
import { Processing } from './processing.ts'
import { projectOutput } from './project-output.ts'
import { type Reading, readResult } from './read-result.ts'
import { summarise } from './summary.ts'
import type { RequestInHand, RunSummary, TaskFailure, TaskRequest, TaskResponse } from './task-types.ts'

/** What a run needs of a task: its hooks, without the types that only authors care for. */
export interface TaskHooks<Answer> {
  readonly endpoint: Endpoint | undefined
  readonly answerSchema: z.ZodType<Answer> | undefined
  generateRequests(): Iterable<TaskRequest<Endpoint>> | AsyncIterable<TaskRequest<Endpoint>>
  processResponse(response: TaskResponse<Answer>): Verdict | Promise<Verdict>
  processFailure(failure: TaskFailure): Verdict | Promise<Verdict>
  answerSchemaFor(request: RequestInHand): z.ZodType<Answer> | undefined
  createParams(): unknown
  createOutput(): TaskOutput
  onStart(): void | Promise<void>
  onFinish(summary: RunSummary): void | Promise<void>
}

export interface TaskRunOptions<Answer> {
  readonly hooks: TaskHooks<Answer>
  readonly className: string
  readonly settings: Settings
  readonly dependencies: TaskDependencies
  readonly setParams: (params: unknown) => void
}

type Generated = Iterable<TaskRequest<Endpoint>> | AsyncIterable<TaskRequest<Endpoint>>

const DEFAULT_ENDPOINT: Endpoint = '/v1/chat/completions'
/** How often a long pass over known requests lets others run. */
const YIELD_EVERY = 512
/** A new pass over the generator is worth it when this share of the samples has asked for more. */
const RESCAN_SHARE = 1 / 8
const REPORTER_CLOSE_MS = 5_000

/** One run of a task: generation, results and verdicts, going on beside each other. */
export class TaskRun<Answer> {
  readonly #options: TaskRunOptions<Answer>
  readonly #schemas: AnswerSchemas<Answer>
  readonly #output: TaskOutput
  readonly #reporters: ProgressFanOut
  readonly #endpoint: Endpoint
  readonly #window = new CommitWindow()
  readonly #startedMs: number
  #requester: GPTRequester | undefined
  /** Of a dry run: the task as it is on disk. */
  #view: View | undefined
  #added = 0
  #judged = 0
  #passes = 0
  #pilot: PilotEnd | undefined
  /** What a hook is looking at, by sample: of each at most one reply. */
  readonly #inHand = new Map<string, 'succeeded' | 'failed'>()
  /** Samples that asked for more since the last pass began. */
  #more = new Set<string>()

  constructor(options: TaskRunOptions<Answer>) {
    const { hooks, className, dependencies, settings } = options
    this.#options = options
    this.#startedMs = (dependencies.clock ?? systemClock).now()
    this.#reporters = new ProgressFanOut(dependencies.reporters ?? [])
    this.#schemas = new AnswerSchemas(className, (request) => hooks.answerSchemaFor(request))
    this.#output = hooks.createOutput()
    this.#endpoint = knownEndpoint(
      settings.options.endpoint ?? hooks.endpoint ?? settings.environment.endpoint,
    )
  }

  /** Standing of a sample, verdicts still being written included. A reply that a hook has in hand counts as answered. */
  sample(name: string): SampleStanding | undefined {
    const known = this.#requester ? this.#requester.sample(name) : this.#view?.requests.sample(name)
    const answered = known && this.#inHand.get(name)
    return answered ? { ...known, pending: known.pending - 1, [answered]: known[answered] + 1 } : known
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
      generate: () => this.#toLookAt(this.#requests()),
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
      this.#emit({ kind: 'warning', code: 'close_failed', message: `while closing: ${errorText(second)}` })
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
    await this.#processResults(requester)
    if (this.#isStopping) return
    const { scope, pending, failed, thrownAway } = await requester.finishWipe(() =>
      callHook('createParams', () => this.#options.hooks.createParams()),
    )
    this.#options.setParams(requester.params)
    const what =
      scope === 'task'
        ? `the whole task, ${thrownAway} paid answers among it`
        : `${pending} pending and ${failed} failed requests`
    this.#emit({ kind: 'warning', code: 'wiped', message: `wiped ${what}` })
  }

  async #work(requester: GPTRequester): Promise<void> {
    const { hooks, settings } = this.#options
    const { requests } = requester.state.counters
    await callHook('onStart', () => hooks.onStart())
    if (!(await this.#mayGoOn(requester))) return
    do {
      const pass = settings.options.onlyProcess ? undefined : this.#beginPass(requester)
      await this.#processResults(requester, pass)
    } while (this.#more.size > 0 && requester.outcome.kind === 'complete' && !settings.options.onlyProcess)
    this.#checkPutBack(requester, requests)
  }

  /** Runs the pilot, if there is to be one. False when the rest is not to be sent. */
  async #mayGoOn(requester: GPTRequester): Promise<boolean> {
    const { settings, dependencies } = this.#options
    const { pilot: size, yes, onlyProcess } = settings.options
    if (size === undefined || onlyProcess) return true
    const { confirm = async () => yes } = dependencies
    const { requests } = requester.state.counters
    const generate = () => this.#toLookAt(this.#requests())
    const process = () => this.#processResults(requester)
    const isStopping = () => this.#isStopping
    this.#pilot = await runPilot({ requester, size, generate, process, isStopping, confirm })
    this.#added += requester.state.counters.requests - requests
    return this.#pilot.goesOn
  }

  /** Failed requests that were put back have no body any more: only the hook can bring them again. */
  #checkPutBack(requester: GPTRequester, requestsBefore: number): void {
    if (requester.outcome.kind !== 'complete') return
    const missing = requestsBefore + requester.putBack - requester.state.counters.requests
    if (missing <= 0) return
    const message = `${requester.putBack} failed requests were put back, but generateRequests did not yield ${missing} of their keys again: the task no longer knows these`
    this.#emit({ kind: 'warning', code: 'not_yielded', message })
  }

  /** Handles results until there are none left, with new passes over the generator as samples ask for more. */
  async #processResults(requester: GPTRequester, firstPass?: Pass): Promise<void> {
    let pass = firstPass
    const processing = new Processing<RequestResult>(
      this.#options.settings.options.processConcurrency,
      (result) => this.#process(requester, result),
      () => requester.halt(),
    )
    let begun: number
    do {
      begun = this.#passes
      try {
        for await (const result of requester.results()) {
          await processing.submit(result)
          pass?.check()
          if (pass?.isOver && this.#wantsPass(requester)) pass = this.#beginPass(requester)
        }
      } finally {
        // Whatever was decided is written, also when something failed: it is not decided twice.
        await Promise.allSettled([processing.drain(), this.#window.settled()])
      }
      await processing.drain()
      await this.#window.settled()
      await pass?.done
      pass?.check()
      // A pass that began while the last results were handled may have added more.
    } while (this.#passes > begun)
  }

  #wantsPass(requester: GPTRequester): boolean {
    return this.#more.size > 0 && this.#more.size >= requester.sampleCount * RESCAN_SHARE
  }

  #beginPass(requester: GPTRequester): Pass {
    this.#more = new Set()
    this.#passes++
    // A generator that fails ends the run now, not when the batches are back.
    return new Pass(this.#generate(requester, requester.hold()), () => requester.halt())
  }

  async #generate(requester: GPTRequester, release: () => Promise<void>): Promise<void> {
    try {
      let seen = 0
      for await (const { key, body, sample, meta } of this.#requests()) {
        const outcome = await requester.add({ key, body, sample, meta })
        if (outcome === 'stopped') break
        if (outcome === 'added') this.#added++
        if (++seen % YIELD_EVERY === 0) await new Promise((resolve) => setImmediate(resolve))
      }
    } catch (error) {
      throw NightshiftError.is(error) ? error : generatorFailed(error)
    } finally {
      await release()
    }
    if (requester.changedBodies > 0) this.#warnChangedBodies(requester.changedBodies)
  }

  /** The same requests, only to be looked at; says which hook it was when it throws. */
  async *#toLookAt(requests: Generated): AsyncGenerator<TaskRequest<Endpoint>> {
    try {
      yield* requests
    } catch (error) {
      if (NightshiftError.is(error)) throw error
      const message = `generateRequests failed: ${errorText(error)}. It was only looked at: nothing of it was added or sent.`
      throw new TaskError('hook_failed', message, { cause: error })
    }
  }

  #warnChangedBodies(count: number): void {
    const message = `${count} keys were given another body than when they were committed; the first body stays in force (--wipe-requests or other keys change that)`
    this.#emit({ kind: 'warning', code: 'changed_bodies', message })
  }

  #requests(): Generated {
    const requests = this.#options.hooks.generateRequests()
    if (typeof requests === 'object' && (Symbol.iterator in requests || Symbol.asyncIterator in requests))
      return requests
    throw new TaskError(
      'bad_generator',
      'generateRequests() must return something to iterate over: write it as a generator, *generateRequests()',
    )
  }

  async #process(requester: GPTRequester, result: RequestResult): Promise<void> {
    const { options } = this.#options.settings
    const reading = readResult(result, this.#schemas.for(result), options.maxRetries)
    const verdict = await this.#verdictOn(result, reading)
    if (verdict.kind !== 'retry' && verdict.more) this.#more.add(result.sample)
    this.#judged++
    // What is accepted in place of an answer is for this task to decide, each time.
    const isReusable = reading.kind === 'response'
    await this.#window.follow(requester.judge(result, verdict, { isReusable }))
  }

  async #verdictOn(result: RequestResult, reading: Reading<Answer>): Promise<Verdict> {
    const { hooks } = this.#options
    // It says nothing of the request, which was not tried.
    if (reading.kind === 'failure' && result.via === 'reused') return retry(reading.failure.message)
    const hook = reading.kind === 'response' ? 'processResponse' : 'processFailure'
    this.#inHand.set(result.sample, reading.kind === 'response' ? 'succeeded' : 'failed')
    try {
      const verdict: unknown =
        reading.kind === 'response'
          ? await hooks.processResponse(reading.response)
          : await hooks.processFailure(reading.failure)
      return checkedVerdict(verdict, hook)
    } catch (error) {
      throw hookFailed(hook, result.key, error)
    } finally {
      this.#inHand.delete(result.sample)
    }
  }

  get #isStopping(): boolean {
    return this.#options.dependencies.stop?.aborted ?? false
  }

  #summary(requester: GPTRequester): RunSummary {
    const { settings, dependencies } = this.#options
    const elapsedMs = (dependencies.clock ?? systemClock).now() - this.#startedMs
    return summarise(requester, this.#output, settings.options, {
      added: this.#added,
      judged: this.#judged,
      elapsedMs,
      pilot: this.#pilot,
    })
  }

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

const VERDICTS = ['accept', 'retry', 'reject']

function checkedVerdict(verdict: unknown, hook: string): Verdict {
  const isVerdict =
    typeof verdict === 'object' &&
    verdict !== null &&
    'kind' in verdict &&
    VERDICTS.includes(String(verdict.kind))
  if (isVerdict) return verdict as Verdict
  throw new TaskError(
    'no_verdict',
    `${hook} must return accept(...), retry(...) or reject(...), and returned ${JSON.stringify(verdict) ?? String(verdict)}`,
  )
}

/** Calls a hook and says which it was when it throws. */
async function callHook<Result>(name: string, call: () => Result | Promise<Result>): Promise<Result> {
  try {
    return await call()
  } catch (error) {
    if (NightshiftError.is(error)) throw error
    throw new TaskError('hook_failed', `${name} failed: ${errorText(error)}`, { cause: error })
  }
}

function generatorFailed(cause: unknown): TaskError {
  const message = `generateRequests failed: ${errorText(cause)}. What it gave before is kept; the next run calls it again.`
  return new TaskError('hook_failed', message, { cause })
}

function hookFailed(hook: string, key: string, cause: unknown): TaskError {
  const code = NightshiftError.is(cause) ? cause.code : 'hook_failed'
  const message = `${hook} failed for key ${JSON.stringify(key)}: ${errorText(cause)}. Verdicts before it are kept; the next run delivers this reply again.`
  return new TaskError(code, message, { cause })
}
