import type { Phase, QueueFile } from '../batch/queue-file.ts'
import { type RequestPlaces, requestPlaces } from '../batch/request-places.ts'
import type { BatchFault, WipeScope } from '../batch/steps.ts'
import type { Spending, Tally, TaskState } from '../batch/task-state.ts'
import type { FileSystem } from '../state/file-system.ts'
import type { LedgerLine } from '../state/ledger.ts'
import { type LockHolder, TaskLock } from '../state/task-lock.ts'
import { currentProcess, isGone } from '../util/process-identity.ts'
import { FAILED_FILE } from './files.ts'
import { stepsOfKinds } from './ledger-steps.ts'
import { type LineWatcher, ledgerPath, mustExist, readTask } from './read-only-view.ts'
import { type Receipt, receiptOf } from './receipt.ts'

/** Where a task stands, from its ledger alone. Times are ISO 8601 in UTC, money is in USD, sizes are in bytes. */
export interface TaskStatus {
  readonly task: string
  /** Null while the task has a ledger, but nothing in it yet. */
  readonly taskId: string | null
  readonly className: string | null
  /** Of the task's class; its queue files say what was really used. */
  readonly endpoint: string | null
  readonly createdAt: string | null
  /** Of the last commit. */
  readonly changedAt: string | null
  /** How often the parameters were made: 1 unless they were made anew. */
  readonly paramsVersions: number
  /** The process that has the task's lock; null when none has. */
  readonly holder: Holder | null
  /** A wipe that was begun and is not finished. */
  readonly wipe: WipeScope | null
  readonly requests: RequestPlaces
  readonly spending: SpendingStatus
  /** What all of it cost, over all runs; `run` and `maxSpend` are null, as they are not in the ledger. */
  readonly receipt: Receipt
  readonly tally: Tally
  /** Batches in a row with too few usable answers. */
  readonly passFailures: number
  /** Queue files that still hold requests, in the order they were opened. */
  readonly queueFiles: readonly QueueFileStatus[]
  readonly output: { readonly lines: number; readonly files: readonly SideFile[] }
  /** Null when no request has failed for good. */
  readonly failedFile: SideFile | null
  /** Remote files that are of no more use and not deleted yet. */
  readonly remoteFilesToDelete: number
  readonly ledger: { readonly file: string; readonly lines: number; readonly bytes: number }
}

export interface Holder {
  readonly pid: number
  readonly host: string
  readonly since: string
  /** `unknown`: it runs on another machine, and cannot be looked for from here. */
  readonly state: 'running' | 'gone' | 'unknown'
}

export interface SpendingStatus
  extends Pick<
    Spending,
    | 'sentRequests'
    | 'inputTokens'
    | 'cachedInputTokens'
    | 'cacheWriteTokens'
    | 'outputTokens'
    | 'reasoningTokens'
    | 'unpricedReplies'
  > {
  /** A lower bound while `unpricedReplies` is not 0. */
  readonly costUsd: number
}

export interface QueueFileStatus {
  readonly file: number
  readonly phase: Phase
  /** When it came into this phase. */
  readonly since: string
  readonly endpoint: string
  readonly model: string
  readonly requests: number
  /** Requests in it without a verdict. */
  readonly pending: number
  readonly bytes: number
  readonly batchId: string | null
  /** The server's last known word for the batch. */
  readonly remoteStatus: string | null
  /** Why the batch failed, as far as it did. */
  readonly faults: readonly BatchFault[]
}

/** A file beside the ledger, with the length that the ledger knows. */
export interface SideFile {
  readonly file: string
  readonly bytes: number
}

/**
 * Reads a task's status without its lock; a process may be at work on it meanwhile. `alsoWatch` is shown each ledger
 * line on the way. Throws StateError: `unknown_task`, or what is wrong with the ledger.
 */
export async function readStatus(
  fs: FileSystem,
  directory: string,
  name: string,
  alsoWatch: LineWatcher = () => {},
): Promise<TaskStatus> {
  await mustExist(fs, directory, name)
  const ledger = ledgerPath(directory, name)
  const watch = new StatusWatch(ledger)
  const view = await readTask(fs, directory, name, (line, state) => {
    watch.take(line, state)
    alsoWatch(line, state)
  })
  const holder = await TaskLock.holder(directory, name)
  const { state, extent } = view
  const { identity } = state
  const places = requestPlaces(state)
  const sideFile = ([suffix, bytes]: readonly [string, number]) => ({ file: name + suffix, bytes })
  const failed = watch.lengths.get(FAILED_FILE) ?? 0
  return {
    task: name,
    taskId: identity?.taskId ?? null,
    className: identity?.className ?? null,
    endpoint: identity?.endpoint ?? null,
    createdAt: isoOrNull(watch.firstAt),
    changedAt: isoOrNull(watch.lastAt),
    paramsVersions: state.params.length,
    holder: holder ? holderStatus(holder) : null,
    wipe: state.wipe ?? null,
    requests: places,
    spending: spendingOf(state.spending),
    receipt: receiptOf(state, { awaitingVerdict: places.received }),
    tally: state.tally,
    passFailures: state.passFailures,
    queueFiles: [...state.files.values()].map((file) => queueFileStatus(file, watch.since(file.id))),
    output: { lines: watch.outputLines, files: [...watch.lengths].filter(isOutput).map(sideFile) },
    failedFile: failed > 0 ? sideFile([FAILED_FILE, failed]) : null,
    remoteFilesToDelete: state.litter.size,
    ledger: { file: ledger, lines: extent.seq, bytes: extent.validBytes },
  }
}

const spendingOf = ({ costNanoUsd, ...spending }: Spending): SpendingStatus => ({
  sentRequests: spending.sentRequests,
  inputTokens: spending.inputTokens,
  cachedInputTokens: spending.cachedInputTokens,
  cacheWriteTokens: spending.cacheWriteTokens,
  outputTokens: spending.outputTokens,
  reasoningTokens: spending.reasoningTokens,
  costUsd: costNanoUsd / 1e9,
  unpricedReplies: spending.unpricedReplies,
})

const iso = (ms: number): string => new Date(ms).toISOString()
const isoOrNull = (ms: number | undefined): string | null => (ms === undefined ? null : iso(ms))

const isOutput = ([suffix, bytes]: readonly [string, number]): boolean =>
  suffix.startsWith('_output') && bytes > 0

const OUTPUT_KINDS: ReadonlySet<'accepted' | 'wiped'> = new Set(['accepted', 'wiped'])

/** What a status needs beside the state: when things happened, and how long the side files are. */
class StatusWatch {
  readonly #ledger: string
  readonly #phases = new Map<number, { readonly phase: Phase; readonly at: number }>()
  #files: TaskState['files'] | undefined
  readonly lengths = new Map<string, number>()
  outputLines = 0
  firstAt: number | undefined
  lastAt: number | undefined

  constructor(ledger: string) {
    this.#ledger = ledger
  }

  take(line: LedgerLine, { files }: TaskState): void {
    this.firstAt ??= line.at
    this.lastAt = line.at
    for (const [suffix, bytes] of Object.entries(line.files)) this.lengths.set(suffix, bytes)
    for (const suffix of line.gone) this.lengths.delete(suffix)
    for (const step of stepsOfKinds(line, this.#ledger, OUTPUT_KINDS)) {
      if (step.kind === 'accepted') this.outputLines += step.lines
      else if (step.scope === 'task') this.outputLines = 0
    }
    if (files !== this.#files) this.#notePhases(files, line.at)
    this.#files = files
  }

  since(file: number): number {
    return this.#phases.get(file)?.at ?? 0
  }

  #notePhases(files: TaskState['files'], at: number): void {
    for (const id of this.#phases.keys()) if (!files.has(id)) this.#phases.delete(id)
    for (const { id, phase } of files.values())
      if (this.#phases.get(id)?.phase !== phase) this.#phases.set(id, { phase, at })
  }
}

function holderStatus(holder: LockHolder): Holder {
  const self = currentProcess()
  const { pid, host, startedAt } = holder
  const state = isGone(holder, self) ? 'gone' : host === self.host ? 'running' : 'unknown'
  return { pid, host, since: iso(startedAt), state }
}

function queueFileStatus(file: QueueFile, sinceMs: number): QueueFileStatus {
  const { id, phase, endpoint, model, requests, live, bytes } = file
  return {
    file: id,
    phase,
    since: iso(sinceMs),
    endpoint,
    model,
    requests,
    pending: live,
    bytes,
    batchId: 'batchId' in file ? file.batchId : null,
    remoteStatus: 'status' in file ? file.status : null,
    faults: 'faults' in file ? file.faults : [],
  }
}
