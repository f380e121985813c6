import { errorText } from '../errors.ts'
import type { ProgressEvent } from '../progress/events.ts'
import { callGuarded } from '../progress/guarded-hook.ts'
import { HistoryReporter } from '../progress/history-reporter.ts'
import type { HistorySender, OpenSender, RunEnd } from '../progress/history-sender.ts'
import { wandbSender } from '../progress/wandb/open-sender.ts'
import type { GPTRequester } from '../requester/requester.ts'
import { nodeFileSystem } from '../state/file-system.ts'
import { PROGRESS_FILE, ProgressLog } from '../state/progress-log.ts'
import { systemClock } from '../util/clock.ts'
import type { Settings } from '../util/options.ts'
import type { TaskDependencies } from './dependencies.ts'

/** How long a run waits for the delivery of its history when all else is done. */
const DELIVERY_MS = 10_000

export interface RunHistoryOptions {
  readonly settings: Settings
  readonly className: string
  readonly dependencies: Pick<TaskDependencies, 'clock' | 'fs' | 'openSender'>
  readonly emit: (event: ProgressEvent) => void
}

/**
 * The history of a run: what it writes to `<name>_progress.jsonl`, and who sends that on. Events are taken from the
 * beginning, and written once the task is locked and open.
 *
 *     (waits) -- open --> written -- close --> on disk -- end --> delivered, as far as it may take
 */
export class RunHistory {
  readonly reporter: HistoryReporter
  readonly #options: RunHistoryOptions
  readonly #log: ProgressLog
  #guard: () => void = () => {}
  #sender: HistorySender | undefined
  /** It is told no more but the end, since it may hold something. */
  #hasFailed = false

  constructor(options: RunHistoryOptions) {
    const { settings, dependencies } = options
    const { taskDir, name } = settings.options
    const { fs = nodeFileSystem, clock = systemClock } = dependencies
    this.#options = options
    this.#log = new ProgressLog({
      fs,
      clock,
      path: `${taskDir}/${name}${PROGRESS_FILE}`,
      guard: () => this.#guard(),
      onDurable: (bytes) => this.#told(bytes),
      onTrouble: (message) => this.#warn('history', message),
      onRecovered: (lost) => this.#warn('history', recoveredText(lost)),
    })
    this.reporter = new HistoryReporter(this.#log)
  }

  /** The task is this process's, until `close`. */
  open(requester: GPTRequester): void {
    const { settings, className, dependencies, emit } = this.#options
    const { taskDir, name } = settings.options
    const { clock = systemClock, openSender = wandbSender() } = dependencies
    this.#guard = requester.guard
    const path = requester.path(PROGRESS_FILE)
    this.#sender = this.#opened(openSender, { path, taskDir, name, className, settings, clock, emit })
    this.#log.start()
  }

  /** Takes how the run ended, which is the last row: reporters are told later, when it is delivered. */
  ended(event: ProgressEvent): void {
    callGuarded(
      () => this.reporter.onEvent(event),
      (error) => this.#warn('history', `the end of the run is not in its history: ${errorText(error)}`),
    )
  }

  /** Makes all of it durable. Never rejects. */
  async close(): Promise<void> {
    const problem = await this.#log.close()
    if (problem !== undefined) this.#warn('history', problem)
  }

  /** Lets it be delivered, for as long as that may take. Never rejects. */
  async end(end: RunEnd): Promise<void> {
    const sender = this.#sender
    if (!sender) return
    const { clock = systemClock } = this.#options.dependencies
    const over = new AbortController()
    const late = clock.sleep(DELIVERY_MS, over.signal).then(() => over.signal.aborted || this.#gaveUp())
    await Promise.race([this.#ended(sender, end), late])
    over.abort()
  }

  async #ended(sender: HistorySender, end: RunEnd): Promise<void> {
    try {
      await sender.end(end)
    } catch (error) {
      this.#failed(error)
    }
  }

  #gaveUp(): void {
    this.#warn('history_sender', 'what delivers the history was not done in time')
  }

  #told(bytes: number): void {
    if (this.#hasFailed) return
    callGuarded(
      () => this.#sender?.durable(bytes),
      (error) => this.#failed(error),
    )
  }

  #opened(open: OpenSender, source: Parameters<OpenSender>[0]): HistorySender | undefined {
    try {
      return open(source)
    } catch (error) {
      this.#failed(error)
      return undefined
    }
  }

  #failed(error: unknown): void {
    if (this.#hasFailed) return
    this.#hasFailed = true
    const message = `the history is not delivered any more; the run goes on, and the history is kept: ${errorText(error)}`
    this.#warn('history_sender', message)
  }

  #warn(code: string, message: string): void {
    this.#options.emit({ kind: 'warning', code, message })
  }
}

const recoveredText = (lost: number): string =>
  lost === 0
    ? 'the history is written again; nothing of it was lost'
    : `the history is written again; ${lost} rows of it were lost`
