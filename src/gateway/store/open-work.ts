import { closed } from './store-error.ts'

/** What is under way in a database: closing it waits for that, and lets nothing new begin. */
export class OpenWork {
  readonly #place: string
  readonly #running = new Set<Promise<unknown>>()
  #closing: Promise<void> | undefined

  /** `place`: what the database is called in errors. */
  constructor(place: string) {
    this.#place = place
  }

  /** Throws StoreError `store_closed` once `close` was called. */
  async run<Result>(work: () => Promise<Result>): Promise<Result> {
    if (this.#closing !== undefined) throw closed(this.#place)
    const running = work()
    this.#running.add(running)
    try {
      return await running
    } finally {
      this.#running.delete(running)
    }
  }

  /** May be called again; `close` is, once. */
  close(close: () => Promise<void>): Promise<void> {
    this.#closing ??= Promise.allSettled(this.#running).then(close)
    return this.#closing
  }
}
