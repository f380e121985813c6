/**
 * Every queued line has a `custom_id` of its own: the request's number and how often it has been queued before.
 * A line that is queued again gets a new one, so a late answer can never be taken for the wrong attempt.
 */
export const customId = (request: number, queued: number): string => `r${request}-${queued}`

const FORM = /^r([1-9]\d{0,14})-(0|[1-9]\d{0,5})$/

export interface LineId {
  readonly request: number
  readonly queued: number
}

/** The parts of a `custom_id` made by `customId`, or undefined for any other text. */
export function parseCustomId(id: string): LineId | undefined {
  const match = FORM.exec(id)
  return match ? { request: Number(match[1]), queued: Number(match[2]) } : undefined
}
