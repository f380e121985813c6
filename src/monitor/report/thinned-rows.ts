/** Figures at one moment: all rows of one table have the same columns. */
export interface Row {
  /** Milliseconds since 1970. */
  readonly at: number
  readonly values: readonly number[]
}

/** Points of a series that a page is given at most, whatever it is made from. */
export const MOST_POINTS = 2_000

/**
 * Collects rows in the order of their times, and keeps at most `most` of them (default 2,000): the first and the last,
 * the smallest and the largest value of every column, and of what lies between a share that is even in time. Memory:
 * twice that many rows.
 */
export class ThinnedRows {
  readonly #most: number
  #rows: Row[] = []

  constructor(most: number = MOST_POINTS) {
    this.#most = most
  }

  /** A time that lies before the last one is taken for that one: clocks are set back. A row that changes nothing is left out. */
  add(at: number, values: readonly number[]): void {
    const last = this.#rows.at(-1)
    if (last && isSame(last.values, values)) return
    const row = { at: Math.max(at, last?.at ?? at), values }
    if (last?.at === row.at && this.#rows.length > 1) this.#rows[this.#rows.length - 1] = row
    else this.#rows.push(row)
    if (this.#rows.length > 2 * this.#most) this.#rows = thin(this.#rows, this.#most)
  }

  /** What was kept, with the last figures once more at `end`, if that is later. */
  upTo(end: number): readonly Row[] {
    const last = this.#rows.at(-1)
    if (!last || last.at >= end) return thin(this.#rows, this.#most)
    return [...thin(this.#rows, this.#most - 1), { at: end, values: last.values }]
  }
}

const isSame = (a: readonly number[], b: readonly number[]): boolean =>
  a.every((value, column) => value === b[column])

/** At most `most` of the rows; see `ThinnedRows`. `most` is at least 2 + 2 for each column. */
export function thin(rows: readonly Row[], most: number): Row[] {
  if (rows.length <= most) return [...rows]
  for (let buckets = most; ; buckets = Math.floor(buckets / 2)) {
    const kept = thinTo(rows, Math.max(1, buckets))
    if (kept.length <= most || buckets <= 1) return kept
  }
}

function thinTo(rows: readonly Row[], buckets: number): Row[] {
  const start = rows[0]?.at ?? 0
  const width = ((rows.at(-1)?.at ?? start) - start) / buckets || 1
  const kept: Row[] = []
  for (let from = 0; from < rows.length; ) {
    const bucket = bucketOf(rows, from, start, width)
    let to = from + 1
    while (to < rows.length && bucketOf(rows, to, start, width) === bucket) to++
    for (const index of tellingRows(rows, from, to)) kept.push(...rows.slice(index, index + 1))
    from = to
  }
  return kept
}

/** The last row of all belongs to the bucket before the end. */
function bucketOf(rows: readonly Row[], index: number, start: number, width: number): number {
  const last = rows.at(-1)?.at ?? start
  return Math.floor((Math.min(rows[index]?.at ?? start, last - width / 2) - start) / width)
}

/** The first and the last of some rows, and those with the least and the most of each column, in order. */
function tellingRows(rows: readonly Row[], from: number, to: number): number[] {
  const found = new Set([from, to - 1])
  for (const column of rows[from]?.values.keys() ?? []) {
    let [least, most] = [from, from]
    for (let index = from; index < to; index++) {
      const value = rows[index]?.values[column] ?? 0
      if (value < (rows[least]?.values[column] ?? 0)) least = index
      if (value > (rows[most]?.values[column] ?? 0)) most = index
    }
    found.add(least).add(most)
  }
  return [...found].sort((a, b) => a - b)
}
