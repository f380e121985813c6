import { StateError } from '../errors.ts'
import type { Clock } from '../util/clock.ts'
import { formatBytes } from '../util/format.ts'
import type { FileSystem } from './file-system.ts'

/** Kept free beyond what is needed, for answers that are paid for and come in when there is no more room. */
export const SPACE_MARGIN_BYTES = 1 << 20

/** What the disk said counts for so long, less what was written since. */
const BELIEVED_MS = 1_000

export interface DiskSpaceOptions {
  readonly fs: FileSystem
  readonly directory: string
  readonly clock: Clock
}

/** Space set aside for something that is on its way. */
export interface Room {
  /** So much of it has been written. */
  spend(bytes: number): void
  /** Gives back what is left. Calling it again does nothing. */
  release(): void
}

interface Claim {
  readonly bytes: number
  readonly what: string
  /** Bytes that must stay free beside it, as of now. */
  readonly beside: () => number
}

interface Answer {
  /** Undefined: the file system cannot say. */
  readonly free: number | undefined
  readonly atMs: number
}

/**
 * Looks ahead whether something will fit on the disk, so that a full one stops a run before anything is begun. The
 * disk is asked about once a second, and before a refusal. It may fill up all the same: writing must cope with that.
 */
export class DiskSpace {
  readonly #options: DiskSpaceOptions
  #answer: Answer | undefined
  /** Written since the disk was asked. */
  #written = 0
  #reserved = 0

  constructor(options: DiskSpaceOptions) {
    this.#options = options
  }

  /**
   * Throws StateError `disk_full` when `bytes` do not fit beside the margin and all that is set aside. `isPaid`: they
   * hold answers, for which all of that is meant.
   */
  async ensure(bytes: number, what: string, isPaid = false): Promise<void> {
    const beside = () => (isPaid ? 0 : SPACE_MARGIN_BYTES + this.#reserved)
    await this.#claim({ bytes, what, beside }, () => {
      this.#written += bytes
    })
  }

  /** Sets space aside for something of about that size. Throws as `ensure`. */
  async reserve(bytes: number, what: string): Promise<Room> {
    let left = bytes
    const give = (some: number): void => {
      const given = Math.min(left, some)
      left -= given
      this.#reserved -= given
    }
    await this.#claim({ bytes, what, beside: () => SPACE_MARGIN_BYTES + this.#reserved }, () => {
      this.#reserved += bytes
    })
    return { spend: give, release: () => give(left) }
  }

  /** Calls `take` when it fits, at once: others may be claiming, too. */
  async #claim({ bytes, what, beside }: Claim, take: () => void): Promise<void> {
    const fits = () => this.#left() >= bytes + beside()
    if (!this.#isFresh() || !fits()) await this.#ask()
    if (fits()) return take()
    const { directory } = this.#options
    const message =
      `the disk is full: ${what} needs ${formatBytes(bytes)} and ${formatBytes(beside())} beside it, and ${directory} ` +
      `has ${formatBytes(this.#left())} left. Nothing of it was begun. Free some space and run again.`
    throw new StateError('disk_full', message, { retryable: true })
  }

  #left(): number {
    return (this.#answer?.free ?? Number.POSITIVE_INFINITY) - this.#written
  }

  #isFresh(): boolean {
    if (!this.#answer) return false
    return Math.abs(this.#options.clock.now() - this.#answer.atMs) < BELIEVED_MS
  }

  async #ask(): Promise<void> {
    const { fs, directory, clock } = this.#options
    const free = await fs.freeBytes(directory)
    this.#answer = { free, atMs: clock.now() }
    this.#written = 0
  }
}
