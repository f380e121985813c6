import { type CallEnd, isOutage, isSoundAnswer, isTrouble } from '../batch/direct-answer.ts'

/**
 * What direct calls together know about trouble at the server or on the way. While nothing gets through at all, one
 * call at a time finds out whether it does again: each of them may be paid for.
 */
export class Outage {
  /** Requests in trouble since the last good answer. */
  readonly #failing = new Set<number>()
  /** Resolves when the call before has been made. */
  #turn: Promise<void> = Promise.resolve()

  /** Takes note of how a call ended. Returns how many different requests are in trouble. */
  note(request: number, end: CallEnd): number {
    if (isSoundAnswer(end)) this.#failing.clear()
    else if (isTrouble(end)) this.#failing.add(request)
    return this.#failing.size
  }

  /** Makes a call that failed before again; in an outage after all others that wait for the same. */
  async again<Result>(call: () => Promise<Result>): Promise<Result> {
    if (!this.#isOn) return call()
    const before = this.#turn
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#turn = promise
    try {
      await before
      if (this.#isOn) return await call()
    } finally {
      resolve()
    }
    return call()
  }

  get #isOn(): boolean {
    return isOutage(this.#failing.size)
  }
}
