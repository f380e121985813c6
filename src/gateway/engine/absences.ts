import type { GatewayBatch } from '../domain/batch.ts'
import { isTagOf } from './attempt.ts'
import type { EngineContext } from './context.ts'

/** A batch is over a day after it began, whatever became of it. */
const WINDOW_MS = 25 * 3_600_000
/** A server that says of a batch of its own that there is none may still change its mind for so long. */
const LEAST_MS = 10 * 60_000

/** Batches that the server says it does not know, and since when, as far as this process has seen. */
export class Absences {
  readonly #context: EngineContext
  readonly #sinceMs = new Map<number, number>()

  constructor(context: EngineContext) {
    this.#context = context
  }

  /**
   * Notes one more such answer. True when the batch is to be given up. One that another account made is there, and comes
   * back with that account's key: it is given up only when it must be over.
   */
  isLasting({ number, tag = '', phaseAt }: GatewayBatch): boolean {
    const { time, settings, api } = this.#context
    const now = time.now()
    const since = this.#sinceMs.get(number) ?? now
    this.#sinceMs.set(number, since)
    if (!isTagOf(tag, api.fingerprint)) return now - phaseAt >= WINDOW_MS
    return now - since >= Math.max(LEAST_MS, settings.createGraceMs)
  }

  /** It is there after all. */
  end(number: number): void {
    this.#sinceMs.delete(number)
  }
}
