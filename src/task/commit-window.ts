import { Notifier } from '../util/notifier.ts'

/** Verdicts that are being written: so many may be on their way before the next one waits. */
const WINDOW = 1_000

/** Lets commits run behind the work that causes them, within bounds. */
export class CommitWindow {
  readonly #room = new Notifier()
  readonly #pending = new Set<Promise<void>>()
  #failure: { readonly error: unknown } | undefined

  /**
   * Follows a commit without waiting for it, unless too many are under way. Throws the first failure of those before.
   * `onFailure` is called when this one fails: there may be no next one that would be told.
   */
  async follow(commit: Promise<unknown>, onFailure: () => void): Promise<void> {
    const done: Promise<void> = commit.then(
      () => this.#end(done),
      (error: unknown) => {
        this.#failure ??= { error }
        this.#end(done)
        onFailure()
      },
    )
    this.#pending.add(done)
    // Not a race of all that is pending: each race would leave a reaction at every one of them.
    while (this.#pending.size >= WINDOW) await this.#room.wait()
    this.#throwFailure()
  }

  /** Waits until everything is durable. Throws the first failure. */
  async settled(): Promise<void> {
    await Promise.all(this.#pending)
    this.#throwFailure()
  }

  #end(done: Promise<void>): void {
    this.#pending.delete(done)
    this.#room.notify()
  }

  #throwFailure(): void {
    if (this.#failure) throw this.#failure.error
  }
}
