import { addUsage, type TokenUsage, zeroUsage } from '../tokens/usage.ts'
import type { DirectCalls, FileResults, QueueFile, QueueFileBase } from './queue-file.ts'
import type { CallState, RequestTable } from './request-table.ts'
import type { Step, StepOf } from './steps.ts'
import type { Counters, Spending, Tally, TaskState } from './task-state.ts'

/** A ledger whose steps contradict each other: it was written by something else, or by a bug. */
export class ImpossibleStep extends Error {
  override readonly name = 'ImpossibleStep'
}

export const impossible = (step: Step, why: string): never => {
  throw new ImpossibleStep(`step "${step.kind}": ${why}`)
}

export function fileOf(state: TaskState, step: Step, id: number): QueueFile {
  return state.files.get(id) ?? impossible(step, `there is no queue file ${id}`)
}

/** What a queue file keeps when its phase changes. */
export const baseOf = (file: QueueFile): QueueFileBase => {
  const { id, endpoint, model, requests, bytes, live, passed } = file
  const { inputs, tokens, expectedNanoUsd, reserved, pricedAt, recalled, results } = file
  return {
    ...{ id, endpoint, model, requests, bytes, live, passed },
    ...(inputs !== undefined && { inputs }),
    ...(tokens && { tokens }),
    ...(expectedNanoUsd !== undefined && { expectedNanoUsd }),
    ...(reserved !== undefined && { reserved }),
    ...(pricedAt !== undefined && { pricedAt }),
    ...(recalled && { recalled }),
    ...(results && { results }),
  }
}

/** How a request left its queue file, by the name of what counts it. */
export type Departure = Exclude<keyof FileResults, 'usage' | 'costNanoUsd'>

const noResults: FileResults = Object.freeze({
  succeeded: 0,
  failed: 0,
  retried: 0,
  expired: 0,
  untried: 0,
  usage: zeroUsage,
  costNanoUsd: 0,
})

/** A queue file after so many more of its requests left it. */
const withDeparted = <File extends QueueFileBase>(file: File, as: Departure, left: number): File => {
  const { results = noResults } = file
  return { ...file, results: { ...results, [as]: results[as] + left } }
}

/** A queue file after more answers to it were received. */
export function withAnswers<File extends QueueFileBase>(
  file: File,
  usage: TokenUsage,
  costNanoUsd: number,
): File {
  const { results = noResults } = file
  return {
    ...file,
    results: {
      ...results,
      usage: addUsage(results.usage, usage),
      costNanoUsd: results.costNanoUsd + costNanoUsd,
    },
  }
}

/** A queue file with so much more, or less, reserved for it. */
export function withReserved<File extends QueueFileBase>(file: File, by: number): File {
  return by === 0 ? file : { ...file, reserved: Math.max(0, (file.reserved ?? 0) + by) }
}

const noCalls: DirectCalls = Object.freeze({ sent: 0, received: 0 })

/** A direct set after some of its live requests came into a state of their calls, or (with -1) out of it. */
function withCalls(file: QueueFile, call: CallState, by: number): QueueFile {
  if (file.phase !== 'direct' || call === 'queued') return file
  const { calls = noCalls } = file
  return { ...file, calls: { ...calls, [call]: calls[call] + by } }
}

/** Brings calls into another state, in the table and in the counts of their sets. */
export function moveCalls(
  state: TaskState,
  table: RequestTable,
  requests: readonly number[],
  to: CallState,
): ReadonlyMap<number, QueueFile> {
  const files = new Map(state.files)
  for (const request of requests) {
    const record = table.get(request)
    table.set(request, { ...record, call: to })
    const file = files.get(record.file)
    if (file) files.set(file.id, withCalls(withCalls(file, record.call, -1), to, 1))
  }
  return files
}

export interface Leaving {
  readonly as: Departure
  /** 1 when leaving counts as a usable answer. */
  readonly passes: 0 | 1
}

/** Files after these requests left the ones they were in. */
export function leave(
  state: TaskState,
  table: RequestTable,
  requests: readonly number[],
  { as, passes }: Leaving,
): ReadonlyMap<number, QueueFile> {
  const files = new Map(state.files)
  const leaving = new Map<number, number>()
  for (const request of requests) {
    const { file: id, call } = table.get(request)
    const file = files.get(id)
    if (!file) continue
    leaving.set(id, (leaving.get(id) ?? 0) + 1)
    files.set(id, withCalls(file, call, -1))
  }
  for (const [id, left] of leaving) {
    const file = files.get(id)
    if (!file) continue
    const rest = { ...file, live: file.live - left, passed: file.passed + passes * left }
    files.set(id, withDeparted(rest, as, left))
  }
  return files
}

/** The sum of a column of costs; what is not known counts nothing. */
export const sumOf = (costs: readonly (number | null)[] = []): number =>
  costs.reduce<number>((sum, cost) => sum + (cost ?? 0), 0)

/** What verdicts say of the money that was paid for their replies. */
export const judgedBy = (
  { format }: TaskState,
  verdicts: number,
  costs: readonly (number | null)[] | undefined,
): Partial<Spending> => ({
  judgedNanoUsd: sumOf(costs),
  // Ledgers of format 1 do not tell.
  ...(format === 1 && { untoldVerdicts: verdicts }),
})

/** Adds to some of a record's numbers. */
export function plus<Sums extends Counters | Spending | Tally>(
  sums: Sums,
  by: Partial<Record<keyof Sums, number>>,
): Sums
export function plus(
  sums: Readonly<Record<string, number>>,
  by: Readonly<Record<string, number | undefined>>,
) {
  const result: Record<string, number> = { ...sums }
  for (const [name, amount] of Object.entries(by)) result[name] = (result[name] ?? 0) + (amount ?? 0)
  return result
}

/** Spending after some replies were received. */
export const spent = (
  { spending }: TaskState,
  step: StepOf<'received'> | StepOf<'stray-received'>,
  by: 'batch' | 'direct' | 'flex',
): Spending => {
  const { usage, costNanoUsd = 0, unpriced, expected, listNanoUsd, unmetered, lostNanoUsd } = step
  return plus(spending, {
    inputTokens: usage.input,
    cachedInputTokens: usage.cachedInput,
    cacheWriteTokens: usage.cacheWrite,
    outputTokens: usage.output,
    reasoningTokens: usage.reasoning,
    costNanoUsd,
    ...(by === 'direct' && { directNanoUsd: costNanoUsd }),
    ...(by === 'flex' && { flexNanoUsd: costNanoUsd }),
    listNanoUsd: listNanoUsd ?? costNanoUsd,
    expectedInputTokens: expected?.input ?? 0,
    expectedOutputTokens: expected?.output ?? 0,
    expectedNanoUsd: expected?.costNanoUsd ?? 0,
    ...(expected && {
      comparedInputTokens: usage.input,
      comparedOutputTokens: usage.output,
      comparedNanoUsd: costNanoUsd,
    }),
    unpricedReplies: unpriced ?? 0,
    unmeteredReplies: unmetered ?? 0,
    uncertainNanoUsd: lostNanoUsd ?? 0,
  })
}

/** A map without one of its entries. */
export function withoutKey<Key, Value>(all: ReadonlyMap<Key, Value>, key: Key): ReadonlyMap<Key, Value> {
  const rest = new Map(all)
  rest.delete(key)
  return rest
}
