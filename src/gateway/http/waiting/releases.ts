import { errorText } from '../../../errors.ts'
import type { Clock } from '../../../util/clock.ts'
import type { Log } from '../../log.ts'

/** How a request stops being held: its answer went out whole, or nobody here waits for it any more. */
export type Release = 'delivered' | 'letGo'

export interface ReleaseParts {
  readonly tell: (id: string, release: Release) => Promise<void>
  readonly clock: Clock
  readonly log: Log
}

const AGAIN_MS = 1000

/**
 * Requests that are held no longer. While the store cannot be told, they are kept in mind and told again: what nobody
 * waits for must not go on being held, or the same call would make a second request.
 */
export class Releases {
  readonly #parts: ReleaseParts
  readonly #owed = new Map<string, Release>()
  readonly #ending = new AbortController()
  #isTelling = false

  constructor(parts: ReleaseParts) {
    this.#parts = parts
  }

  /** Resolves when the store knows, or cannot be told for now. Never throws. */
  async tell(id: string, release: Release): Promise<void> {
    try {
      await this.#parts.tell(id, release)
    } catch (error) {
      this.#parts.log.warn('not_released', { id, release, error: errorText(error) })
      this.owe(id, release)
    }
  }

  /** It may be held, and nothing can be said of it at once. */
  owe(id: string, release: Release): void {
    this.#owed.set(id, release)
    if (!this.#isTelling) void this.#tellAll()
  }

  /** It is waited for again. */
  keep(id: string): void {
    this.#owed.delete(id)
  }

  close(): void {
    this.#ending.abort()
  }

  async #tellAll(): Promise<void> {
    const { clock, log } = this.#parts
    this.#isTelling = true
    while (this.#owed.size > 0 && !this.#ending.signal.aborted) {
      await clock.sleep(AGAIN_MS, this.#ending.signal, { background: true })
      await this.#tellOwed().catch((error: unknown) => log.warn('not_released', { error: errorText(error) }))
    }
    this.#isTelling = false
  }

  async #tellOwed(): Promise<void> {
    for (const [id, release] of this.#owed) {
      await this.#parts.tell(id, release)
      if (this.#owed.get(id) === release) this.#owed.delete(id)
    }
  }
}
