import type { StoredAnswer } from '../../domain/request.ts'
import type { Alarm, Sleeper } from './alarm.ts'

/** Why a waiter is woken. */
export type Wake =
  | { readonly kind: 'answer'; readonly answer: StoredAnswer }
  /** Its time is up. */
  | { readonly kind: 'time' }
  /** Its caller went away. */
  | { readonly kind: 'gone' }
  /** The gateway stops. */
  | { readonly kind: 'closing' }

/** What ends the wait for good. */
type End = Exclude<Wake, { readonly kind: 'time' }>

const TIME_UP: Wake = { kind: 'time' }

/** One call that waits for the answer of a request. */
export class Waiter implements Sleeper {
  at = 0
  place = -1
  readonly id: string
  readonly #alarm: Alarm
  #end: End | undefined
  #wake: ((wake: Wake) => void) | undefined

  constructor(id: string, alarm: Alarm) {
    this.id = id
    this.#alarm = alarm
  }

  get isOver(): boolean {
    return this.#end !== undefined
  }

  /** Resolves at what ends the wait, or at the time. One at a time. */
  next(untilMs: number): Promise<Wake> {
    if (this.#end) return Promise.resolve(this.#end)
    return new Promise((resolve) => {
      this.#wake = resolve
      this.#alarm.set(this, untilMs)
    })
  }

  ring(): void {
    this.#resolve(TIME_UP)
  }

  /** The first end counts. */
  end(end: End): void {
    if (this.#end) return
    this.#end = end
    this.#alarm.clear(this)
    this.#resolve(end)
  }

  #resolve(wake: Wake): void {
    const resolve = this.#wake
    this.#wake = undefined
    resolve?.(wake)
  }
}
