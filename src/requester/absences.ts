import type { Context } from './context.ts'

/** Batches that the server says it does not know: a new one is not always visible at once. */
export class Absences {
  readonly #context: Pick<Context, 'clock' | 'settings'>
  readonly #sinceMs = new Map<string, number>()

  constructor(context: Pick<Context, 'clock' | 'settings'>) {
    this.#context = context
  }

  /** Notes one more such answer. True when there was no other for the whole grace (`createGraceMs`): it is gone. */
  isLasting(batchId: string): boolean {
    const now = this.#context.clock.now()
    const since = this.#sinceMs.get(batchId) ?? now
    this.#sinceMs.set(batchId, since)
    return now - since >= this.#context.settings.createGraceMs
  }

  /** It is there after all. */
  end(batchId: string): void {
    this.#sinceMs.delete(batchId)
  }
}
