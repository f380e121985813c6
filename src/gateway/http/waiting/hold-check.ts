import { errorText } from '../../../errors.ts'
import type { Clock } from '../../../util/clock.ts'
import type { Log } from '../../log.ts'

export interface HoldCheckParts {
  /** Requests that the store says are held by this process. */
  readonly held: () => Promise<readonly string[]>
  /** Whether somebody waits here for a request. */
  readonly isAwaited: (id: string) => boolean
  readonly release: (id: string) => void
  readonly clock: Clock
  readonly log: Log
}

/** Longer than a call takes from its record to its place in the waiting room. */
const BETWEEN_LOOKS_MS = 5000

/**
 * Lets go of what the store holds for callers of this process who are not there. When it is not known what became of a
 * call, it may have gone with a request of whatever id, which would be held for nobody; whoever asks for the same again
 * would make a second one.
 */
export class HoldCheck {
  readonly #parts: HoldCheckParts
  readonly #ending = new AbortController()
  #isInDoubt = false
  #isRunning = false

  constructor(parts: HoldCheckParts) {
    this.#parts = parts
  }

  /** Something went unanswered: what is held is looked through soon. */
  doubt(): void {
    this.#isInDoubt = true
    if (!this.#isRunning) void this.#run()
  }

  close(): void {
    this.#ending.abort()
  }

  async #run(): Promise<void> {
    const { clock, log } = this.#parts
    this.#isRunning = true
    let suspects: ReadonlySet<string> = new Set()
    while (this.#isInDoubt || suspects.size > 0) {
      await clock.sleep(BETWEEN_LOOKS_MS, this.#ending.signal, { background: true })
      if (this.#ending.signal.aborted) return
      try {
        suspects = await this.#look(suspects)
      } catch (error) {
        log.warn('holds_not_read', { error: errorText(error) })
      }
    }
    this.#isRunning = false
  }

  /** What nobody waited for at two looks is let go of; gives what nobody waits for at this one. */
  async #look(suspects: ReadonlySet<string>): Promise<ReadonlySet<string>> {
    const { held, isAwaited, release } = this.#parts
    const wasInDoubt = this.#isInDoubt
    this.#isInDoubt = false
    try {
      const unawaited = (await held()).filter((id) => !isAwaited(id))
      for (const id of unawaited.filter((id) => suspects.has(id))) release(id)
      return new Set(wasInDoubt ? unawaited.filter((id) => !suspects.has(id)) : [])
    } catch (error) {
      this.#isInDoubt = wasInDoubt
      throw error
    }
  }
}
