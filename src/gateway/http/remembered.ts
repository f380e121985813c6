import { errorText } from '../../errors.ts'
import type { Clock } from '../../util/clock.ts'
import type { Log } from '../log.ts'

export interface RememberedOptions<Value> {
  /** For the log. */
  readonly what: string
  readonly read: () => Promise<Value>
  readonly clock: Clock
  readonly log: Log
}

/** While it cannot be read, what was read last goes on for so long. */
const STALE_MS = 60_000

/** Something of the store that is asked for with every call and changes seldom: read at most every few seconds. */
export class Remembered<Value> {
  readonly #options: RememberedOptions<Value>
  #last: { readonly at: number; readonly value: Value } | undefined
  #reading: Promise<Value> | undefined

  constructor(options: RememberedOptions<Value>) {
    this.#options = options
  }

  /** What is no older than that; undefined when it has to be read. */
  fresh(maxAgeMs: number): Value | undefined {
    const last = this.#last
    return last && this.#options.clock.now() - last.at < maxAgeMs ? last.value : undefined
  }

  /** Throws what reading throws, when there is nothing to go by. */
  async get(maxAgeMs: number): Promise<Value> {
    const fresh = this.fresh(maxAgeMs)
    if (fresh !== undefined) return fresh
    this.#reading ??= this.#read().finally(() => {
      this.#reading = undefined
    })
    try {
      return await this.#reading
    } catch (error) {
      const stale = this.fresh(STALE_MS)
      if (stale === undefined) throw error
      const { what, log } = this.#options
      log.warn('not_read', { what, error: errorText(error) })
      return stale
    }
  }

  async #read(): Promise<Value> {
    const at = this.#options.clock.now()
    const value = await this.#options.read()
    this.#last = { at, value }
    return value
  }
}
