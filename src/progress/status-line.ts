import type { Clock } from '../util/clock.ts'
import { cutText } from '../util/text.ts'

export interface StatusLineOptions {
  readonly write: (text: string) => void
  /** Width to cut the line to, in characters. */
  readonly columns: () => number
  readonly clock: Clock
  /** Makes the text of the line, anew for each drawing. */
  readonly render: () => string
}

/** Drawn at most this often, so that a fast run does not spend its time on the screen. */
const REDRAW_MS = 250
/** Drawn anew after this time even if nothing happened, so that the clock in it moves. */
const STALE_MS = 1000
const ERASE = '\r\u001b[2K'

/**
 * One line at the bottom of a terminal that is rewritten in place.
 *
 * `idle` -- first `refresh` --> `live` -- `close` --> `closed`; in `live` a loop draws what `refresh` had to put off.
 */
export class StatusLine {
  readonly #options: StatusLineOptions
  readonly #stop = new AbortController()
  #drawing: Promise<void> | undefined
  #drawnMs = Number.NEGATIVE_INFINITY
  #visible = false
  #stale = false
  #hidden = false
  #failure: unknown

  constructor(options: StatusLineOptions) {
    this.#options = options
  }

  /** Writes text that stays. The line gives way to it, and is back within a quarter of a second. */
  writeAbove(text: string): void {
    this.#options.write(this.#visible ? ERASE + text : text)
    this.#stale ||= this.#visible
    this.#visible = false
  }

  /** Asks for a drawing: at once, or as soon as the last one is old enough. Throws when an earlier one failed. */
  refresh(): void {
    if (this.#stop.signal.aborted) return
    if (this.#failure !== undefined) throw this.#failure
    this.#stale = true
    if (this.#age() >= REDRAW_MS) this.#draw()
    this.#drawing ??= this.#keepDrawing()
  }

  /** Takes the line away until `show`; what is written above stays where the cursor is. */
  hide(): void {
    this.writeAbove('')
    this.#hidden = true
  }

  show(): void {
    this.#hidden = false
    this.#stale = true
  }

  async close(): Promise<void> {
    this.#stop.abort()
    await this.#drawing
    if (this.#visible) this.writeAbove('')
  }

  #age(): number {
    return this.#options.clock.now() - this.#drawnMs
  }

  #draw(): void {
    if (this.#hidden) return
    this.#drawnMs = this.#options.clock.now()
    this.#stale = false
    this.#visible = true
    // A line as wide as the screen would wrap on some terminals, and could then not be erased.
    this.#options.write(ERASE + cutText(this.#options.render(), this.#options.columns() - 1))
  }

  async #keepDrawing(): Promise<void> {
    const { signal } = this.#stop
    try {
      while (!signal.aborted) {
        await this.#options.clock.sleep(REDRAW_MS, signal)
        if (!signal.aborted && this.#age() >= (this.#stale ? REDRAW_MS : STALE_MS)) this.#draw()
      }
    } catch (error) {
      // Thrown from here it would reach nobody; the next `refresh` hands it to its caller.
      this.#failure = error
    }
  }
}
