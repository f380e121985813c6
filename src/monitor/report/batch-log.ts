import type { FileResults, Phase } from '../../batch/queue-file.ts'
import type { Step } from '../../batch/steps.ts'
import type { TaskState } from '../../batch/task-state.ts'
import { stepsOfKinds } from '../../requester/ledger-steps.ts'
import type { LedgerLine } from '../../state/ledger.ts'

/** A queue file from being opened on, as a batch or as a set of direct calls. Times are in milliseconds since 1970. */
export interface BatchRecord {
  readonly file: number
  readonly model: string
  readonly endpoint: string
  /** `none`: not closed yet. `reused`: its requests were given answers that were there already. */
  readonly as: 'none' | 'batch' | 'direct' | 'reused'
  readonly requests: number
  /** `done`: every request has its verdict, or is queued elsewhere. */
  readonly phase: Phase | 'done' | 'wiped'
  readonly batchId?: string
  /** The server's last word. */
  readonly status?: string
  /** Of a batch: when it was created at the server. Of direct calls: when the first was sent. */
  readonly sentAt?: number
  /** Of a batch: when its end was seen. Of direct calls: when the last answer came. */
  readonly endedAt?: number
  /** Of a batch that was worked on to the end: how long that took, by the server's clock. */
  readonly tookMs?: number
  /** What came of it; absent before anything did. */
  readonly results?: FileResults
  readonly expectedNanoUsd?: number
  /** The first of what the server said is wrong with it. */
  readonly fault?: { readonly code: string; readonly message: string }
}

const TELLING = [
  'open',
  'seal',
  'intent',
  'created',
  'remote',
  'ended',
  'sent',
  'received',
  'dropped',
] as const
type TellingStep = Extract<Step, { kind: (typeof TELLING)[number] }>
const KINDS: ReadonlySet<TellingStep['kind'] | 'wiped'> = new Set([...TELLING, 'wiped'])

/** Writes down what becomes of each queue file while a ledger is read. Memory: one record for each. */
export class BatchLog {
  readonly #ledger: string
  readonly #records = new Map<number, BatchRecord>()
  #files: TaskState['files'] = new Map()

  constructor(ledger: string) {
    this.#ledger = ledger
  }

  take(line: LedgerLine, { files }: TaskState): void {
    for (const step of stepsOfKinds(line, this.#ledger, KINDS)) {
      if (step.kind === 'wiped') this.#wipe()
      else this.#note(step, line.at)
    }
    this.#files = files
  }

  /** In the order they were opened, as of the last line. */
  records(): readonly BatchRecord[] {
    return [...this.#records.values()].map((record) => this.#present(record))
  }

  #present(record: BatchRecord): BatchRecord {
    const file = this.#files.get(record.file)
    if (!file) return record
    const { phase, requests, results } = file
    return { ...record, phase, requests, ...(results && { results }) }
  }

  #note(step: TellingStep, at: number): void {
    const before = step.kind === 'open' ? opened(step) : this.#records.get(step.file)
    if (!before) return
    // The file is gone after this line, and how many requests it had with it.
    const known = step.kind === 'dropped' ? this.#present(before) : before
    this.#records.set(step.file, { ...known, ...changeBy(step, known, at) })
  }

  #wipe(): void {
    for (const record of this.#records.values())
      if (record.phase !== 'done')
        this.#records.set(record.file, { ...this.#present(record), phase: 'wiped' })
  }
}

const opened = ({ file, model, endpoint }: Extract<Step, { kind: 'open' }>): BatchRecord => ({
  file,
  model,
  endpoint,
  as: 'none',
  requests: 0,
  phase: 'open',
})

function changeBy(step: TellingStep, record: BatchRecord, at: number): Partial<BatchRecord> {
  switch (step.kind) {
    case 'open':
      return {}
    case 'seal':
      return { as: step.as }
    case 'intent':
      return step.expectedNanoUsd === undefined ? {} : { expectedNanoUsd: step.expectedNanoUsd }
    case 'created':
      return { batchId: step.batchId, sentAt: at }
    case 'remote':
      return { status: step.status }
    case 'ended':
      return endOf(step, at)
    case 'sent':
      return { sentAt: record.sentAt ?? at }
    case 'received':
      return answeredAt(step, record, at)
    case 'dropped':
      return { phase: 'done' }
  }
}

function endOf({ status, tookMs, faults = [] }: Extract<Step, { kind: 'ended' }>, at: number) {
  const [fault] = faults
  return {
    status,
    endedAt: at,
    ...(tookMs !== undefined && { tookMs }),
    ...(fault && { fault: { code: fault.code, message: fault.message } }),
  }
}

/** The last answer to a direct call so far is their end. */
function answeredAt({ expected }: Extract<Step, { kind: 'received' }>, record: BatchRecord, at: number) {
  if (record.as === 'batch') return {}
  if (!expected) return { endedAt: at }
  return { endedAt: at, expectedNanoUsd: (record.expectedNanoUsd ?? 0) + expected.costNanoUsd }
}
