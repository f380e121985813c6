import { initialState, type TaskState } from '../batch/task-state.ts'
import { errorText, NightshiftError } from '../errors.ts'
import type { ProgressEvent } from '../progress/events.ts'
import { ProgressFanOut } from '../progress/fan-out.ts'
import { FAILED, finishedAs, type RunEnd } from '../progress/history-sender.ts'
import { requestCounts } from '../requester/context.ts'
import type { GPTRequester } from '../requester/requester.ts'
import { changedOptions } from '../util/changed-options.ts'
import { systemClock } from '../util/clock.ts'
import type { TaskDependencies } from './dependencies.ts'
import { RunHistory, type RunHistoryOptions } from './run-history.ts'
import { hookStack } from './task-hooks.ts'

/** How a run ended: with an outcome, or with what it failed with. */
export type Ending =
  | { readonly kind: 'finished'; readonly outcome: string }
  | { readonly kind: 'failed'; readonly error: unknown }

export interface RunTellingOptions extends Pick<RunHistoryOptions, 'settings' | 'className'> {
  readonly dependencies: TaskDependencies
}

const REPORTER_CLOSE_MS = 5_000

/**
 * What is told of a run: to its reporters, and to its history. Never throws, and nothing waits for it but, within
 * bounds, the end.
 *
 *     events -- started --> events -- settle --> history on disk -- finish --> delivered, reporters told and closed
 *
 * The end is the last that reporters are told: after what came of the delivery of the history, which ends with it.
 */
export class RunTelling {
  readonly #options: RunTellingOptions
  readonly #reporters: ProgressFanOut
  readonly #history: RunHistory
  #ending: { readonly end: RunEnd; readonly event: ProgressEvent } | undefined

  constructor(options: RunTellingOptions) {
    const { dependencies } = options
    this.#options = options
    this.#history = new RunHistory({ ...options, emit: this.emit })
    this.#reporters = new ProgressFanOut([this.#history.reporter, ...(dependencies.reporters ?? [])])
  }

  /** The one way out for what reporters are told of this run. */
  readonly emit = (event: ProgressEvent): void => {
    this.#reporters.emit(event)
  }

  warn(code: string, message: string): void {
    this.emit({ kind: 'warning', code, message })
  }

  /** The task is open, and this process's. A run that is only to look leaves no history. */
  started(requester: GPTRequester): void {
    const { options } = this.#options.settings
    if (options.run || requester.isWiping) this.#history.open(requester)
    const counts = requestCounts(requester.state)
    this.emit({ kind: 'run-started', task: options.name, counts, options: changedOptions(options) })
    requester.tellFigures()
  }

  /** Takes how it ended, once: what it failed with first counts. `state`: the task as it was left, if it was open. */
  ended(ending: Ending, state: TaskState = initialState): void {
    if (this.#ending) return
    const event = endEvent(ending, state)
    this.#ending = { end: runEnd(ending), event }
    this.#history.ended(event)
  }

  /** The last that is told of the run, while the task is still this process's. */
  async settle(ending: Ending, state: TaskState): Promise<void> {
    this.ended(ending, state)
    await this.#history.close()
  }

  /** Nothing of the task is held any more: what tells of it may take its time, within bounds. */
  async finish(): Promise<void> {
    const { clock = systemClock, warn = warnByProcess } = this.#options.dependencies
    if (this.#ending) {
      await this.#history.end(this.#ending.end)
      this.emit(this.#ending.event)
    }
    for (const problem of await this.#reporters.close(REPORTER_CLOSE_MS, clock)) warn(problem)
  }
}

const warnByProcess = (message: string): void => process.emitWarning(message, 'NightshiftWarning')

const INTERRUPTIONS: ReadonlySet<string> = new Set(['interrupted', 'lock_aborted', 'aborted'])

/** A run that was asked to stop before it could sum up has not failed. */
export const endingOf = (error: unknown): Ending =>
  NightshiftError.is(error) && INTERRUPTIONS.has(error.code)
    ? { kind: 'finished', outcome: 'interrupted' }
    : { kind: 'failed', error }

function endEvent(ending: Ending, state: TaskState): ProgressEvent {
  if (ending.kind === 'finished')
    return { kind: 'run-finished', outcome: ending.outcome, counts: requestCounts(state) }
  const { error } = ending
  const stack = hookStack(error)
  return { kind: 'run-failed', message: errorText(error), code: codeOf(error), ...(stack && { stack }) }
}

const codeOf = (error: unknown): string => (NightshiftError.is(error) ? error.code : 'error')

const runEnd = (ending: Ending): RunEnd => (ending.kind === 'failed' ? FAILED : finishedAs(ending.outcome))
