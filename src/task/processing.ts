/**
 * Runs a handler over results: one at a time by default, more with `concurrency`, but never two of the same sample
 * at once. Remembers the first failure; nothing new is begun after it.
 */
export class Processing<Item extends { readonly sample: string }> {
  readonly #handle: (item: Item) => Promise<void>
  readonly #concurrency: number
  readonly #running = new Set<Promise<void>>()
  readonly #bySample = new Map<string, Promise<void>>()
  #failure: { readonly error: unknown } | undefined

  constructor(concurrency: number, handle: (item: Item) => Promise<void>) {
    this.#concurrency = concurrency
    this.#handle = handle
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
