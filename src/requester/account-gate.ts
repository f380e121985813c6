import { RemoteError } from '../errors.ts'
import { Notifier } from '../util/notifier.ts'
import type { Context } from './context.ts'
import { Patience } from './patience.ts'

/** An account that was just found exhausted is left alone for so long at least. */
const LEAST_HOLD_MS = 30_000

/**
 * Holds back new batches while the answers of earlier ones say that the account is exhausted: their lines go again
 * without using up attempts, so nothing else would keep them from going round and round.
 */
export class AccountGate {
  readonly #context: Context
  #patience: Patience | undefined
  #hold: Promise<void> | undefined
  /** Wakes who waits: there is another hold, or none. */
  readonly #changed = new Notifier()

  constructor(context: Context) {
    this.#context = context
  }

  /**
   * Lines of a batch were refused on account of the account. Each time in a row the hold is longer, but for a batch in
   * which other lines were answered (`isPartly`): work goes on then, if slowly.
   */
  refused(message: string, isPartly: boolean): void {
    if (isPartly) this.#patience = undefined
    this.#patience ??= new Patience(this.#context, 'the account')
    const error = new RemoteError('account_refused', message, { retryable: true })
    this.#hold = this.#patience.afterFailure(error, LEAST_HOLD_MS)
    // Whoever passes is told; nobody may.
    this.#hold.catch(() => undefined)
    this.#changed.notify()
  }

  /** A batch came back without any such line. */
  answered(): void {
    this.#patience = undefined
    this.#hold = undefined
    this.#changed.notify()
  }

  /** Waits while the account is held, however often that is said anew. Throws `WaitedTooLong` after `maxWait`, and `Interrupted`. */
  async pass(): Promise<void> {
    for (;;) {
      const hold = this.#hold
      await Promise.race([hold, this.#changed.wait()])
      if (hold === this.#hold) return
    }
  }
}
