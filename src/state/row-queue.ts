/** A row without its number and times. */
export type LogFields = Readonly<Record<string, number | string>>

/** A row that waits to be written. */
export interface WaitingRow {
  readonly fields: LogFields
  readonly isSample: boolean
  readonly atMs: number
  /** Milliseconds that the run had taken by then. */
  readonly runMs: number
}

/** Rows that are kept while nothing can be written: some megabytes. */
export const MOST_ROWS = 10_000

/** What is said by a row alone, and not of everything after it. */
const isOfRow = (name: string): boolean => name.startsWith('Event/') || name.startsWith('Result/')

/**
 * Rows in their order, and not too many. When there is no room, the oldest sample is drawn together with the row after
 * it; without one the oldest event is lost. Its figures are not: the next row takes them, as rows say only what has
 * changed.
 */
export class RowQueue {
  readonly #rows: WaitingRow[] = []
  readonly #most: number
  #lost = 0

  constructor(most = MOST_ROWS) {
    this.#most = most
  }

  get size(): number {
    return this.#rows.length
  }

  add(row: WaitingRow): void {
    this.#rows.push(row)
    if (this.#rows.length > this.#most) this.#makeRoom()
  }

  /** Takes rows from the front: as many as come to no more than so many bytes as text, but one at least. */
  take(
    mostBytes: number,
    textOf: (row: WaitingRow, index: number) => string,
  ): { readonly rows: readonly WaitingRow[]; readonly text: string } {
    const texts: string[] = []
    let bytes = 0
    for (const [index, row] of this.#rows.entries()) {
      const text = textOf(row, index)
      bytes += Buffer.byteLength(text)
      if (bytes > mostBytes && index > 0) break
      texts.push(text)
    }
    return { rows: this.#rows.splice(0, texts.length), text: texts.join('') }
  }

  /** Rows that were taken and could not be written. */
  putBack(rows: readonly WaitingRow[]): void {
    this.#rows.unshift(...rows)
    while (this.#rows.length > this.#most) this.#makeRoom()
  }

  /** How many events were lost since this was asked last. */
  forgetLost(): number {
    const lost = this.#lost
    this.#lost = 0
    return lost
  }

  #makeRoom(): void {
    // The first row of a run is what its history begins with, and the last one has nobody to take its figures.
    const sample = this.#rows.findIndex(
      (row, index) => index > 0 && index < this.#rows.length - 1 && row.isSample,
    )
    const at = sample < 0 ? 1 : sample
    const [gone] = this.#rows.splice(at, 1)
    const next = this.#rows[at]
    if (!gone || !next) return
    if (sample < 0) this.#lost++
    const figures = Object.entries(gone.fields).filter(([name]) => !isOfRow(name))
    this.#rows[at] = { ...next, fields: { ...Object.fromEntries(figures), ...next.fields } }
  }
}
