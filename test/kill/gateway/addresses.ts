/** A `fetch` for a caller that knows several addresses: it goes to the next one when a connection fails. */
export class Addresses {
  readonly #urls: readonly string[]
  #at: number

  /** `first`: the one that is tried first. Without paths. */
  constructor(urls: readonly string[], first: number) {
    this.#urls = urls
    this.#at = first % urls.length
  }

  /** The host of the URL does not matter. What failed is for the caller to try again. */
  readonly fetch = async (input: string | URL | Request, init?: RequestInit): Promise<Response> => {
    const { pathname, search } = new URL(input instanceof Request ? input.url : input)
    const at = this.#at
    try {
      return await fetch(`${this.#urls[at]}${pathname}${search}`, init)
    } catch (error) {
      if (!init?.signal?.aborted) this.leave(at)
      throw error
    }
  }

  /** From now on the next one is asked, unless that was said already. */
  leave(at = this.#at): void {
    if (this.#at === at) this.#at = (at + 1) % this.#urls.length
  }
}
