/** A stretch of time in a lane, from 0. */
export interface Laned<Item> {
  readonly item: Item
  readonly lane: number
}

interface Stretch {
  readonly from: number
  readonly to: number
}

/**
 * Puts each stretch into the lowest lane that is free when it begins: there are as many lanes as stretches at one time.
 * Takes time in proportion to stretches and lanes.
 */
export function inLanes<Item extends Stretch>(items: readonly Item[]): readonly Laned<Item>[] {
  const ends: number[] = []
  return items
    .toSorted((a, b) => a.from - b.from || a.to - b.to)
    .map((item) => {
      const free = ends.findIndex((end) => end <= item.from)
      const lane = free < 0 ? ends.length : free
      ends[lane] = item.to
      return { item, lane }
    })
}
