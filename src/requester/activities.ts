/** Things that go on at the same time, each at most once, by names. */
export class Activities {
  readonly #running = new Map<string, Promise<void>>()
  readonly #onEnd: () => void

  /** `onEnd` is called after each. */
  constructor(onEnd: () => void) {
    this.#onEnd = onEnd
  }

  get size(): number {
    return this.#running.size
  }

  has(id: string): boolean {
    return this.#running.has(id)
  }

  /** Does nothing while it goes on already. What it fails with is for `onError`. */
  start(id: string, activity: () => Promise<void>, onError: (error: unknown) => void): void {
    if (this.#running.has(id)) return
    const running = activity()
      .catch(onError)
      .finally(() => {
        this.#running.delete(id)
        this.#onEnd()
      })
    this.#running.set(id, running)
  }

  /** Resolves when what goes on now is over. */
  async settled(): Promise<void> {
    await Promise.all(this.#running.values())
  }
}
