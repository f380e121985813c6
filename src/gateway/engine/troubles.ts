import { pauseMs } from '../../batch/pause-ms.ts'

/** Failures in a row of what may be tried for ever, by batch, as far as this process has seen them. */
export class Troubles {
  readonly #failures = new Map<number, number>()

  /** Notes one more; gives how long to wait before the next try, in milliseconds. A server may ask for more. */
  more(batch: number, retryAfterMs?: number): number {
    const failures = (this.#failures.get(batch) ?? 0) + 1
    this.#failures.set(batch, failures)
    return pauseMs(failures, retryAfterMs)
  }

  over(batch: number): void {
    this.#failures.delete(batch)
  }
}
