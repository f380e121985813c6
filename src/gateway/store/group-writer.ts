import { setImmediate } from 'node:timers/promises'
import { NightshiftError } from '../../errors.ts'
import type { Acceptance, AcceptLimits, Arrival } from '../domain/arrival.ts'
import type { GatewayStore } from './store.ts'

/** Most that one transaction takes: larger ones cost no less for each call, and make the first of them wait longer. */
const MOST_CALLS = 500
const MOST_BYTES = 8_000_000
/** The turn in which a call came in ends without another one; the next may bring it. */
const QUIET_TURNS = 2

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
  readonly #arrivals: Grouper<WantedArrival, Acceptance>
  readonly #deliveries: Grouper<string, true>
  readonly #goings: Grouper<string, true>

  constructor({ store, replica, limits }: GroupWriterSettings) {
    this.#arrivals = new Grouper(
      async (arrivals) => {
        // Whoever comes back must find that what it waited for before is held no longer.
        await this.#goings.soFar()
        return acceptWanted(arrivals, (wanted) => store.accept(wanted, limits))
      },
      ({ arrival }) => arrival.bodyText.length,
    )
    this.#deliveries = new Grouper((ids) => store.delivered(ids).then(() => eachTrue(ids)))
    this.#goings = new Grouper((ids) => store.letGo(ids, replica).then(() => eachTrue(ids)))
  }

  /**
   * Durable when it resolves; see `GatewayStore.accept`. `isWanted`: whether somebody is still there to hear of it, asked
   * right before it would be written. Default: always.
   */
  accept(arrival: Arrival, isWanted: () => boolean = () => true): Promise<Acceptance> {
    return this.#arrivals.add({ arrival, isWanted })
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

interface WantedArrival {
  readonly arrival: Arrival
  readonly isWanted: () => boolean
}

const UNWANTED: Acceptance = { kind: 'unwanted' }

/**
 * While a database is slow callers go away and come back: what is left of their first calls is not put on record, or
 * each time that they come would make a request of its own.
 */
async function acceptWanted(
  arrivals: readonly WantedArrival[],
  accept: (arrivals: readonly Arrival[]) => Promise<readonly Acceptance[]>,
): Promise<readonly Acceptance[]> {
  const wanted = arrivals.filter(({ isWanted }) => isWanted())
  if (wanted.length === arrivals.length) return accept(arrivals.map(({ arrival }) => arrival))
  const acceptances = wanted.length === 0 ? [] : await accept(wanted.map(({ arrival }) => arrival))
  const byArrival = new Map(wanted.map((one, place) => [one, acceptances[place]]))
  return arrivals.map((one) => byArrival.get(one) ?? UNWANTED)
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
  #last: Promise<Result> | undefined

  constructor(write: (items: readonly Item[]) => Promise<readonly Result[]>, bytesOf = (_: Item) => 0) {
    this.#write = write
    this.#bytesOf = bytesOf
  }

  add(item: Item): Promise<Result> {
    const result = new Promise<Result>((resolve, reject) => {
      this.#waiting.push({ item, resolve, reject })
      this.#writing ??= this.#writeAll()
    })
    this.#last = result
    return result
  }

  /** Resolves when what was added until now is written, or has failed; what comes after it is not waited for. */
  async soFar(): Promise<void> {
    await this.#last?.then(
      () => undefined,
      () => undefined,
    )
  }

  async idle(): Promise<void> {
    await this.#writing
  }

  async #writeAll(): Promise<void> {
    while (this.#waiting.length > 0) {
      await this.#letIn()
      await this.#writeGroup(this.#nextGroup())
    }
    this.#writing = undefined
  }

  /**
   * A group is closed once nobody else comes in. Calls that came together are read one after the other, and Node takes
   * one new connection at each turn of its loop, whose call it reads at the next: a thousand that call at once would be
   * a thousand commits. There are turns for others in any case, which a database inside of this process never gives.
   */
  async #letIn(): Promise<void> {
    let quiet = 0
    do {
      const before = this.#waiting.length
      await setImmediate()
      quiet = this.#waiting.length > before ? 0 : quiet + 1
    } while (quiet < QUIET_TURNS && this.#waiting.length < MOST_CALLS)
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
