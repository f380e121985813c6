/** A pass over the generator, going on by itself while results are handled. */
export class Pass {
  /** Resolves when the pass is over, whether it failed or not. */
  readonly done: Promise<void>
  #failure: { readonly error: unknown } | undefined
  #isOver = false

  constructor(running: Promise<void>, onFailure: () => void) {
    this.done = running
      .catch((error: unknown) => {
        this.#failure = { error }
        onFailure()
      })
      .finally(() => {
        this.#isOver = true
      })
  }

  get isOver(): boolean {
    return this.#isOver
  }

  /** Throws what the pass failed with. */
  check(): void {
    if (this.#failure) throw this.#failure.error
  }
}
