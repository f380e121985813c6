import { EVENT_KIND, type HistoryRow, readRow } from '../../progress/history-row.ts'
import type { FileSystem } from '../../state/file-system.ts'
import { readLineChunks } from '../../state/json-lines.ts'
import { systemCode } from '../../util/system-code.ts'

/** One run of a task. Times are in milliseconds since 1970. */
export interface RunRecord {
  readonly startedAt: number
  /** Of the last that is known of it. */
  readonly lastAt: number
  /** Those that were not as by default, as flags; undefined for releases that did not say. */
  readonly options?: string
  /** Undefined for one that goes on, or ended without saying so. */
  readonly end?: { readonly kind: 'finished' | 'failed'; readonly text: string }
}

/** Warnings of one kind. */
export interface WarningRecord {
  readonly code: string
  readonly count: number
  readonly firstAt: number
  readonly lastAt: number
  readonly message: string
}

/** What only a task's history tells: it is empty for tasks of releases that kept none. */
export interface RunHistory {
  readonly rows: number
  readonly runs: readonly RunRecord[]
  /** Runs that came before these. */
  readonly earlierRuns: number
  readonly warnings: readonly WarningRecord[]
  /** The hard cap (`--max-spend`) of the last run, in USD. */
  readonly capUsd?: number
  /** Seconds of work over all runs. */
  readonly workSeconds: number
  /** Lines that are no rows, such as one that is being written. */
  readonly unreadable: number
}

const MOST_RUNS = 500
const MOST_WARNINGS = 200

/** The sparse rows that matter here; parsing all of a week's samples would take longer than the rest of a report. */
const isTelling = (text: string): boolean => text.includes('"Event/kind"') || text.includes(`"${CAP}"`)

const CAP = 'Cost/cap_usd'

/** Reads a task's history without its lock. Memory does not grow with its length. */
export async function readHistory(fs: FileSystem, path: string): Promise<RunHistory> {
  const reader = new HistoryReader()
  try {
    for await (const lines of readLineChunks(fs, path)) for (const { text } of lines) reader.take(text)
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw error
  }
  return reader.history()
}

class HistoryReader {
  #rows = 0
  #unreadable = 0
  #last: string | undefined
  #runs: RunRecord[] = []
  #earlierRuns = 0
  readonly #warnings = new Map<string, WarningRecord>()
  #capUsd: number | undefined
  #workSeconds = 0

  take(text: string): void {
    if (text === '') return
    this.#rows++
    if (!isTelling(text)) {
      this.#last = text
      return
    }
    // How long a run went on that did not say that it ended is told by its last sample.
    this.#takeLast()
    this.#takeRow(text)
  }

  history(): RunHistory {
    this.#takeLast()
    return {
      rows: this.#rows,
      runs: this.#runs,
      earlierRuns: this.#earlierRuns,
      warnings: [...this.#warnings.values()].sort((a, b) => b.lastAt - a.lastAt),
      ...(this.#capUsd !== undefined && { capUsd: this.#capUsd }),
      workSeconds: this.#workSeconds,
      unreadable: this.#unreadable,
    }
  }

  #takeLast(): void {
    if (this.#last !== undefined) this.#takeRow(this.#last)
    this.#last = undefined
  }

  #takeRow(text: string): void {
    const row = readRow(text)
    if (!row) {
      this.#unreadable++
      return
    }
    const at = row._timestamp * 1000
    this.#workSeconds = Math.max(this.#workSeconds, row._runtime)
    this.#takeEvent(row, at)
    const cap = row[CAP]
    if (typeof cap === 'number') this.#capUsd = cap
    this.#change((run) => ({ ...run, lastAt: Math.max(run.lastAt, at) }))
  }

  #takeEvent(row: HistoryRow, at: number): void {
    switch (row[EVENT_KIND]) {
      case 'run-started':
        this.#start(at, row['Event/options'])
        return
      case 'run-finished':
        this.#change((run) => ({ ...run, end: { kind: 'finished', text: textOf(row, 'Event/outcome') } }))
        return
      case 'run-failed':
        this.#change((run) => ({ ...run, end: { kind: 'failed', text: textOf(row, 'Event/message') } }))
        return
      case 'warning':
        this.#warn(textOf(row, 'Event/code'), textOf(row, 'Event/message'), at)
        return
      default:
    }
  }

  /** Its first row is full: a figure that is not in it is no more. */
  #start(at: number, options: string | number | undefined): void {
    this.#capUsd = undefined
    this.#runs.push({ startedAt: at, lastAt: at, ...(options !== undefined && { options: String(options) }) })
    if (this.#runs.length <= MOST_RUNS) return
    this.#runs.shift()
    this.#earlierRuns++
  }

  #change(by: (run: RunRecord) => RunRecord): void {
    const last = this.#runs.pop()
    if (last) this.#runs.push(by(last))
  }

  #warn(code: string, message: string, at: number): void {
    const before = this.#warnings.get(code)
    if (!before && this.#warnings.size >= MOST_WARNINGS) return
    const { count = 0, firstAt = at } = before ?? {}
    this.#warnings.set(code, { code, count: count + 1, firstAt, lastAt: at, message })
  }
}

const textOf = (row: HistoryRow, name: string): string => String(row[name] ?? '')
