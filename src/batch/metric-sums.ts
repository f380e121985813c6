import { budgetOf } from './budget.ts'
import type { MetricFacts } from './metric-facts.ts'
import { holdsReused, inPhase, isUnpushed, type QueueFile } from './queue-file.ts'

/** What some queue files come to together. */
export interface FileSum {
  readonly files: number
  readonly requests: number
  readonly bytes: number
  readonly inputTokens: number
  readonly outputTokens: number
  readonly mostOutputTokens: number
  /** By batch. */
  readonly expectedNanoUsd: number
}

export interface FileSums {
  /** Being filled. */
  readonly open: FileSum & { readonly directNanoUsd: number }
  /** Closed to be sent as a batch, and not known to be at the server. */
  readonly unpushed: FileSum
  /** At the server, or back from it with requests that have no verdict yet. */
  readonly remote: FileSum & { readonly completed: number; readonly failed: number }
  /** Direct sets that are not done. */
  readonly direct: FileSum
  /** See `Budget`. */
  readonly reservedNanoUsd: number
  /** Requests in the queue, and with the server; see `RequestCounts`. */
  readonly queued: number
  readonly inFlight: number
}

/** Facts, and sums over the queue files, which many figures share. */
export interface MetricSource extends MetricFacts {
  readonly sums: FileSums
}

const isOpen = inPhase('open')
const isAtServer = inPhase('remote', 'ended', 'received')
const isDirect = inPhase('direct')
const isWaitedFor = inPhase('remote', 'ended', 'direct')

const NOTHING: FileSum = {
  files: 0,
  requests: 0,
  bytes: 0,
  inputTokens: 0,
  outputTokens: 0,
  mostOutputTokens: 0,
  expectedNanoUsd: 0,
}

export function sumFiles({ state, progress, expectedNanoUsd }: MetricFacts): FileSums {
  const files = [...state.files.values()]
  const sum = (chosen: readonly QueueFile[]): FileSum =>
    chosen.reduce((sums, file) => plus(sums, file), NOTHING)
  const plus = (sums: FileSum, file: QueueFile): FileSum => ({
    files: sums.files + 1,
    requests: sums.requests + file.requests,
    bytes: sums.bytes + file.bytes,
    inputTokens: sums.inputTokens + (file.tokens?.input ?? 0),
    outputTokens: sums.outputTokens + (file.tokens?.output ?? 0),
    mostOutputTokens: sums.mostOutputTokens + (file.tokens?.mostOutput ?? 0),
    expectedNanoUsd: sums.expectedNanoUsd + (file.expectedNanoUsd ?? expectedNanoUsd(file, 'batch')),
  })
  const open = files.filter(isOpen)
  const remote = files.filter(isAtServer)
  const told = remote.map(({ id }) => progress.get(id))
  return {
    open: { ...sum(open), directNanoUsd: total(open.map((file) => expectedNanoUsd(file, 'direct'))) },
    unpushed: sum(files.filter(isUnpushed)),
    remote: {
      ...sum(remote),
      completed: total(told.map((one) => one?.completed ?? 0)),
      failed: total(told.map((one) => one?.failed ?? 0)),
    },
    direct: sum(files.filter(isDirect)),
    reservedNanoUsd: budgetOf(state).reservedNanoUsd,
    ...places(state.counters.pending, files),
  }
}

/** In no file is what waits for the answer to an identical request: it counts as queued. */
function places(pending: number, files: readonly QueueFile[]): Pick<FileSums, 'queued' | 'inFlight'> {
  const inFlight = total(files.filter(isWaitedFor).map(({ live }) => live))
  const answered = files.filter((file) => file.phase === 'received' || holdsReused(file))
  return { queued: pending - inFlight - total(answered.map(({ live }) => live)), inFlight }
}

const total = (amounts: readonly number[]): number => amounts.reduce((sum, amount) => sum + amount, 0)
