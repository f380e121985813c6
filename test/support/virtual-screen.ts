import { displayWidth } from '../../src/util/display-width.ts'

// biome-ignore lint/suspicious/noControlCharactersInRegex: it is about them
const TOKEN = /\u001b\[(\d*)([A-Za-z])|[\r\n]|[^\u001b\r\n]/gu

/**
 * A terminal as far as text and a live display need one: it wraps long lines, scrolls, and knows the sequences that move
 * the cursor up and down and erase. Anything else throws.
 */
export class VirtualScreen {
  readonly #columns: number
  readonly #rows: number
  /** All rows that there ever were; the screen is the last `rows` of them. */
  readonly #lines: string[][] = [[]]
  #row = 0
  #column = 0
  /** Rows that were written wider than the screen, and so wrapped. */
  wrapped = 0

  constructor(columns: number, rows: number) {
    this.#columns = columns
    this.#rows = rows
  }

  write(text: string): void {
    for (const [token, count, command] of text.matchAll(TOKEN)) {
      if (command !== undefined) this.#command(command, Number(count || (command === 'A' ? 1 : 0)))
      else if (token === '\r') this.#column = 0
      else if (token === '\n') this.#feed()
      else this.#put(token)
    }
  }

  /** What is above the screen and on it, down to the last row that is not empty. */
  get text(): readonly string[] {
    const lines = this.#lines.map((cells) => cells.join('').trimEnd())
    return lines.slice(0, lines.findLastIndex((line) => line !== '') + 1)
  }

  get cursor(): { readonly row: number; readonly column: number } {
    return { row: this.#row, column: this.#column }
  }

  #top(): number {
    return Math.max(0, this.#lines.length - this.#rows)
  }

  #put(character: string): void {
    const width = displayWidth(character)
    if (this.#column + width > this.#columns) {
      this.wrapped++
      this.#feed()
    }
    const cells = this.#lines[this.#row]
    if (!cells) throw new Error(`there is no row ${this.#row}`)
    while (cells.length < this.#column) cells.push(' ')
    cells[this.#column] = character
    for (let at = 1; at < width; at++) cells[this.#column + at] = ''
    this.#column += width
  }

  /** To the start of the next row, as terminals do it for programs. */
  #feed(): void {
    this.#column = 0
    this.#row++
    if (this.#row === this.#lines.length) this.#lines.push([])
  }

  #command(command: string, count: number): void {
    const cells = this.#lines[this.#row] ?? []
    if (command === 'A') this.#row = Math.max(this.#top(), this.#row - count)
    else if (command === 'B') this.#row = Math.min(this.#lines.length - 1, this.#row + Math.max(1, count))
    else if (command === 'K' && count === 2) cells.length = 0
    else if (command === 'K') cells.length = Math.min(cells.length, this.#column)
    else if (command === 'J') this.#eraseBelow(cells)
    else if (command !== 'm') throw new Error(`this screen does not know ${command}`)
  }

  #eraseBelow(cells: string[]): void {
    cells.length = Math.min(cells.length, this.#column)
    for (const below of this.#lines.slice(this.#row + 1)) below.length = 0
  }
}
