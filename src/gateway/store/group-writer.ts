import { setImmediate } from 'node:timers/promises'
import { NightshiftError } from '../../errors.ts'
import type { Acceptance, AcceptLimits, Arrival } from '../domain/arrival.ts'
import type { GatewayStore } from './store.ts'

/** Most that one transaction takes: larger ones cost no less for each call, and make the first of them wait longer. */
const MOST_CALLS = 500
const MOST_BYTES = 8_000_000

export interface GroupWriterSettings {
  readonly store: Pick<GatewayStore, 'accept' | 'delivered' | 'letGo'>
  /** Whose callers they are. */
  readonly replica: string
  readonly limits: AcceptLimits
}

/**
 * Writes single calls in groups: all that come while one group is made durable are the next one. So a lone call waits
 * for nobody, and many share the cost of a commit. An error reaches those it is about: a group that fails for another
 * reason than the database being away is written in halves, down to the one that cannot be.
 */
export class GroupWriter {
  readonly #arrivals: Grouper<Arrival, Acceptance>
  readonly #deliveries: Grouper<string, true>
  readonly #goings: Grouper<string, true>

  constructor({ store, replica, limits }: GroupWriterSettings) {
    const accept = (arrivals: readonly Arrival[]) => store.accept(arrivals, limits)
    this.#arrivals = new Grouper(accept, ({ bodyText }) => bodyText.length)
    this.#deliveries = new Grouper((ids) => store.delivered(ids).then(() => eachTrue(ids)))
    this.#goings = new Grouper((ids) => store.letGo(ids, replica).then(() => eachTrue(ids)))
  }

  /** Durable when it resolves; see `GatewayStore.accept`. */
  accept(arrival: Arrival): Promise<Acceptance> {
    return this.#arrivals.add(arrival)
  }

  async delivered(id: string): Promise<void> {
    await this.#deliveries.add(id)
  }

  async letGo(id: string): Promise<void> {
    await this.#goings.add(id)
  }

  /** Resolves when all that was asked for so far is written, or has failed. */
  async idle(): Promise<void> {
    await Promise.all([this.#arrivals.idle(), this.#deliveries.idle(), this.#goings.idle()])
  }
}

const eachTrue = (ids: readonly string[]): true[] => ids.map(() => true)

interface Waiting<Item, Result> {
  readonly item: Item
  readonly resolve: (result: Result) => void
  readonly reject: (error: unknown) => void
}

class Grouper<Item, Result> {
  readonly #write: (items: readonly Item[]) => Promise<readonly Result[]>
  readonly #bytesOf: (item: Item) => number
  #waiting: Waiting<Item, Result>[] = []
  #writing: Promise<void> | undefined

  constructor(write: (items: readonly Item[]) => Promise<readonly Result[]>, bytesOf = (_: Item) => 0) {
    this.#write = write
    this.#bytesOf = bytesOf
  }

  add(item: Item): Promise<Result> {
    return new Promise<Result>((resolve, reject) => {
      this.#waiting.push({ item, resolve, reject })
      this.#writing ??= this.#writeAll()
    })
  }

  async idle(): Promise<void> {
    await this.#writing
  }

  async #writeAll(): Promise<void> {
    while (this.#waiting.length > 0) {
      // Calls that came in together are read one after the other: they are let in before the group is closed. Also, a
      // database inside of this process never gives way by itself.
      await setImmediate()
      await this.#writeGroup(this.#nextGroup())
    }
    this.#writing = undefined
  }

  #nextGroup(): readonly Waiting<Item, Result>[] {
    let bytes = 0
    const end = this.#waiting.findIndex(({ item }, index) => {
      bytes += this.#bytesOf(item)
      return index === MOST_CALLS || (index > 0 && bytes > MOST_BYTES)
    })
    return this.#waiting.splice(0, end === -1 ? this.#waiting.length : end)
  }

  async #writeGroup(group: readonly Waiting<Item, Result>[]): Promise<void> {
    let results: readonly Result[]
    try {
      results = await this.#write(group.map(({ item }) => item))
    } catch (error) {
      await this.#writeRest(group, error)
      return
    }
    for (const [index, { resolve, reject }] of group.entries()) {
      const result = results[index]
      if (result === undefined) reject(new TypeError('a group was written without a result for each of it'))
      else resolve(result)
    }
  }

  async #writeRest(group: readonly Waiting<Item, Result>[], error: unknown): Promise<void> {
    if (group.length === 1 || isForAll(error)) {
      for (const { reject } of group) reject(error)
      return
    }
    const half = Math.ceil(group.length / 2)
    await this.#writeGroup(group.slice(0, half))
    await this.#writeGroup(group.slice(half))
  }
}

/** The database is away: that is nobody's fault, and halves would find the same. */
const isForAll = (error: unknown): boolean => NightshiftError.is(error) && error.retryable
