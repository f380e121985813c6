import { errorText } from '../errors.ts'
import type { Clock } from '../util/clock.ts'
import type { ProgressEvent } from './events.ts'
import { callGuarded } from './guarded-hook.ts'
import type { Reporter } from './reporter.ts'

/**
 * Hands every event to every reporter, and keeps their faults away from the run: a reporter that throws gets no
 * more events, and the others get one warning (`reporter_failed`) about it.
 *
 * `open` -- `close` --> `closed`; events that come after `close` are dropped.
 */
export class ProgressFanOut {
  readonly #all: readonly Reporter[]
  #listening: readonly Reporter[]
  /** Events that came while another one was delivered: each is told to all before the next is. */
  readonly #queue: ProgressEvent[] = []
  #delivering = false
  #closing: Promise<readonly string[]> | undefined

  constructor(reporters: readonly Reporter[]) {
    this.#all = [...reporters]
    this.#listening = this.#all
  }

  emit(event: ProgressEvent): void {
    this.#queue.push(event)
    if (this.#delivering) return
    this.#delivering = true
    try {
      for (let next = this.#queue.shift(); next; next = this.#queue.shift())
        for (const reporter of this.#listening) this.#tell(reporter, next)
    } finally {
      this.#delivering = false
    }
  }

  /**
   * Closes all reporters, those that failed too, since they may hold something; waits at most `timeoutMs` for all
   * of them together. Never throws: resolves to what went wrong, one line for each reporter.
   */
  close(timeoutMs: number, clock: Clock): Promise<readonly string[]> {
    this.#closing ??= this.#close(timeoutMs, clock)
    return this.#closing
  }

  #tell(reporter: Reporter, event: ProgressEvent): void {
    callGuarded(
      () => reporter.onEvent?.(event),
      (error) => this.#drop(reporter, error),
    )
  }

  #drop(reporter: Reporter, error: unknown): void {
    if (!this.#listening.includes(reporter)) return
    this.#listening = this.#listening.filter((one) => one !== reporter)
    const message = `progress reporter ${nameOf(reporter)} failed and gets no more events; the run goes on: ${errorText(error)}`
    this.emit({ kind: 'warning', code: 'reporter_failed', message })
  }

  async #close(timeoutMs: number, clock: Clock): Promise<readonly string[]> {
    this.#listening = []
    const waiting = new Set(this.#all)
    const problems: string[] = []
    const closed = this.#all.map(async (reporter) => {
      try {
        await reporter.close?.()
      } catch (error) {
        problems.push(`progress reporter ${nameOf(reporter)} could not be closed: ${errorText(error)}`)
      }
      waiting.delete(reporter)
    })
    const timer = new AbortController()
    await Promise.race([Promise.all(closed), clock.sleep(timeoutMs, timer.signal)])
    timer.abort()
    const slow = [...waiting].map((reporter) => `progress reporter ${nameOf(reporter)} was not done in time`)
    return [...problems, ...slow]
  }
}

const nameOf = (reporter: Reporter): string => reporter.constructor?.name ?? 'without a name'
