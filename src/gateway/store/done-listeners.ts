export type DoneListener = (ids: readonly string[]) => void

/** Those who want to hear of requests that are done. */
export class DoneListeners {
  readonly #listeners = new Set<DoneListener>()

  add(listener: DoneListener): () => void {
    // One that is added twice is two.
    const own: DoneListener = (ids) => listener(ids)
    this.#listeners.add(own)
    return () => {
      this.#listeners.delete(own)
    }
  }

  /** A listener that throws harms neither the others nor what was committed: that is an error nobody has caught. */
  tell(ids: readonly string[]): void {
    if (ids.length === 0) return
    for (const listener of this.#listeners) queueMicrotask(() => listener(ids))
  }
}
