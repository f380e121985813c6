/**
 * Runs a handler over results: one at a time by default, more with `concurrency`, but never two of the same sample
 * at once. Remembers the first failure; nothing new is begun after it.
 */
export class Processing<Item extends { readonly sample: string }> {
  readonly #handle: (item: Item) => Promise<void>
  readonly #concurrency: number
  readonly #onFailure: () => void
  readonly #running = new Set<Promise<void>>()
  readonly #bySample = new Map<string, Promise<void>>()
  #failure: { readonly error: unknown } | undefined

  /** `onFailure` is called at the first failure and may be called again: nobody may be waiting for `submit` or `drain`. */
  constructor(concurrency: number, handle: (item: Item) => Promise<void>, onFailure: () => void) {
    this.#concurrency = concurrency
    this.#handle = handle
    this.#onFailure = onFailure
  }

  /** Takes one more item, when there is room for it. Throws the first failure of those before. */
  async submit(item: Item): Promise<void> {
    this.#throwFailure()
    if (this.#concurrency === 1) return this.#handle(item)
    while (this.#running.size >= this.#concurrency) await Promise.race(this.#running)
    this.#throwFailure()
    const before = this.#bySample.get(item.sample) ?? Promise.resolve()
    const run = before.then(() => this.#guarded(item)).finally(() => this.#end(item.sample, run))
    this.#running.add(run)
    this.#bySample.set(item.sample, run)
  }

  /** Waits for all that was begun. Throws the first failure. */
  async drain(): Promise<void> {
    await Promise.all(this.#running)
    this.#throwFailure()
  }

  async #guarded(item: Item): Promise<void> {
    if (this.#failure) return
    try {
      await this.#handle(item)
    } catch (error) {
      this.#failure ??= { error }
      this.#onFailure()
    }
  }

  #end(sample: string, run: Promise<void>): void {
    this.#running.delete(run)
    if (this.#bySample.get(sample) === run) this.#bySample.delete(sample)
  }

  #throwFailure(): void {
    if (this.#failure) throw this.#failure.error
  }
}
