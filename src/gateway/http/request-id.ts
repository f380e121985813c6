import { randomBytes } from 'node:crypto'

const TIME_LENGTH = 9
const COUNT_LENGTH = 5
const MOST_COUNT = 36 ** COUNT_LENGTH

/** Ids of one process: no other has its mark, and it counts its own. */
export class RequestIds {
  readonly #mark = randomBytes(6).toString('hex')
  #count = 0

  /** A new id of a request or a call. It begins with its time, so that ids are in the order of their making. */
  next(nowMs: number): string {
    this.#count = (this.#count + 1) % MOST_COUNT
    const time = Math.floor(nowMs).toString(36).padStart(TIME_LENGTH, '0')
    return `req_${time}${this.#mark}${this.#count.toString(36).padStart(COUNT_LENGTH, '0')}`
  }
}

/** How long ago an id was made, in milliseconds; 0 for one that does not say. */
export function ageOf(id: string, nowMs: number): number {
  const madeAt = Number.parseInt(id.slice(4, 4 + TIME_LENGTH), 36)
  return Number.isNaN(madeAt) ? 0 : Math.max(0, nowMs - madeAt)
}
