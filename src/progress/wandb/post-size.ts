import type { RemoteError } from '../../errors.ts'
import { MAX_LINE_BYTES, MAX_POST_BYTES, MAX_POST_LINES } from './decide.ts'
import type { DeliveryState } from './delivery-state.ts'
import type { HistoryPiece, PieceLimits } from './history-file.ts'
import type { News } from './messages.ts'

export interface PostSizeOptions {
  /** Lines in one post, at most. Default: `MAX_POST_LINES`. */
  readonly postLines?: number | undefined
  readonly tell: (news: News) => void
}

type Place = Pick<DeliveryState, 'ackedLines' | 'ackedBytes'>

/**
 * How much goes into one post: less after the server, or what is in front of it, found one too large, or refused one
 * for something in it. A post is halved until it is taken, or is one line, of which then only the step and time are
 * sent: no line may keep back all that come after it.
 */
export class PostSize {
  readonly #options: PostSizeOptions
  /** What the server is known to take. */
  #bytes = MAX_POST_BYTES
  /** While the refused line is looked for: how much to send, and the end of the post that it was in. */
  #search: { readonly bytes: number; readonly untilBytes: number } | undefined
  /** A line that was refused by itself, by its index. */
  #refused: { readonly line: number; readonly error: RemoteError } | undefined

  constructor(options: PostSizeOptions) {
    this.#options = options
  }

  get limits(): PieceLimits {
    return { lines: this.#options.postLines ?? MAX_POST_LINES, bytes: this.#search?.bytes ?? this.#bytes }
  }

  /** False for one line that W&B does not take as it is. */
  mayBeSent({ ackedLines, ackedBytes }: Place, { lines, endBytes }: HistoryPiece): boolean {
    return lines.length > 1 || (ackedLines !== this.#refused?.line && endBytes - ackedBytes <= MAX_LINE_BYTES)
  }

  /** Whether there is something smaller to try in place of a post that failed. */
  isSmallerAfter(error: RemoteError, { ackedLines, ackedBytes }: Place, piece: HistoryPiece): boolean {
    if (!isTooLarge(error) && !isBadContent(error)) return false
    if (piece.lines.length > 1) {
      this.#halve(error, ackedBytes, piece.endBytes)
      return true
    }
    const isNew = ackedLines !== this.#refused?.line
    // When not even its step and time are taken, it is not the line: later it is sent as it is.
    this.#refused = isNew ? { line: ackedLines, error } : undefined
    return isNew
  }

  /** To be called after each post that was taken, with the place that it began at. */
  taken({ ackedLines, ackedBytes }: Place, { endBytes }: HistoryPiece): void {
    if (this.#search && endBytes >= this.#search.untilBytes) this.#search = undefined
    if (this.#refused?.line !== ackedLines) return
    const { error } = this.#refused
    this.#refused = undefined
    this.#search = undefined
    const code = isTooLarge(error) ? error.code : 'wandb_line_refused'
    const what = isTooLarge(error) ? 'more than the server takes' : 'refused by the server'
    const message = `line ${ackedLines + 1} of the history, of ${endBytes - ackedBytes} bytes, is ${what} (${error.message}): of it only the step and the time are sent; all others are sent as they are`
    this.#options.tell({ news: 'trouble', code, message })
  }

  /** What was too large once always is; what was refused is small again as soon as the line is passed. */
  #halve(error: RemoteError, fromBytes: number, endBytes: number): void {
    const bytes = Math.floor((endBytes - fromBytes) / 2)
    if (isTooLarge(error)) this.#bytes = bytes
    if (this.#search || !isTooLarge(error))
      this.#search = { bytes, untilBytes: this.#search?.untilBytes ?? endBytes }
  }
}

const isTooLarge = ({ code }: RemoteError): boolean => code === 'wandb_too_large'
const isBadContent = ({ code, status }: RemoteError): boolean =>
  code === 'wandb_refused' && (status === 400 || status === 422)
