import { mayFinalise, planFailedBatch } from '../batch/failed-batch.ts'
import type { LineOutcome } from '../batch/line-outcome.ts'
import { batchName, type FileIn, isWorkedOn, remoteFilesOf } from '../batch/queue-file.ts'
import type { Refusal } from '../batch/refusals.ts'
import type { Failure } from '../batch/reply.ts'
import type { StepOf } from '../batch/steps.ts'
import { RemoteError, StateError } from '../errors.ts'
import { zeroUsage } from '../tokens/usage.ts'
import type { AccountGate } from './account-gate.ts'
import { downloadAnswers, hasAnswers } from './answers-download.ts'
import { batchChanged } from './batch-event.ts'
import { estimateComplaints, expectedOf, usageComplaints } from './comparison.ts'
import type { Context } from './context.ts'
import { resultFileName } from './files.ts'
import { claimOf } from './governor.ts'
import { Patience, WaitedTooLong } from './patience.ts'
import type { ResultIndex } from './result-index.ts'
import { type Settlement, settle } from './settle.ts'

type EndedFile = FileIn<'ended'>

/** How long a batch that found the account's queue full waits before it is submitted again, by how often that was. */
const FIRST_FULL_WAIT_MS = 30_000
const LONGEST_FULL_WAIT_MS = 15 * 60_000

export interface CollectorOptions {
  /** Answers are not wanted any more (`--wipe-task`). */
  readonly discarding: boolean
  /** Requests without an answer are to be forgotten (`--wipe-requests`): answers that are gone stop nothing. */
  readonly givingUp: boolean
  /** Is told when lines were refused on account of the account, and when a batch came back without any. */
  readonly gate: AccountGate
  /** Is told where the answers are in a file that was just received. */
  readonly onScanned: (file: number, index: ResultIndex) => void
}

/** Takes what an ended batch produced: downloads it, makes it durable, and settles what it cost. */
export class Collector {
  readonly #context: Context
  readonly #discarding: boolean
  readonly #givingUp: boolean
  readonly #gate: AccountGate
  readonly #onScanned: CollectorOptions['onScanned']
  readonly #blocked = new Map<number, string>()
  readonly #begunAnew = new Set<number>()
  readonly #complained = new Set<string>()
  #finalised = 0
  #fullWaits = 0
  #room: Patience | undefined

  constructor(context: Context, { discarding, givingUp, gate, onScanned }: CollectorOptions) {
    this.#gate = gate
    this.#givingUp = givingUp
    this.#context = context
    this.#discarding = discarding
    this.#onScanned = onScanned
  }

  /** Failed batches that wait for a person, and why they failed. */
  get blocked(): ReadonlyMap<number, string> {
    return this.#blocked
  }

  /** Failed batches that this run has finished all the same. */
  get finalised(): number {
    return this.#finalised
  }

  async run(id: number): Promise<void> {
    const file = this.#context.store.durable.state.files.get(id)
    if (file?.phase !== 'ended') return
    let taken: Taken | undefined
    if (hasAnswers(file)) {
      if (!(await this.#couldDownload(file))) return
      taken = await this.#settle(file)
    }
    // A failed batch may have files without a line in them.
    if (file.status === 'failed' && !taken?.index.size && !this.#discarding)
      return this.#isToBeginAnew(file) ? this.#beginAnew(file) : this.#takeFailed(file, taken)
    await this.#receive(file, taken)
    this.#fullWaits = 0
    this.#room = undefined
  }

  /**
   * A batch that was adopted may have failed only because its input had been deleted meanwhile. Once in a run: should
   * a new one be adopted and fail in its turn, it had another cause.
   */
  #isToBeginAnew({ id, adopted, faults, requests }: EndedFile): boolean {
    const plan = planFailedBatch({ faults, requests, mayFinalise: false })
    return adopted === true && plan.kind === 'block' && !this.#begunAnew.has(id)
  }

  async #beginAnew(file: EndedFile): Promise<void> {
    this.#begunAnew.add(file.id)
    const [fault] = file.faults
    const why = `a batch that was found failed: ${fault?.message ?? 'the server gave no reason'}`
    await this.#abandon(file, why)
  }

  /** The lines go again, in a new batch. */
  async #abandon(file: EndedFile, why: string): Promise<void> {
    const { store, emit } = this.#context
    await store.commit((draft) =>
      draft.apply({ kind: 'abandoned', file: file.id, why, litter: remoteFilesOf(file) }),
    )
    emit(batchChanged(file, 'sealed'))
  }

  async #takeFailed(file: EndedFile, taken: Taken | undefined): Promise<void> {
    const { settings } = this.#context
    const plan = planFailedBatch({
      faults: file.faults,
      requests: file.requests,
      mayFinalise: mayFinalise(settings.processFailedBatches, this.#finalised),
    })
    const why = file.faults.map(
      ({ code, message, line }) => `${code}${line === undefined ? '' : ` (line ${line})`}: ${message}`,
    )
    if (plan.kind === 'wait') return this.#waitForRoom(file, why[0] ?? '')
    if (plan.kind === 'block') {
      await this.#freeMoney(file)
      this.#blocked.set(file.id, why[0] ?? 'the server gave no reason')
      const advice =
        'Mend the cause and wipe with --wipe-requests, or let its requests fail with --process-failed-batches 1.'
      return this.#warn('batch_failed', `${batchName(file)} failed: ${why.slice(0, 3).join('; ')}. ${advice}`)
    }
    if (plan.kind === 'fail') this.#finalised++
    this.#warn('batch_failed', `${batchName(file)} failed: ${why.slice(0, 3).join('; ')}`)
    await this.#receive(file, taken)
  }

  /** Its files turned out to be empty: nothing is to wait for its money while it waits for a person. */
  async #freeMoney(file: EndedFile): Promise<void> {
    if (!file.reserved || isWorkedOn(file)) return
    await this.#context.store.commit((draft) => draft.apply({ kind: 'reserve', file: file.id, reserved: 0 }))
  }

  /** The account is full: a new batch is made when there may be room. */
  async #waitForRoom(file: EndedFile, why: string): Promise<void> {
    const { governor } = this.#context
    const again = await governor.refused(claimOf(file, file.tag), file.faults)
    const news = again === 'freed' ? governor.freed() : undefined
    if (again !== 'now' && !(await this.#waited(file, why, news))) return
    await this.#abandon(file, why)
  }

  /** Waits until there may be room, or until `news`. False when that has taken too long. */
  async #waited(file: EndedFile, why: string, news: Promise<void> | undefined): Promise<boolean> {
    this.#room ??= new Patience(this.#context, 'the account')
    const ms = Math.min(LONGEST_FULL_WAIT_MS, FIRST_FULL_WAIT_MS * 2 ** this.#fullWaits)
    this.#fullWaits++
    const full = new RemoteError('account_full', why, { retryable: true })
    try {
      await this.#room.afterFailure(full, ms, news)
      return true
    } catch (error) {
      if (!(error instanceof WaitedTooLong)) throw error
      this.#blocked.set(file.id, why)
      this.#warn('queue_full', `the account has been full for longer than --max-wait: ${why}`)
      return false
    }
  }

  async #couldDownload(file: EndedFile): Promise<boolean> {
    try {
      await this.#download(file)
      return true
    } catch (error) {
      const areUnwanted = this.#givingUp || this.#discarding
      if (!areUnwanted || !(error instanceof StateError) || error.code !== 'answers_gone') throw error
      this.#blocked.set(file.id, error.message)
      this.#warn('answers_gone', `the answers of ${batchName(file)} are gone; its requests are given up`)
      return false
    }
  }

  async #download(file: EndedFile): Promise<void> {
    const path = this.#context.store.path(resultFileName(file.id))
    await downloadAnswers(this.#context, file, path, (remote, error) => answersGone(file, remote, error))
  }

  /** Adds up what the answers cost, and notes what they say about the account. */
  async #settle(file: EndedFile): Promise<Taken> {
    let answers = 0
    const refusals = new Map<Refusal, string>()
    const onOutcome = (outcome: LineOutcome, request: number | undefined) => {
      if (outcome.kind === 'failure') noteRefusal(refusals, outcome.failure)
      else if (request !== undefined) answers++
    }
    const source = { ...file, suffix: resultFileName(file.id) }
    const settlement = await settle(this.#context, source, onOutcome)
    const { index, oddLines } = settlement
    this.#onScanned(file.id, index)
    // A key that brought good answers is a good one: what was refused is about single requests.
    const refusal = refusals.get('account') ?? (answers === 0 ? refusals.get('key') : undefined)
    if (refusal !== undefined) this.#gate.refused(refusal, answers > 0)
    else if (index.size > 0) this.#gate.answered()
    if (oddLines > 0)
      this.#warn(
        'odd_lines',
        `${batchName(file)}: ${oddLines} result lines belong to no request of it and were set aside`,
      )
    return { ...settlement, answers }
  }

  async #receive(file: EndedFile, taken: Taken | undefined): Promise<void> {
    const { store, settings } = this.#context
    const { usage = zeroUsage, ...columns } = taken?.totals.columns ?? {}
    const step: StepOf<'received'> = {
      kind: 'received',
      file: file.id,
      usage,
      ...columns,
      ...(taken?.totals.columns.unmetered && { safety: settings.maxTokenSafety }),
      ...(taken && taken.oddLines > 0 && { oddLines: taken.oddLines }),
      ...(taken && {
        answers: taken.answers,
        rates: taken.rates.map((tier) => ({ ...tier })),
        expected: expectedOf(file, taken.answers),
      }),
      litter: remoteFilesOf(file),
    }
    await store.commit((draft) => {
      draft.apply(step)
      if (taken) draft.name(resultFileName(file.id))
    })
    if (taken) this.#compare(file, step)
  }

  /** Says where the server's own count, or the estimate, is far from what the answers add up to. */
  #compare(file: EndedFile, step: StepOf<'received'>): void {
    const complaints = [
      ...usageComplaints(file, step.usage),
      ...estimateComplaints(step, this.#context.settings, file.tokens),
    ]
    for (const { code, message } of complaints) {
      // An estimate that is far off is so for every batch of a task: once is enough.
      if (code !== 'usage_differs' && this.#complained.has(code)) continue
      this.#complained.add(code)
      this.#warn(code, `${batchName(file)}: ${message}`)
    }
  }

  #warn(code: string, message: string): void {
    this.#context.emit({ kind: 'warning', code, message })
  }
}

/** Keeps what the server said first when it refused a line on account of the account, or of the key. */
function noteRefusal(refusals: Map<Refusal, string>, { refusal, message }: Failure): void {
  if (refusal && !refusals.has(refusal)) refusals.set(refusal, message)
}

/** What was taken of a batch. */
interface Taken extends Settlement {
  /** Good answers to requests of it. */
  readonly answers: number
}

function answersGone(file: EndedFile, remote: string, cause: RemoteError): StateError {
  const message =
    `file ${remote} with the answers of ${batchName(file)} is gone from the server (they expire after 30 days, or it was ` +
    `deleted). ${file.live} requests stay pending; to have them sent and paid again, run with --wipe-requests.`
  return new StateError('answers_gone', message, { cause })
}
