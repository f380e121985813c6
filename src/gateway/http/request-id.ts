import { randomUUID } from 'node:crypto'

const TIME_LENGTH = 9

/** A new id of a request: its time, so that ids are in the order of their making, and 80 random bits. */
export function newRequestId(nowMs: number): string {
  const uuid = randomUUID()
  return `req_${Math.floor(nowMs).toString(36).padStart(TIME_LENGTH, '0')}${uuid.slice(0, 8)}${uuid.slice(24)}`
}

/** How long ago an id was made, in milliseconds; 0 for one that does not say. */
export function ageOf(id: string, nowMs: number): number {
  const madeAt = Number.parseInt(id.slice(4, 4 + TIME_LENGTH), 36)
  return Number.isNaN(madeAt) ? 0 : Math.max(0, nowMs - madeAt)
}
