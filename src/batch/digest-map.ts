/** The first bits of a hash: so many that no two texts of a task have the same. */
export type Digest = readonly [number, number, number]

const WORDS = 3
const LEAST_SLOTS = 1024

/** From the hexadecimal text of a hash; what is missing of 24 digits counts as 0. */
export function digestOf(hex: string): Digest {
  const word = (at: number) => Number.parseInt(hex.slice(at, at + 8) || '0', 16)
  return [word(0), word(8), word(16)]
}

/** Numbers by digests, in 32 to 64 bytes each: a `Map` of as many texts takes several times that. */
export class DigestMap {
  #slots = LEAST_SLOTS
  #keys = new Uint32Array(this.#slots * WORDS)
  /** Each number plus one; 0 is a free slot. */
  #values = new Uint32Array(this.#slots)
  #used = 0

  /** 0 for a digest that was never set. */
  get(digest: Digest): number {
    return Math.max(0, (this.#values[this.#slotOf(digest)] ?? 0) - 1)
  }

  /** Whether a digest was ever set, to 0 as well. */
  has(digest: Digest): boolean {
    return this.#values[this.#slotOf(digest)] !== 0
  }

  /** `value`: 0 to 2^32 - 2. What is set to 0 keeps its slot. */
  set(digest: Digest, value: number): void {
    // Half full at most: beyond that the search for a free slot becomes long.
    if (this.#used * 2 >= this.#slots) this.#grow()
    const slot = this.#slotOf(digest)
    if (this.#values[slot] === 0) {
      this.#keys.set(digest, slot * WORDS)
      this.#used++
    }
    this.#values[slot] = value + 1
  }

  /** The slot of a digest, or the free one where it belongs. */
  #slotOf([first, second, third]: Digest): number {
    let slot = first % this.#slots
    while (this.#values[slot] !== 0) {
      const at = slot * WORDS
      const isSame = this.#keys[at] === first && this.#keys[at + 1] === second && this.#keys[at + 2] === third
      if (isSame) break
      slot = (slot + 1) % this.#slots
    }
    return slot
  }

  #grow(): void {
    const [keys, values] = [this.#keys, this.#values]
    this.#slots *= 2
    this.#keys = new Uint32Array(this.#slots * WORDS)
    this.#values = new Uint32Array(this.#slots)
    for (const [slot, value] of values.entries()) {
      if (value === 0) continue
      const [first = 0, second = 0, third = 0] = keys.subarray(slot * WORDS, slot * WORDS + WORDS)
      const free = this.#slotOf([first, second, third])
      this.#keys.set([first, second, third], free * WORDS)
      this.#values[free] = value
    }
  }
}
