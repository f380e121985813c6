import { errorText } from '../errors.ts'
import { assertNever } from '../util/exhaustive.ts'
import { ApiError } from './api-error.ts'
import { closeBatch } from './batch-close.ts'
import { latencyOf, plannedEnd } from './batch-faults.ts'
import { BatchWork, type WorkParts } from './batch-work.ts'
import type { Files } from './files.ts'
import { dueLines, type Facts, keptAt, nextStep, type Step, TERMINAL, visibleLines } from './lifecycle.ts'
import type { EmulatorLatency } from './options.ts'
import type { BatchRecord, Totals } from './records.ts'
import { NO_TOTALS } from './tally.ts'

export interface RunParts extends WorkParts {
  readonly files: Files
  readonly latency: Required<EmulatorLatency>
  /** Answers come from another server. */
  readonly outside: boolean
}

/**
 * One unfinished batch: its record, and the work on it. Nothing here is timed: `advance` brings the record up to
 * what the clock and the work say, step by step, each stored before the next.
 */
export class BatchRun {
  readonly #parts: RunParts
  readonly #work: BatchWork
  #record: BatchRecord
  #turn: Promise<unknown> = Promise.resolve()

  constructor(record: BatchRecord, parts: RunParts) {
    this.#record = record
    this.#parts = { ...parts, latency: latencyOf(record, parts.latency) }
    this.#work = new BatchWork(record, parts)
  }

  get record(): BatchRecord {
    return this.#record
  }

  /** Totals of what a caller may see now. */
  get totals(): Totals {
    if (this.#record.kept) return this.#record.kept
    if (this.#record.status === 'validating') return NO_TOTALS
    return this.#work.tally.at(visibleLines(this.#record, this.#facts(), this.#parts.latency))
  }

  /** Begins the work in the background, or what is left of it. */
  start(): void {
    const { status } = this.#record
    this.#work.start(status === 'validating' || status === 'in_progress' ? 'answer' : 'recover')
  }

  /** Ends the work where it is; a later process can continue it. */
  async stop(): Promise<void> {
    this.#work.abandon()
    await this.#work.ended()
    await this.#turn
  }

  advance(): Promise<void> {
    return this.#inTurn(() => this.#advance())
  }

  /** Throws `ApiError` (409) when the batch has ended. Cancelling twice is fine. */
  cancel(): Promise<void> {
    return this.#inTurn(async () => {
      await this.#advance()
      const { status } = this.#record
      if (status === 'cancelling') return
      if (status !== 'validating' && status !== 'in_progress') throw cannotCancel(status)
      this.#work.stop()
      const facts = this.#facts()
      const kept = keptAt(this.#record, facts, this.#parts.latency)
      await this.#enter('cancelling', facts.now, { ...kept, ending: 'cancelled' })
    })
  }

  /** Calls run one after the other, whatever became of those before. */
  #inTurn(action: () => Promise<void>): Promise<void> {
    const result = this.#turn.then(action)
    this.#turn = result.catch(() => undefined) // each caller learns of its own failure
    return result
  }

  async #advance(): Promise<void> {
    const now = this.#parts.clock.now()
    await this.#work.settle(() => this.#isCaughtUp(now))
    if (this.#work.failure !== undefined) throw broken(this.#record.id, this.#work.failure)
    let step = nextStep(this.#record, this.#facts(now), this.#parts.latency)
    while (step !== undefined) {
      await this.#apply(step)
      step = nextStep(this.#record, this.#facts(now), this.#parts.latency)
    }
  }

  /** Whether the work is as far as the clock says it is. */
  #isCaughtUp(now: number): boolean {
    const { status, createdMs } = this.#record
    const { latency } = this.#parts
    if (status !== 'validating' && status !== 'in_progress') return this.#work.stopped
    if (now < createdMs + latency.validateMs) return true
    const verdict = this.#work.verdict
    if (verdict?.kind !== 'valid') return false
    const due = dueLines(this.#record, verdict.total, now, latency)
    return due < verdict.total && this.#work.tally.count >= due
  }

  #facts(now = this.#parts.clock.now()): Facts {
    const work = this.#work
    return {
      now,
      verdict: work.verdict,
      done: work.tally.count,
      stopped: work.stopped,
      finishedMs: this.#parts.outside ? work.finishedMs : undefined,
      totalsAt: (count) => work.tally.at(count),
      outside: this.#parts.outside,
    }
  }

  async #apply(step: Step): Promise<void> {
    switch (step.kind) {
      case 'fail':
        await this.#enter('failed', step.at, step.errors ? { errors: [...step.errors] } : {})
        break
      case 'run':
        await this.#enter('in_progress', step.at, {
          total: step.total,
          model: step.model,
          tokens: step.tokens,
        })
        break
      case 'finalize':
        this.#work.stop()
        await this.#enter(step.ending === 'cancelled' ? 'cancelling' : 'finalizing', step.at, {
          ending: step.ending,
          ...(step.kept && { kept: step.kept }),
        })
        await this.#work.settle(() => this.#work.stopped)
        break
      case 'end':
        await this.#enter(step.ending, step.at, {
          kept: await closeBatch({ batch: this.#record, ...step }, this.#parts),
          ...this.#plannedErrors(),
        })
        break
      default:
        assertNever(step)
    }
    if (!TERMINAL.has(this.#record.status)) return
    const { inputFileId, outputFileId, errorFileId } = this.#record
    for (const id of [inputFileId, outputFileId, errorFileId]) await this.#parts.files.release(id)
  }

  #plannedErrors(): Partial<BatchRecord> {
    const errors = plannedEnd(this.#record)?.errors
    return errors ? { errors: [...errors] } : {}
  }

  async #enter(status: BatchRecord['status'], at: number, changes: Partial<BatchRecord>): Promise<void> {
    const next = { ...this.#record, ...changes, status, since: { ...this.#record.since, [status]: at } }
    await this.#parts.storage.save('batches', next.id, JSON.stringify(next))
    this.#record = next
  }
}

const cannotCancel = (status: string): ApiError =>
  new ApiError(409, `Cannot cancel a batch with status '${status}'.`)

const broken = (id: string, cause: unknown): ApiError =>
  new ApiError(500, `The emulator could not go on with ${id}: ${errorText(cause)}`, { cause })
