import { setTimeout as sleep } from 'node:timers/promises'
import pLimit, { type LimitFunction } from 'p-limit'

export interface PaceOptions {
  /** Between the beginnings of two calls, in milliseconds. */
  readonly gapMs: number
  /** Calls that are not answered, at one time: on a machine that is busy all goes slower, and nothing piles up. */
  readonly mostAtOnce: number
}

/** When calls begin, and who waits for so many of them to have begun. */
export class Pace {
  readonly #gapMs: number
  readonly #limit: LimitFunction
  readonly #reached = new Map<number, PromiseWithResolvers<void>>()
  #begun = 0
  #turn: Promise<void> = Promise.resolve()

  constructor({ gapMs, mostAtOnce }: PaceOptions) {
    this.#gapMs = gapMs
    this.#limit = pLimit(mostAtOnce)
  }

  get begun(): number {
    return this.#begun
  }

  /** Makes a call when it is its turn. */
  run(call: () => Promise<void>): Promise<void> {
    return this.#limit(async () => {
      this.#turn = this.#turn.then(() => sleep(this.#gapMs))
      await this.#turn
      this.#begun++
      this.#reached.get(this.#begun)?.resolve()
      await call()
    })
  }

  /** Resolves when so many calls have begun. */
  async reached(calls: number): Promise<void> {
    if (calls <= this.#begun) return
    const there = this.#reached.get(calls) ?? Promise.withResolvers<void>()
    this.#reached.set(calls, there)
    await there.promise
  }
}
