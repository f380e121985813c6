/** Tells everybody who waits that something has changed. Whoever wakes looks for himself what it was. */
export class Notifier {
  #next = Promise.withResolvers<void>()

  notify(): void {
    const { resolve } = this.#next
    this.#next = Promise.withResolvers<void>()
    resolve()
  }

  /** Resolves at the next `notify`. Take it before looking at what may change, or a change is missed. */
  wait(): Promise<void> {
    return this.#next.promise
  }
}
