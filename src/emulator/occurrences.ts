import type { Clock } from '../util/clock.ts'
import { seedOf } from './chance.ts'
import type { When } from './scenario-when.ts'

const CHANCES = 0x1_0000_0000

/** What faults work in. */
export interface Surroundings {
  readonly clock: Clock
  /** Ends what hangs, and what would still be done late. */
  readonly signal: AbortSignal
  readonly startMs: number
}

/** One fault of a scenario; `seed` is its own. */
export interface Placed<Fault> {
  readonly fault: Fault
  readonly seed: string
}

/** A fault and what it counts. */
export interface Counted<Fault> {
  readonly fault: Fault
  readonly occurrences: Occurrences
}

/** Faults, each with a count of its own that begins now. */
export const counted = <Fault extends { readonly when?: When | undefined }>(
  faults: readonly Placed<Fault>[],
  { startMs }: Surroundings,
): readonly Counted<Fault>[] =>
  faults.map(({ fault, seed }) => ({
    fault,
    occurrences: new Occurrences({ when: fault.when, startMs, seed }),
  }))

/** One thing that a fault may happen to. */
export interface Thing {
  readonly now: number
  /** What a share is drawn by. Default: the thing's number. */
  readonly key?: number
  /** How often the same was asked before. */
  readonly attempt?: number
}

export interface OccurrenceRules {
  readonly when: When | undefined
  readonly startMs: number
  /** Tells the draws of one fault from those of the others. */
  readonly seed: string
}

/** Counts the things that one fault matches, and says which of them it happens to. */
export class Occurrences {
  readonly #rules: OccurrenceRules
  #count = 0

  constructor(rules: OccurrenceRules) {
    this.#rules = rules
  }

  /** Whether it happens to this one. Call it once for each thing that matches, in order. */
  next({ now, key, attempt = 0 }: Thing): boolean {
    const { when, startMs, seed } = this.#rules
    if (!when) return true
    const { afterMs = 0, untilMs = Infinity, tries = Infinity } = when
    const age = now - startMs
    if (age < afterMs || age >= untilMs || attempt >= tries) return false
    this.#count += 1
    return isChosen(when, this.#count) && isDrawn(when.share, `${seed} ${key ?? this.#count}`)
  }
}

const isChosen = ({ nth, first = Infinity, every = 1 }: When, number: number): boolean =>
  (nth === undefined || [nth].flat().includes(number)) && number <= first && number % every === 0

const isDrawn = (share: number | undefined, seed: string): boolean =>
  share === undefined || seedOf(seed) / CHANCES < share
