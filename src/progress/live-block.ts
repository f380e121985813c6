import type { Clock } from '../util/clock.ts'
import { displayWidth } from '../util/display-width.ts'
import type { ScreenSize } from './live-render.ts'

export interface LiveBlockOptions {
  readonly write: (text: string) => void
  readonly size: () => ScreenSize
  readonly clock: Clock
  /** Makes the rows of the block, anew for each drawing: each narrower than the screen, and fewer than it has. */
  readonly render: (size: ScreenSize) => readonly string[]
}

/** Drawn at most this often, so that a fast run does not spend its time on the screen. */
const REDRAW_MS = 250
/** Drawn anew after this time even if nothing happened, so that the clock in it moves. */
const STALE_MS = 1000

const BACKGROUND = { background: true } as const

const ERASE_ROW = '\r\u001b[2K'
const ERASE_BELOW = '\r\u001b[J'
const ERASE_REST_OF_ROW = '\u001b[K'
const DOWN = '\u001b[B'
const up = (rows: number): string => (rows > 0 ? `\u001b[${rows}A` : '')

/**
 * A few rows at the bottom of what is written to a terminal, redrawn in place.
 *
 * The cursor rests in an empty row above them: so what others write, an echoed key, or rows that a narrower screen
 * breaks in two can only push the block down or spoil it until it is drawn next, and never leave parts of it behind.
 * It is never hidden, for a killed process could not bring it back. Lines that are to stay above are written together
 * with the block, so that it is always whole: at once, or within a quarter of a second.
 *
 * `idle` -- first `refresh` --> `live` <-- `hide`, `show` --> `hidden`; -- `close` --> `closed`.
 */
export class LiveBlock {
  readonly #options: LiveBlockOptions
  readonly #stop = new AbortController()
  #drawing: Promise<void> | undefined
  #drawnMs = Number.NEGATIVE_INFINITY
  /** Rows that may not be empty, from the cursor's on. */
  #remains = 0
  #shown: readonly string[] = []
  /** Lines that the next drawing puts above the block. */
  #lines = ''
  #stale = false
  #hidden = false
  /** The cursor is not at the start of a row: somebody wrote a text without a line break. */
  #midLine = false
  #failure: unknown

  constructor(options: LiveBlockOptions) {
    this.#options = options
  }

  /** Writes whole lines that stay. */
  writeAbove(lines: string): void {
    this.#lines += lines
    this.#stale = true
    // Without a block there is nothing to wait for.
    if (this.#remains === 0) this.#options.write(this.#taken())
    else this.refresh()
  }

  /** Makes room for a text that somebody else is about to write to this terminal. */
  giveWay(text: string): void {
    if (text === '') return
    const lines = this.#taken()
    const room = this.#midLine ? '' : this.#clearing(text)
    if (lines || room) this.#options.write(lines + room)
    this.#midLine = !text.endsWith('\n')
    this.#stale = true
  }

  /** Asks for a drawing: at once, or as soon as the last one is old enough. Throws when an earlier one failed. */
  refresh(): void {
    if (this.#stop.signal.aborted) return
    if (this.#failure !== undefined) throw this.#failure
    this.#stale = true
    if (this.#dueInMs() <= 0) this.#draw()
    this.#drawing ??= this.#keepDrawing()
  }

  /** The screen has another size, or was used by others: nothing is certain but that the cursor is above the block. */
  redraw(): void {
    if (this.#drawing === undefined || this.#hidden || this.#stop.signal.aborted) return
    this.#erase(true)
    this.refresh()
  }

  /** Takes the block away until `show`; what is written above stays where the cursor is. */
  hide(): void {
    this.#erase(this.#remains > 0)
    this.#hidden = true
  }

  /** Whoever had the screen has left the cursor at the start of a row. */
  show(): void {
    this.#hidden = false
    this.#midLine = false
    this.#drawnMs = Number.NEGATIVE_INFINITY
    this.#stale = true
  }

  /** Takes the block away for good. */
  async close(): Promise<void> {
    this.#stop.abort()
    this.#erase(this.#remains > 0)
    await this.#drawing
  }

  /** A clock that was set back must not stop the drawing. */
  #dueInMs(): number {
    const ageMs = this.#options.clock.now() - this.#drawnMs
    return ageMs < 0 ? 0 : (this.#stale ? REDRAW_MS : STALE_MS) - ageMs
  }

  #erase(isNeeded: boolean): void {
    const erasing = isNeeded && !this.#midLine ? ERASE_BELOW : ''
    this.#remains = 0
    this.#shown = []
    const text = erasing + this.#taken()
    if (text) this.#options.write(text)
  }

  /** The lines that wait, with what makes room for them. */
  #taken(): string {
    const lines = this.#lines
    if (lines === '') return ''
    const start = this.#midLine ? '\n' : this.#clearing(lines)
    this.#lines = ''
    this.#midLine = false
    return start + lines
  }

  /** Empties the rows that a text will take; all of the block where it is not known to fit in whole rows of it. */
  #clearing(text: string): string {
    if (this.#remains === 0) return ''
    const rows = text.endsWith('\n') ? rowsOf(text, this.#options.size().columns) : Number.POSITIVE_INFINITY
    this.#shown = []
    if (rows >= this.#remains) {
      this.#remains = 0
      return ERASE_BELOW
    }
    this.#remains -= rows
    return `${ERASE_ROW}${(DOWN + ERASE_ROW).repeat(rows - 1)}${up(rows - 1)}`
  }

  #draw(): void {
    this.#drawnMs = this.#options.clock.now()
    if (this.#hidden || (this.#midLine && this.#lines === '')) return
    const rows = this.#options.render(this.#options.size())
    this.#stale = false
    const above = this.#taken()
    if (isSame(rows, this.#shown)) return
    const drawn = rows.map((row) => `\r\n${row}${ERASE_REST_OF_ROW}`)
    this.#options.write(`${above}${ERASE_ROW}${drawn.join('')}\u001b[J${up(rows.length)}\r`)
    this.#shown = rows
    this.#remains = rows.length + 1
  }

  async #keepDrawing(): Promise<void> {
    const { signal } = this.#stop
    const { clock } = this.#options
    try {
      while (!signal.aborted) {
        // Something may ask for a drawing meanwhile: no longer than it may have to wait then.
        await clock.sleep(Math.min(REDRAW_MS, Math.max(1, this.#dueInMs())), signal, BACKGROUND)
        if (!signal.aborted && this.#dueInMs() <= 0) this.#draw()
      }
    } catch (error) {
      // Thrown from here it would reach nobody; the next `refresh` hands it to its caller.
      this.#failure = error
    }
  }
}

const isSame = (rows: readonly string[], others: readonly string[]): boolean =>
  rows.length > 0 && rows.length === others.length && rows.every((row, at) => row === others[at])

const PLAIN = /^[\x20-\x7e]*$/
// biome-ignore lint/suspicious/noControlCharactersInRegex: it is about them
const ESCAPES = /\u001b\[[0-9;]*[A-Za-z]/g
const TAB_WIDTH = 8

/** How many rows of the screen whole lines take, at most. */
function rowsOf(lines: string, columns: number): number {
  const texts = lines.slice(0, -1).replace(ESCAPES, '').replaceAll('\t', ' '.repeat(TAB_WIDTH)).split('\n')
  return texts.reduce((rows, text) => {
    // A wide character has no room in the last column, and leaves it empty.
    const used = PLAIN.test(text) ? columns : Math.max(1, columns - 1)
    return rows + Math.max(1, Math.ceil(displayWidth(text) / used))
  }, 0)
}
