import { mayFinalise, planFailedBatch } from '../batch/failed-batch.ts'
import type { FileIn } from '../batch/queue-file.ts'
import type { StepOf } from '../batch/steps.ts'
import { RemoteError, StateError } from '../errors.ts'
import type { WireResultLine } from '../openai/wire.ts'
import { removeTemporaries, replaceFile } from '../state/replace-file.ts'
import type { PriceTable } from '../tokens/prices.ts'
import type { Context } from './context.ts'
import { resultFileName } from './files.ts'
import { Interrupted, pause, withPatience } from './patience.ts'
import { addReply, emptyTotals, type ReplyTotals } from './reply-totals.ts'
import { type ResultIndex, scanResults } from './result-index.ts'

type EndedFile = FileIn<'ended'>

/** How long a batch that found the account's queue full waits before it is submitted again, by how often that was. */
const FIRST_FULL_WAIT_MS = 30_000
const LONGEST_FULL_WAIT_MS = 15 * 60_000

export interface CollectorOptions {
  /** Answers are not wanted any more (`--wipe-task`). */
  readonly discarding: boolean
  /** Requests without an answer are to be forgotten (`--wipe-requests`): answers that are gone stop nothing. */
  readonly givingUp: boolean
  /** Is told where the answers are in a file that was just received. */
  readonly onScanned: (file: number, index: ResultIndex) => void
}

/** Takes what an ended batch produced: downloads it, makes it durable, and settles what it cost. */
export class Collector {
  readonly #context: Context
  readonly #prices: PriceTable
  readonly #discarding: boolean
  readonly #givingUp: boolean
  readonly #onScanned: CollectorOptions['onScanned']
  readonly #blocked = new Map<number, string>()
  #finalised = 0
  #fullWaits = 0
  #fullSinceMs: number | undefined

  constructor(context: Context, prices: PriceTable, { discarding, givingUp, onScanned }: CollectorOptions) {
    this.#givingUp = givingUp
    this.#context = context
    this.#prices = prices
    this.#discarding = discarding
    this.#onScanned = onScanned
  }

  /** Failed batches that wait for a person, and why they failed. */
  get blocked(): ReadonlyMap<number, string> {
    return this.#blocked
  }

  async run(id: number): Promise<void> {
    const file = this.#context.store.durable.state.files.get(id)
    if (file?.phase !== 'ended') return
    if (this.#discarding) return this.#receive(file, emptyTotals())
    if (file.status === 'failed' && !hasAnswers(file)) return this.#takeFailed(file)
    if (hasAnswers(file)) {
      if (!(await this.#couldDownload(file))) return
      await this.#receive(file, await this.#settle(file))
    } else await this.#receive(file, emptyTotals())
    this.#fullWaits = 0
    this.#fullSinceMs = undefined
  }

  async #takeFailed(file: EndedFile): Promise<void> {
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
      this.#blocked.set(file.id, why[0] ?? 'the server gave no reason')
      const advice =
        'Mend the cause and wipe with --wipe-requests, or let its requests fail with --process-failed-batches 1.'
      return this.#warn(
        'batch_failed',
        `batch ${file.batchId} (queue file ${file.id}) failed: ${why.slice(0, 3).join('; ')}. ${advice}`,
      )
    }
    if (plan.kind === 'fail') this.#finalised++
    this.#warn(
      'batch_failed',
      `batch ${file.batchId} (queue file ${file.id}) failed: ${why.slice(0, 3).join('; ')}`,
    )
    await this.#receive(file, emptyTotals())
  }

  /** The account's queue is full. The same file goes again, as a new batch, when there may be room. */
  async #waitForRoom(file: EndedFile, why: string): Promise<void> {
    const { clock, settings, store } = this.#context
    this.#fullSinceMs ??= clock.now()
    if (clock.now() - this.#fullSinceMs > settings.maxWaitMs) {
      this.#blocked.set(file.id, why)
      return this.#warn('queue_full', `the account's queue has been full for longer than --max-wait: ${why}`)
    }
    const ms = Math.min(LONGEST_FULL_WAIT_MS, FIRST_FULL_WAIT_MS * 2 ** this.#fullWaits)
    this.#fullWaits++
    await pause(this.#context, why, ms)
    await store.commit((draft) =>
      draft.apply({ kind: 'abandoned', file: file.id, why, litter: remoteFilesOf(file) }),
    )
  }

  async #couldDownload(file: EndedFile): Promise<boolean> {
    try {
      await this.#download(file)
      return true
    } catch (error) {
      if (!this.#givingUp || !(error instanceof StateError) || error.code !== 'answers_gone') throw error
      this.#blocked.set(file.id, error.message)
      this.#warn('answers_gone', `the answers of batch ${file.batchId} are gone; its requests are given up`)
      return false
    }
  }

  async #download(file: EndedFile): Promise<void> {
    const { store } = this.#context
    const path = store.path(resultFileName(file.id))
    // A run that was killed in the middle of it may have left a part.
    await removeTemporaries(store.fs, path)
    await withPatience(this.#context, `downloading the results of batch ${file.batchId}`, () =>
      replaceFile(store.fs, path, this.#content(file)),
    )
  }

  /** Output file, then error file, as one; each ends with a line break. */
  async *#content(file: EndedFile): AsyncGenerator<Uint8Array> {
    const newline = Uint8Array.of(10)
    for (const remote of [file.outputFileId, file.errorFileId]) {
      if (remote === undefined) continue
      let last: number | undefined
      for await (const piece of await this.#open(file, remote)) {
        if (this.#context.stop.aborted) throw new Interrupted()
        last = piece.at(-1) ?? last
        yield piece
      }
      if (last !== undefined && last !== newline[0]) yield newline
    }
  }

  async #open(file: EndedFile, remote: string): Promise<AsyncIterable<Uint8Array>> {
    try {
      return await this.#context.api.downloadFile(remote, this.#context.stop)
    } catch (error) {
      if (error instanceof RemoteError && error.status === 404) throw answersGone(file, remote, error)
      throw error
    }
  }

  /** Adds up what all replies in the result file used, whoever they belong to. */
  async #settle(file: EndedFile): Promise<Totals> {
    const { store, clock } = this.#context
    const totals = emptyTotals()
    const query = { model: file.model, api: 'batch', at: clock.now() } as const
    const onReply = (line: WireResultLine) => addReply(totals, line, this.#prices, query)
    const suffix = resultFileName(file.id)
    const { index, oddLines } = await scanResults(store, { id: file.id, suffix }, onReply)
    this.#onScanned(file.id, index)
    if (oddLines > 0)
      this.#warn(
        'odd_lines',
        `batch ${file.batchId}: ${oddLines} result lines belong to no request of it and were set aside`,
      )
    return { ...totals, oddLines }
  }

  async #receive(file: EndedFile, { usage, costNanoUsd, unpriced, oddLines = 0 }: Totals): Promise<void> {
    const { store } = this.#context
    const step: StepOf<'received'> = {
      kind: 'received',
      file: file.id,
      usage,
      costNanoUsd,
      ...(unpriced > 0 && { unpriced }),
      ...(oddLines > 0 && { oddLines }),
      litter: remoteFilesOf(file),
    }
    await store.commit((draft) => {
      draft.apply(step)
      if (hasAnswers(file) && !this.#discarding) draft.name(resultFileName(file.id))
    })
  }

  #warn(code: string, message: string): void {
    this.#context.emit({ kind: 'warning', code, message })
  }
}

interface Totals extends ReplyTotals {
  readonly oddLines?: number
}

const hasAnswers = ({ outputFileId, errorFileId }: EndedFile): boolean =>
  outputFileId !== undefined || errorFileId !== undefined

const remoteFilesOf = ({ inputFileId, outputFileId, errorFileId }: EndedFile): string[] =>
  [inputFileId, outputFileId, errorFileId].filter((id) => id !== undefined)

function answersGone(file: EndedFile, remote: string, cause: RemoteError): StateError {
  const message =
    `file ${remote} with the answers of batch ${file.batchId} is gone from the server (they expire after 30 days, or it was ` +
    `deleted). ${file.live} requests stay pending; to have them sent and paid again, run with --wipe-requests.`
  return new StateError('answers_gone', message, { cause })
}
