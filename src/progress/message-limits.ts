import { formatCount } from '../util/format.ts'

/** Lets so many messages of each kind through, and knows how many it did not. */
export class MessageLimits {
  readonly #kinds = new Map<string, { readonly count: number; readonly most: number }>()

  /** Whether one more message of a kind is to be shown, of which there are to be `most`. */
  admits(kind: string, most: number): boolean {
    const count = (this.#kinds.get(kind)?.count ?? 0) + 1
    this.#kinds.set(kind, { count, most })
    return count <= most
  }

  /** `12 retries, 1,200 failed requests`: what was not let through; empty when that is nothing. */
  get hiddenText(): string {
    return [...this.#kinds]
      .filter(([, { count, most }]) => count > most)
      .map(([kind, { count, most }]) => `${formatCount(count - most)} ${kind}`)
      .join(', ')
  }
}
