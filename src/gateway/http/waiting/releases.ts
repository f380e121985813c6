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
  #isRepeating = false
  #telling: Promise<void> | undefined

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
    if (!this.#isRepeating) void this.#repeat()
  }

  /** Something is owed: nothing may be decided by what is held before `catchUp`. */
  get isBehind(): boolean {
    return this.#owed.size > 0
  }

  /** Tells what is owed now, rather than soon. Never throws: while the store is away, it is told again and again. */
  async catchUp(): Promise<void> {
    await this.#tellOwed().catch(() => undefined)
  }

  /** It is waited for again. */
  keep(id: string): void {
    this.#owed.delete(id)
  }

  close(): void {
    this.#ending.abort()
  }

  async #repeat(): Promise<void> {
    const { clock, log } = this.#parts
    this.#isRepeating = true
    while (this.#owed.size > 0 && !this.#ending.signal.aborted) {
      await clock.sleep(AGAIN_MS, this.#ending.signal, { background: true })
      await this.#tellOwed().catch((error: unknown) =>
        log.warn('not_released', { owed: this.#owed.size, error: errorText(error) }),
      )
    }
    this.#isRepeating = false
  }

  #tellOwed(): Promise<void> {
    this.#telling ??= this.#tellAll([...this.#owed]).finally(() => {
      this.#telling = undefined
    })
    return this.#telling
  }

  /** All at once: they are written in groups. Throws what the first failed with, when all were tried. */
  async #tellAll(owed: readonly (readonly [id: string, release: Release])[]): Promise<void> {
    const told = await Promise.allSettled(
      owed.map(async ([id, release]) => {
        await this.#parts.tell(id, release)
        if (this.#owed.get(id) === release) this.#owed.delete(id)
      }),
    )
    const failed = told.find((one) => one.status === 'rejected')
    if (failed) throw failed.reason
  }
}
