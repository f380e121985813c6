import { editDistance } from '../util/option-names.ts'

const MOST_SHOWN = 3
/** Beyond this many letters that differ, two keys are taken to have nothing to do with each other. */
const MOST_LETTERS = 16
/** Letters are counted in so many bins. Two that share one are taken to be the same, which errs on the safe side. */
const BINS = 256

interface Candidate {
  readonly key: string
  readonly distance: number
}

/** Collects, of many keys, the few that come closest to one that was typed, letter case aside. */
export class NearestKeys {
  readonly #wanted: string
  readonly #letters: Uint16Array
  /** Scratch space: how many letters of each bin a key has not used up. */
  readonly #left = new Uint16Array(BINS)
  #bound: number
  #best: readonly Candidate[] = []

  constructor(wanted: string) {
    this.#wanted = wanted.toLowerCase()
    this.#letters = lettersOf(this.#wanted)
    this.#bound = Math.ceil(wanted.length / 3) + 1
  }

  /** The nearest first; none when nothing is near. */
  get keys(): readonly string[] {
    return this.#best.map(({ key }) => key)
  }

  offer(given: string): void {
    const key = given.toLowerCase()
    const distance = key.startsWith(this.#wanted)
      ? Math.min(1, key.length - this.#wanted.length)
      : this.#to(key)
    if (distance >= this.#bound || this.#best.some((one) => one.key === given)) return
    const better = [...this.#best, { key: given, distance }].sort((a, b) => a.distance - b.distance)
    this.#best = better.slice(0, MOST_SHOWN)
    if (this.#best.length === MOST_SHOWN) this.#bound = this.#best.at(-1)?.distance ?? this.#bound
  }

  /** How many letters have to be changed; at least the bound where that is clear without counting. */
  #to(key: string): number {
    if (this.#leastTo(key) >= this.#bound) return this.#bound
    const [a, b] = differing(this.#wanted, key)
    return a.length > MOST_LETTERS || b.length > MOST_LETTERS ? this.#bound : editDistance(a, b)
  }

  /** Letters that only one of the two has must be changed, whatever their order: quick to count, over a million keys. */
  #leastTo(key: string): number {
    const longer = Math.max(key.length, this.#wanted.length)
    if (longer - Math.min(key.length, this.#wanted.length) >= this.#bound) return this.#bound
    this.#left.set(this.#letters)
    let shared = 0
    for (let at = 0; at < key.length; at++) {
      const bin = key.charCodeAt(at) % BINS
      const left = this.#left[bin] ?? 0
      if (left === 0) continue
      this.#left[bin] = left - 1
      shared++
    }
    return longer - shared
  }
}

function lettersOf(text: string): Uint16Array {
  const letters = new Uint16Array(BINS)
  for (let at = 0; at < text.length; at++) {
    const bin = text.charCodeAt(at) % BINS
    letters[bin] = (letters[bin] ?? 0) + 1
  }
  return letters
}

/** The two without what they share at the beginning and at the end, which does not change their distance. */
function differing(a: string, b: string): readonly [string, string] {
  let start = 0
  while (start < a.length && start < b.length && a[start] === b[start]) start++
  let end = 0
  const most = Math.min(a.length, b.length) - start
  while (end < most && a[a.length - 1 - end] === b[b.length - 1 - end]) end++
  return [a.slice(start, a.length - end), b.slice(start, b.length - end)]
}
