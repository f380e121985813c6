/** Something that is to happen at a time; it is in one heap at most. */
export interface Timed {
  at: number
  /** Its place in the heap; -1: it is in none. */
  place: number
}

/** What is due next of very many, each of which may be taken out again in logarithmic time: one timer serves all. */
export class TimeHeap<Item extends Timed> {
  readonly #items: Item[] = []

  get size(): number {
    return this.#items.length
  }

  get nextAt(): number | undefined {
    return this.#items[0]?.at
  }

  add(item: Item): void {
    this.#items.push(item)
    this.#rise(item, this.#items.length - 1)
  }

  remove(item: Item): void {
    const { place } = item
    if (place < 0 || this.#items[place] !== item) return
    item.place = -1
    const last = this.#items.pop()
    if (last === undefined || last === item) return
    this.#rise(last, place)
    this.#sink(last, last.place)
  }

  /** Takes out the first of what is due; undefined when nothing is. */
  takeDue(nowMs: number): Item | undefined {
    const first = this.#items[0]
    if (!first || first.at > nowMs) return undefined
    this.remove(first)
    return first
  }

  #put(item: Item, place: number): void {
    this.#items[place] = item
    item.place = place
  }

  #rise(item: Item, from: number): void {
    let place = from
    while (place > 0) {
      const above = (place - 1) >> 1
      const parent = this.#items[above]
      if (!parent || parent.at <= item.at) break
      this.#put(parent, place)
      place = above
    }
    this.#put(item, place)
  }

  #sink(item: Item, from: number): void {
    let place = from
    for (;;) {
      const child = this.#earlierChild(place)
      if (!child || child.at >= item.at) break
      const below = child.place
      this.#put(child, place)
      place = below
    }
    this.#put(item, place)
  }

  #earlierChild(place: number): Item | undefined {
    const left = this.#items[2 * place + 1]
    const right = this.#items[2 * place + 2]
    return left && right && right.at < left.at ? right : left
  }
}
