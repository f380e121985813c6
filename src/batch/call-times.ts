/** So many answers tell what the next call takes; older ones count less and less. */
const KEPT_ANSWERS = 200
/** A call without an answer says nothing before it has taken this long, in milliseconds. */
const TELLING_MS = 30_000

/** What calls of one kind take of a place on the wire, in milliseconds, tries that were refused and pauses included. */
export class CallTimes {
  readonly #since = new Map<object, number>()
  #answers = 0
  #spentMs = 0

  /** Something takes up a place for the sake of `call`. */
  begin(call: object, nowMs: number): void {
    if (!this.#since.has(call)) this.#since.set(call, nowMs)
  }

  /** It does so no longer, with an answer or without. */
  end(call: object, nowMs: number, answered: boolean): void {
    const since = this.#since.get(call)
    if (since === undefined) return
    this.#since.delete(call)
    // Time that was set back is no time saved.
    this.#spentMs += Math.max(0, nowMs - since)
    if (answered) this.#answers++
    if (this.#answers < KEPT_ANSWERS) return
    this.#answers /= 2
    this.#spentMs /= 2
  }

  /** What an answer takes; undefined while nothing is known. Calls that hang make it grow. */
  meanMs(nowMs: number): number | undefined {
    const open = [...this.#since.values()].reduce((sum, since) => sum + Math.max(0, nowMs - since), 0)
    const calls = this.#answers + this.#since.size
    const least = calls === 0 ? 0 : (this.#spentMs + open) / calls
    if (this.#answers > 0) return Math.max(this.#spentMs / this.#answers, least)
    return least >= TELLING_MS ? least : undefined
  }
}
