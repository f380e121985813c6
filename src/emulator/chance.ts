/**
 * Repeatable chance: every draw is a function of two seeds and a place, so that equal questions get equal
 * answers without any generator state to carry along.
 */
export interface Chance {
  /** An index below `count` at this place. Three times in four it follows the stable seed, else the varied one. */
  pick(place: number, count: number): number
  /** A number in [0, 1) at this place, from the varied seed. */
  unit(place: number): number
}

const STABLE_SHARE = 0.75

/** A 32-bit avalanche of two numbers. */
export function mix(a: number, b: number): number {
  let h = Math.imul(a ^ 0x9e3779b9, 0x85ebca6b) ^ Math.imul(b ^ (b >>> 15), 0xc2b2ae35)
  h = Math.imul(h ^ (h >>> 16), 0x7feb352d)
  h = Math.imul(h ^ (h >>> 15), 0x846ca68b)
  return (h ^ (h >>> 16)) >>> 0
}

/** 53 bits that stand for a text; equal texts only, in practice. */
export function fingerprint(text: string): number {
  let low = 0x811c9dc5
  let high = 0x1b873593
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i)
    low = Math.imul(low ^ unit, 0x01000193)
    high = Math.imul(high ^ unit, 0x5bd1e995) ^ (high >>> 13)
  }
  return mix(high, low) * 0x20_0000 + (mix(low, high) >>> 11)
}

/** A 32-bit seed of a text. */
export const seedOf = (text: string): number => (fingerprint(text) % 0x1_0000_0000) >>> 0

/** `stable` is what the answer should mostly depend on; `varied` makes repeats differ now and then. */
export function createChance(stable: number, varied: number): Chance {
  const unit = (seed: number, place: number): number => mix(seed, place) / 0x1_0000_0000
  return {
    pick: (place, count) => {
      const seed = unit(varied, place ^ 0x51ab) < STABLE_SHARE ? stable : varied
      return Math.floor(unit(seed, place) * count)
    },
    unit: (place) => unit(varied, place),
  }
}
