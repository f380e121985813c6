import { budgetOf } from './budget.ts'
import type { BatchProgress, MetricFacts } from './metric-facts.ts'
import { type FileIn, inPhase, isUnpushed, type QueueFile } from './queue-file.ts'
import { requestPlaces } from './request-places.ts'

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
  /** At the server, or back from it with requests that have no verdict yet; `answered` is undefined until the server told. */
  readonly remote: FileSum & { readonly answered: BatchProgress | undefined }
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
  const { queued, waiting, inFlight } = requestPlaces(state)
  return {
    open: { ...sum(open), directNanoUsd: total(open.map((file) => expectedNanoUsd(file, 'direct'))) },
    unpushed: sum(files.filter(isUnpushed)),
    remote: {
      ...sum(remote),
      answered: together(remote.map((file) => progress.get(file.id) ?? known(file))),
    },
    direct: sum(files.filter(isDirect)),
    reservedNanoUsd: budgetOf(state).reservedNanoUsd,
    queued: queued + waiting,
    inFlight,
  }
}

/** What needs no word of the server: nothing came of a batch without files, and what was received is on disk. */
function known(file: FileIn<'remote' | 'ended' | 'received'>): BatchProgress | undefined {
  if (file.phase === 'remote') return undefined
  if (!file.outputFileId && !file.errorFileId) return { completed: 0, failed: 0 }
  if (file.phase === 'ended' || file.answers === undefined) return undefined
  return { completed: file.answers, failed: file.requests - file.answers }
}

/** Undefined as long as it is not known of all. */
function together(batches: readonly (BatchProgress | undefined)[]): BatchProgress | undefined {
  const told = batches.filter((one) => one !== undefined)
  if (told.length < batches.length) return undefined
  return { completed: total(told.map((one) => one.completed)), failed: total(told.map((one) => one.failed)) }
}

const total = (amounts: readonly number[]): number => amounts.reduce((sum, amount) => sum + amount, 0)
