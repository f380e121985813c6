/**
 * Keeps some of a stream whose length nobody knows, evenly spread over it and in its order. The stream is cut into
 * blocks, of each of which one item is kept, picked at random: every so manieth item would hit a stream that goes
 * round in kinds always at the same kind. When there are too many blocks, two and two of them become one. Picks the
 * same items of the same stream each time.
 */
export class Spread<Item> {
  readonly #count: number
  readonly #random = randomNumbers()
  #held: Item[] = []
  #block = 1
  #seen = 0

  /** `count`: how many to keep, a whole number of 0 or more. Up to twice as many are held. */
  constructor(count: number) {
    this.#count = count
  }

  add(item: Item): void {
    if (this.#count === 0) return
    const place = this.#seen++ % this.#block
    if (place === 0) this.#held.push(item)
    else if (this.#random() * (place + 1) < 1) this.#held[this.#held.length - 1] = item
    if (place === this.#block - 1 && this.#held.length >= 2 * this.#count) this.#join()
  }

  /** What is kept of the items so far: `count` of them, or all when there were not more. */
  get items(): readonly Item[] {
    const { length } = this.#held
    if (length <= this.#count) return [...this.#held]
    const random = randomNumbers()
    const start = (part: number) => Math.floor((part * length) / this.#count)
    // One of each part, at random here too: what is held may go round in kinds as well.
    const chosen = new Set(
      Array.from({ length: this.#count }, (_, part) =>
        Math.floor(start(part) + random() * (start(part + 1) - start(part))),
      ),
    )
    return this.#held.filter((_, index) => chosen.has(index))
  }

  #join(): void {
    const ones = Array.from({ length: this.#count }, (_, pair) => 2 * pair + (this.#random() < 0.5 ? 0 : 1))
    const chosen = new Set(ones)
    this.#held = this.#held.filter((_, index) => chosen.has(index))
    this.#block *= 2
  }
}

/** Numbers of 0 or more and below 1, the same each time: a linear congruence modulo 2^32, of which the upper bits count. */
function randomNumbers(): () => number {
  let state = 0x2545f491
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
}
