/** How requests are sent, from the slowest way to the dearest: batch and flex cost half, direct calls twice that. */
export type SendMode = 'batch' | 'flex' | 'direct'
export type CallMode = Exclude<SendMode, 'batch'>

/** A batch at the server. */
export interface RunningBatch {
  readonly id: number
  /** When it was created, in milliseconds since 1970. */
  readonly sinceMs: number
  /** Its requests, as they were sent: a server that still validates says 0. */
  readonly total: number
  /** Of these with an answer, failed ones included. */
  readonly completed: number
}

/** What is known of a task that has to be done by a certain time. Times are in milliseconds. */
export interface DeadlineFacts {
  readonly nowMs: number
  /** Since 1970, as `nowMs`. */
  readonly deadlineMs: number
  /** How what waits is sent at present. */
  readonly current: SendMode
  /** Batches of this task that ended: from create to end. Not those that failed in validation or were cancelled. */
  readonly batchDurationsMs: readonly number[]
  /** Batches at the server, without those that are being cancelled. */
  readonly running: readonly RunningBatch[]
  /**
   * Requests not sent yet, with those still to be generated as far as known, and those without an answer in batches
   * that are being cancelled. Calls on the wire are not among them.
   */
  readonly waiting: number
  /** So many batches have to go one after another until what waits is done: limits let no more go at one time. Default: 1. */
  readonly batchRounds?: number
  /** What a direct call, and a flex call, takes of a place on the wire, refused tries included; undefined without any. */
  readonly callMs: number | undefined
  readonly flexCallMs: number | undefined
  /** Calls that are on the wire at one time, as the server allows it at present: at least 1. */
  readonly concurrency: number
  /** False when flex is known not to work for the model, or is refused for good. */
  readonly flexWorks: boolean
}

/** Whether something will be done in time, as far as can be told. */
export type Outlook = 'in time' | 'late' | 'unknown'

/** Of the task's own batches this share was done within the time that is expected of the next one. */
const HISTORY_QUANTILE = 0.9
/** A batch waits in a queue before it is worked on: only from this share of answers on its pace tells when it ends. */
const TELLING_SHARE = 0.1
/** The last answers of a batch come slower than the first ones, and then its files are put together. */
const PACE_MARGIN = 1.25
/** From the last answer of the server to all verdicts: files are downloaded, single requests asked once more. */
export const SETTLE_MS = 60_000
/** Own calls went at this pace; a single pushback of the server halves it for a while. */
const CALL_SAFETY = 1.5
/** Without any call so far: a long answer of a reasoning model. Flex calls queue, and may be refused at first. */
const ASSUMED_CALL_MS = { direct: 20_000, flex: 30_000 } as const

/** How slow flex is at the moment shows with its first answer, and no sooner: a call on the wire is not made again. */
const FIRST_FLEX_MS = 5 * 60_000

/** Time that is left; zero or less when the deadline has passed. */
export const timeLeftMs = ({ deadlineMs, nowMs }: DeadlineFacts): number => deadlineMs - nowMs

/** The time in which most batches of the task were done; undefined before the first. */
export function usualBatchMs({ batchDurationsMs }: DeadlineFacts): number | undefined {
  const sorted = batchDurationsMs.toSorted((a, b) => a - b)
  return sorted[Math.ceil(sorted.length * HISTORY_QUANTILE) - 1]
}

/**
 * A batch is in time if the history or its own pace says so, and late if one of them says that and none denies it.
 * The history says nothing of a batch that takes longer than it knows.
 */
export function outlookOfBatch(facts: DeadlineFacts, batch: RunningBatch): Outlook {
  const { nowMs } = facts
  const { sinceMs, total, completed } = batch
  const ageMs = Math.max(0, nowMs - sinceMs)
  const left = total - completed
  if (left <= 0) return 'in time'
  const usualMs = usualBatchMs(facts) ?? 0
  const byHistory = ageMs < usualMs ? outlookOf(facts, usualMs - ageMs) : 'unknown'
  const tells = completed > 0 && completed >= total * TELLING_SHARE
  const byPace = tells ? outlookOf(facts, (ageMs / completed) * left * PACE_MARGIN) : 'unknown'
  const said = [byHistory, byPace]
  if (said.includes('in time')) return 'in time'
  return said.includes('late') ? 'late' : 'unknown'
}

/** What waits, if all of it is sent in this way. */
export function outlookOfWaiting(facts: DeadlineFacts, mode: SendMode): Outlook {
  if (facts.waiting === 0) return 'in time'
  if (mode === 'batch') {
    const usualMs = usualBatchMs(facts)
    return usualMs === undefined ? 'unknown' : outlookOf(facts, usualMs * (facts.batchRounds ?? 1))
  }
  if (knownCallMs(facts, mode) === undefined) return 'unknown'
  return neededMs(facts, mode, facts.waiting) <= timeLeftMs(facts) ? 'in time' : 'late'
}

const outlookOf = (facts: DeadlineFacts, endsInMs: number): Outlook =>
  endsInMs + SETTLE_MS <= timeLeftMs(facts) ? 'in time' : 'late'

const knownCallMs = (facts: DeadlineFacts, mode: CallMode): number | undefined =>
  mode === 'flex' ? facts.flexCallMs : facts.callMs

/** Time that so many calls take when nothing gets in their way. */
export const shortestMs = (facts: DeadlineFacts, mode: CallMode, calls: number): number =>
  roundsOf(facts, calls) * (knownCallMs(facts, mode) ?? ASSUMED_CALL_MS[mode])

/** Time to set aside for so many calls and what follows them. What is assumed is long enough as it is. */
export function neededMs(facts: DeadlineFacts, mode: CallMode, calls: number): number {
  const known = knownCallMs(facts, mode)
  const callMs = known === undefined ? ASSUMED_CALL_MS[mode] : known * CALL_SAFETY
  const firstMs = mode === 'flex' && known === undefined ? FIRST_FLEX_MS : 0
  return firstMs + roundsOf(facts, calls) * callMs + SETTLE_MS
}

const roundsOf = ({ concurrency }: DeadlineFacts, calls: number): number =>
  Math.ceil(calls / Math.max(1, concurrency))
