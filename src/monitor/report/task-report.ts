import type { TaskState } from '../../batch/task-state.ts'
import { currentParams, initialState } from '../../batch/task-state.ts'
import { FAILED_FILE } from '../../requester/files.ts'
import { ledgerPath } from '../../requester/read-only-view.ts'
import { readStatus, type TaskStatus } from '../../requester/status.ts'
import type { FileSystem } from '../../state/file-system.ts'
import type { LedgerLine } from '../../state/ledger.ts'
import { PROGRESS_FILE } from '../../state/progress-log.ts'
import { BatchLog, type BatchRecord } from './batch-log.ts'
import { type FailureExample, readExamples } from './failed-examples.ts'
import { type Cluster, FailureLog } from './failure-log.ts'
import { type Outcome, outcomeOf } from './outcome.ts'
import { type RunHistory, readHistory } from './run-history.ts'
import { SeriesLog, type TaskSeries } from './task-series.ts'

/** All that a report tells of a task. Times are in milliseconds since 1970 where they are not ISO texts. */
export interface TaskReport {
  readonly task: string
  /** When it was made. */
  readonly madeAt: number
  readonly outcome: Outcome
  readonly status: TaskStatus
  readonly history: RunHistory
  readonly series: TaskSeries
  readonly batches: readonly BatchRecord[]
  readonly failures: Failures
  /** The parameters in force; undefined when the task was never begun. */
  readonly params: unknown
}

export interface Failures {
  /** The most frequent first. */
  readonly clusters: readonly FailureCluster[]
  /** What is in none of them. */
  readonly others: { readonly kinds: number; readonly failed: number; readonly retried: number }
}

export interface FailureCluster extends Omit<Cluster, 'places'> {
  readonly examples: readonly FailureExample[]
}

export interface ReportPlace {
  readonly directory: string
  readonly name: string
}

/** Kinds of failures that a report shows. */
const MOST_CLUSTERS = 100

/**
 * Reads all that a report tells, without the task's lock; a process may be at work on it meanwhile. The ledger is read
 * once. Throws StateError: `unknown_task`, or what is wrong with the ledger.
 */
export async function readReport(
  fs: FileSystem,
  { directory, name }: ReportPlace,
  nowMs: number,
): Promise<TaskReport> {
  const logs = new ReportLogs(ledgerPath(directory, name))
  const status = await readStatus(fs, directory, name, (line, state) => logs.take(line, state))
  const history = await readHistory(fs, `${directory}/${name}${PROGRESS_FILE}`)
  const outcome = outcomeOf(status, history.runs.at(-1))
  return {
    task: name,
    madeAt: nowMs,
    outcome,
    status,
    history,
    series: logs.series.upTo(outcome.kind === 'running' ? nowMs : (history.runs.at(-1)?.lastAt ?? 0)),
    batches: logs.batches.records(),
    failures: await failuresOf(fs, `${directory}/${name}${FAILED_FILE}`, logs.failures),
    params: currentParams(logs.state),
  }
}

class ReportLogs {
  readonly series = new SeriesLog()
  readonly batches: BatchLog
  readonly failures: FailureLog
  state: TaskState = initialState

  constructor(ledger: string) {
    this.batches = new BatchLog(ledger)
    this.failures = new FailureLog(ledger)
  }

  take(line: LedgerLine, state: TaskState): void {
    this.series.take(line, state)
    this.batches.take(line, state)
    this.failures.take(line)
    this.state = state
  }
}

async function failuresOf(fs: FileSystem, path: string, log: FailureLog): Promise<Failures> {
  const all = log.clusters()
  const [shown, rest] = [all.slice(0, MOST_CLUSTERS), all.slice(MOST_CLUSTERS)]
  const examples = await readExamples(
    fs,
    path,
    shown.flatMap(({ places }) => places),
  )
  const clusters = shown.map(({ places, ...cluster }) => ({
    ...cluster,
    examples: places.flatMap((place) => examples.get(place) ?? []),
  }))
  const sum = (field: 'failed' | 'retried') =>
    rest.reduce((total, one) => total + one[field], log.others[field])
  return { clusters, others: { kinds: rest.length, failed: sum('failed'), retried: sum('retried') } }
}
