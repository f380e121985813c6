import type { z } from 'zod'
import { emptyStanding } from '../batch/request-table.ts'
import { reject, retry, type Verdict } from '../batch/verdict.ts'
import type { Endpoint } from '../openai/wire.ts'
import { type ResolvedOptions, resolveOptions, type Settings, type TaskOptions } from '../util/options.ts'
import type { TaskDependencies } from './dependencies.ts'
import { JsonLinesOutput, type TaskOutput } from './output.ts'
import { TaskRun } from './task-run.ts'
import type {
  RequestInHand,
  RunSummary,
  Samples,
  TaskFailure,
  TaskRequest,
  TaskResponse,
} from './task-types.ts'

export type TaskManagerOptions = TaskOptions & TaskDependencies

/** What `generateRequests` returns: anything to iterate over, at once or asynchronously. */
export type Requests<E extends Endpoint = Endpoint> = Iterable<TaskRequest<E>> | AsyncIterable<TaskRequest<E>>

/**
 * A task: what to ask, and what to make of the answers. A subclass supplies `generateRequests` and
 * `processResponse`; everything between is done here: queue, batches, direct calls, retries, state, limits.
 *
 * `Answer` is what `answerSchema` yields.
 */
export abstract class TaskManager<Answer = unknown> {
  /**
   * Endpoint of all requests: `override endpoint = '/v1/responses' as const`. Requests are then typed as
   * `TaskRequest<'/v1/responses'>`. Default: `/v1/chat/completions`, or the environment's `OPENAI_ENDPOINT`.
   */
  readonly endpoint: Endpoint | undefined = undefined
  /** Sent with each request as a strict JSON schema; replies are parsed and checked by it. Default: none. */
  readonly answerSchema: z.ZodType<Answer> | undefined = undefined
  /** The options of this run, defaults applied. */
  readonly options: ResolvedOptions
  /** Values of the task's own flags. */
  readonly flags: Readonly<Record<string, unknown>>
  /** The task's parameters, frozen when the task was created. Undefined before `run`. */
  params: unknown = undefined
  /** Aborted when the run is to stop: pass it to whatever takes long in a hook. */
  readonly signal: AbortSignal
  /** What is known about the task's samples. */
  readonly samples: Samples = {
    get: (sample) => this.#run?.sample(sample) ?? emptyStanding,
    has: (sample) => this.#run?.sample(sample) !== undefined,
  }

  readonly #settings: Settings
  readonly #dependencies: TaskDependencies
  #run: Pick<TaskRun<unknown>, 'sample'> | undefined

  /** Checks the options and stores them; nothing else happens before `run`. Throws UsageError. */
  constructor(options: TaskManagerOptions) {
    const { flags, stop, cut, confirm, fetch, api, clock, fs, env, ...rest } = options
    const { reporters, openSender, warn, ...input } = rest
    const telling = { reporters, openSender, warn }
    this.#dependencies = { flags, stop, cut, confirm, ...telling, fetch, api, clock, fs, env }
    this.#settings = resolveOptions(input, env)
    this.options = this.#settings.options
    this.flags = Object.freeze({ ...flags })
    this.signal = stop ?? new AbortController().signal
  }

  /**
   * Yields the task's requests, lazily: it is pulled only as fast as there is room. Called when a run starts (with a
   * pilot before it, too), and again after verdicts with `more`. May always yield everything: keys that are committed are skipped.
   */
  abstract generateRequests(): Requests

  /**
   * Called for every usable reply, one at a time (`processConcurrency` relaxes it). Returns what becomes of it:
   * `accept`, `retry` or `reject`. May be called again for the same reply after a crash; its verdict counts once.
   * When it throws, the run stops and the next run delivers the reply again.
   */
  abstract processResponse(response: TaskResponse<Answer>): Verdict | Promise<Verdict>

  /**
   * Called for every failed attempt. Default: retry when that may help and attempts are left, else reject. An
   * `accept` here is a fallback output.
   */
  processFailure(failure: TaskFailure): Verdict | Promise<Verdict> {
    const reason = `${failure.code}: ${failure.message}`
    return failure.retryable || this.options.retryFatalRequests ? retry(reason) : reject(reason)
  }

  /**
   * The schema of one request's answer, when kinds are mixed. Asked when the request is sent and again when its reply
   * is read. Default: `answerSchema`.
   */
  answerSchemaFor(_request: RequestInHand): z.ZodType<Answer> | undefined {
    return this.answerSchema
  }

  /** The task's parameters, made once when it is created (`--reinit-params` makes them anew). Any JSON value. Default: `{}`. */
  createParams(): unknown | Promise<unknown> {
    return {}
  }

  /** The form of the output. Default: JSON lines in one file. */
  createOutput(): TaskOutput {
    return new JsonLinesOutput()
  }

  /** Called once per run, when the task is open and before requests are generated. Default: nothing. */
  onStart(): void | Promise<void> {}

  /** Called once per run that ended by itself, with the result; not after an error. Default: nothing. */
  onFinish(_summary: RunSummary): void | Promise<void> {}

  /**
   * Runs the task until it is complete, or until nothing more can be done now. Throws UsageError, LockError,
   * StateError, TaskError or RemoteError; what was committed until then stays, and the next run goes on from there.
   */
  async run(): Promise<RunSummary> {
    const run = new TaskRun<Answer>({
      hooks: this,
      className: this.constructor.name,
      settings: this.#settings,
      dependencies: this.#dependencies,
      setParams: (params) => {
        this.params = params
      },
    })
    this.#run = run
    return run.run()
  }
}
