import { type Counted, counted, type Placed, type Surroundings } from './occurrences.ts'
import type { LagFrom, ListingFault, What } from './scenario-listing.ts'

type FaultOf<Name extends ListingFault['fault']> = Extract<ListingFault, { fault: Name }>

interface Hidden {
  readonly from: readonly LagFrom[]
  readonly untilMs: number
  readonly calls: number
  missed: number
}

/** Other people's batches or files, to be made around a new one. */
export interface Crowd {
  readonly before: readonly Foreigner[]
  readonly after: readonly Foreigner[]
}

export interface Foreigner {
  readonly filename: string
  readonly metadata: Readonly<Record<string, string>>
}

/** What callers are told, and not told, of what there is. */
export class ListingFaults {
  readonly #surroundings: Surroundings
  readonly #books: readonly Counted<ListingFault>[]
  readonly #hidden = new Map<string, readonly Hidden[]>()
  #foreigners = 0

  constructor(faults: readonly Placed<ListingFault>[], surroundings: Surroundings) {
    this.#surroundings = surroundings
    this.#books = counted(faults, surroundings)
  }

  /** Something new is made. Hides it as long as the scenario says, and says who is made around it. */
  made(what: What, id: string): Crowd {
    const lags = this.#happening('listing-lag', what).map((fault) => this.#hide(fault))
    if (lags.length > 0) this.#hidden.set(id, lags)
    const crowds = this.#happening('listing-crowd', what)
    return {
      before: crowds.flatMap((crowd) => this.#people(crowd, crowd.before)),
      after: crowds.flatMap((crowd) => this.#people(crowd, crowd.after)),
    }
  }

  /** Whether such a call does not find it. Counts the call. */
  hides(id: string, from: LagFrom): boolean {
    const lags = this.#hidden.get(id)
    if (!lags) return false
    const now = this.#surroundings.clock.now()
    const misses = lags.filter(
      (lag) => lag.from.includes(from) && now < lag.untilMs && lag.missed < lag.calls,
    )
    for (const lag of misses) lag.missed += 1
    return misses.length > 0
  }

  /** How many items a page may hold, when so many are asked for. */
  pageSize(what: What, asked: number): number {
    return this.#happening('listing-pages', what).reduce((least, { size }) => Math.min(least, size), asked)
  }

  #happening<Name extends ListingFault['fault']>(name: Name, what: What): readonly FaultOf<Name>[] {
    const now = this.#surroundings.clock.now()
    return this.#books.flatMap(({ fault, occurrences }) =>
      isKind(fault, name) && fault.what === what && occurrences.next({ now }) ? [fault] : [],
    )
  }

  #hide({ from, ms = Infinity, calls = Infinity }: FaultOf<'listing-lag'>): Hidden {
    return { from, untilMs: this.#surroundings.clock.now() + ms, calls, missed: 0 }
  }

  #people({ filename, metadata }: FaultOf<'listing-crowd'>, count: number): readonly Foreigner[] {
    return Array.from({ length: count }, () => {
      this.#foreigners += 1
      const numbered = (text: string): string => text.replaceAll('{n}', String(this.#foreigners))
      const entries = Object.entries(metadata).map(([key, value]) => [key, numbered(value)])
      return { filename: numbered(filename), metadata: Object.fromEntries(entries) }
    })
  }
}

const isKind = <Name extends ListingFault['fault']>(
  fault: ListingFault,
  name: Name,
): fault is FaultOf<Name> => fault.fault === name
