import { z } from 'zod'

/** The text of an error for which the scenario gives none. */
export const MESSAGE = 'This error was asked for by the scenario.'

export const count = z.int().min(1)
export const milliseconds = z.number().min(0)
export const shareOf = z.number().min(0).max(1)

const occurrence = {
  /** Only the thing with this number, or these. */
  nth: z.union([count, z.array(count).min(1)]).optional(),
  /** Only the first so many. */
  first: count.optional(),
  /** Every so manieth: 3 means the 3rd, the 6th, ... */
  every: count.optional(),
  /** This share of them, drawn by the scenario's seed: 0.1 is about one in ten. */
  share: shareOf.optional(),
  /** Only from so many milliseconds after the start of the emulator. */
  afterMs: milliseconds.optional(),
  /** Only until so many milliseconds after the start of the emulator. */
  untilMs: milliseconds.optional(),
}

/**
 * Which of the things that a fault matches it happens to. They are counted from 1, by each fault for itself, as far
 * as they fall in the time from `afterMs` to `untilMs`. All conditions that are given must hold; without any it is
 * every one.
 */
export const whenSchema = z.strictObject(occurrence)

/** As `whenSchema`, for replies; a `share` is drawn by the request's body here: the same one whenever it is asked. */
export const replyWhenSchema = z.strictObject({
  ...occurrence,
  /** Only the first so many times that the same body is asked, by any way. */
  tries: count.optional(),
})

export type When = z.output<typeof replyWhenSchema>

/** What all faults share. */
export const COMMON = {
  /** For people. */
  note: z.string().optional(),
  when: whenSchema.optional(),
}
