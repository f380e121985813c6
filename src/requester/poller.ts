import { awaitsFiles, faultsOf } from '../batch/batch-end.ts'
import { LIST_PAGE, pollIntervalMs, pollMethod, terminalStatus } from '../batch/polling.ts'
import { batchName, type FileIn, inPhase } from '../batch/queue-file.ts'
import type { Step } from '../batch/steps.ts'
import { oldestStrayDate } from '../batch/strays.ts'
import { NightshiftError, RemoteError } from '../errors.ts'
import type { WireBatch } from '../openai/wire.ts'
import { readUsage, type TokenUsage } from '../tokens/usage.ts'
import { Absences } from './absences.ts'
import { batchChanged, tookMs } from './batch-event.ts'
import { cancelBatch } from './cancel-batch.ts'
import type { Context } from './context.ts'
import { requestCounts } from './context.ts'
import { claimOf } from './governor.ts'
import { withPatience } from './patience.ts'
import { allBatches } from './remote-search.ts'

type RemoteFile = FileIn<'remote'>
const isPolled = inPhase('remote')

export interface PollerOptions {
  /** Batches are of no more use: ask the server to stop working on them. */
  readonly cancelling: boolean
  /** Sees every listed batch that is not being waited for. */
  readonly onOther: (batch: WireBatch) => Promise<void>
}

/** Watches remote batches with as few calls as possible and commits what becomes of them. */
export class Poller {
  readonly #context: Context
  readonly #cancelling: boolean
  readonly #onOther: PollerOptions['onOther']
  readonly #cancelled = new Set<string>()
  readonly #since = new Map<string, number>()
  readonly #looks = new Map<string, number>()
  readonly #absences: Absences
  #lastListPages: number | undefined
  /** What there was at the deadline has been seen. */
  #lookedLast = false
  /** Batches of an earlier run may have ended long ago; one that was just created is first given some time. */
  #dueNow: boolean

  constructor(context: Context, { cancelling, onOther }: PollerOptions) {
    this.#context = context
    this.#absences = new Absences(context)
    this.#cancelling = cancelling
    this.#onOther = onOther
    this.#dueNow = this.#remoteFiles().length > 0
  }

  /** Polls until no batch is left that could change. */
  async run(): Promise<void> {
    const { stop } = this.#context
    for (;;) {
      const files = this.#remoteFiles()
      if (files.length === 0 || stop.aborted || !this.mayLook) return
      if (!this.#dueNow) await this.#wait(files)
      if (stop.aborted) return
      this.#dueNow = false
      this.#lookedLast = this.#context.pace?.isOver ?? false
      await this.#poll(this.#remoteFiles())
    }
  }

  /** After a deadline one last look is taken. */
  get mayLook(): boolean {
    return !this.#lookedLast
  }

  #remoteFiles(): RemoteFile[] {
    return [...this.#context.store.durable.state.files.values()].filter(isPolled)
  }

  async #wait(files: readonly RemoteFile[]): Promise<void> {
    const { clock, stop, emit, store, pace } = this.#context
    const ms = this.#intervalMs(files)
    emit({
      kind: 'waiting',
      reason: 'remote batches',
      untilMs: clock.now() + ms,
      counts: requestCounts(store.durable.state),
    })
    await clock.sleep(ms, pace ? AbortSignal.any([stop, pace.ended]) : stop)
  }

  #intervalMs(files: readonly RemoteFile[]): number {
    const now = this.#context.clock.now()
    for (const { batchId } of files) if (!this.#since.has(batchId)) this.#since.set(batchId, now)
    const youngest = Math.min(...files.map(({ batchId }) => now - (this.#since.get(batchId) ?? now)))
    return pollIntervalMs(this.#context.settings.pollBaseMs, youngest)
  }

  async #poll(files: readonly RemoteFile[]): Promise<void> {
    if (this.#cancelling) for (const file of files) await this.#cancel(file)
    const { atLarge } = this.#context.store.durable.state
    const facts = { outstanding: files.length, lastListPages: this.#lastListPages }
    // Only a listing shows a batch of an attempt that was given up.
    const method = atLarge.size > 0 ? 'list' : pollMethod(facts)
    if (method === 'list') await this.#pollByList(files)
    else for (const file of files) await this.#retrieve(file)
  }

  async #cancel(file: RemoteFile): Promise<void> {
    if (this.#cancelled.has(file.batchId)) return
    this.#cancelled.add(file.batchId)
    await cancelBatch(this.#context, file.batchId)
  }

  /** One pass over the listing, no further than the last batch that is wanted or could be a stray. */
  async #pollByList(files: readonly RemoteFile[]): Promise<void> {
    const { store } = this.#context
    const wanted = new Map(files.map((file) => [file.batchId, file]))
    let seen = 0
    for await (const batch of allBatches(this.#context)) {
      seen++
      const file = wanted.get(batch.id)
      wanted.delete(batch.id)
      await (file ? this.#take(file, batch) : this.#onOther(batch))
      const oldest = oldestStrayDate(store.durable.state)
      if (wanted.size === 0 && (oldest === undefined || batch.created_at < oldest)) break
    }
    this.#lastListPages = Math.ceil(seen / LIST_PAGE)
    for (const file of wanted.values()) await this.#retrieve(file)
  }

  async #retrieve(file: RemoteFile): Promise<void> {
    const { api, stop } = this.#context
    try {
      await this.#take(
        file,
        await withPatience(this.#context, `polling ${batchName(file)}`, () =>
          api.retrieveBatch(file.batchId, stop),
        ),
      )
    } catch (error) {
      if (!(error instanceof RemoteError) || error.status !== 404) throw error
      // It has not heard that it is to be cancelled, either.
      this.#cancelled.delete(file.batchId)
      if (!this.#absences.isLasting(file.batchId)) return
      if (!this.#cancelling) throw batchGone(file, error)
      await this.#commit({ kind: 'ended', file: file.id, status: 'cancelled', gone: true })
      await this.#context.governor.ended(claimOf(file, file.tag), 'cancelled')
    }
  }

  async #take(file: RemoteFile, batch: WireBatch): Promise<void> {
    this.#absences.end(file.batchId)
    this.#context.emit(batchChanged(file, batch.status, batch))
    this.#context.pace?.progressed(file.id, progressOf(batch))
    const status = terminalStatus(batch.status)
    const { governor } = this.#context
    const claim = claimOf(file, file.tag)
    if (!status) {
      await governor.confirm(claim)
      if (batch.status !== 'validating') await governor.letIn(claim)
      if (batch.status !== file.status)
        await this.#commit({ kind: 'remote', file: file.id, status: batch.status })
      return
    }
    const { output_file_id: outputFileId, error_file_id: errorFileId } = batch
    const looks = this.#looks.get(batch.id) ?? 0
    this.#looks.set(batch.id, looks + 1)
    if (awaitsFiles(batch, looks)) return
    const took = tookMs(batch)
    const faults = faultsOf(batch)
    await this.#commit({
      kind: 'ended',
      file: file.id,
      status,
      ...(outputFileId && { outputFileId }),
      ...(errorFileId && { errorFileId }),
      ...(faults.length > 0 && { faults: [...faults] }),
      ...countOf(batch),
      ...(took !== undefined && { tookMs: took }),
    })
    this.#context.pace?.note()
    await governor.ended(claim, status)
  }

  async #commit(step: Step): Promise<void> {
    await this.#context.store.commit((draft) => draft.apply(step))
  }
}

const progressOf = ({ created_at, request_counts: counts }: WireBatch) => ({
  sinceMs: created_at * 1000,
  completed: counts ? counts.completed + counts.failed : 0,
})

/** The server's count of the whole batch. Zeros beside good answers are those of a server that does not count. */
function countOf({ usage: block, request_counts: counts }: WireBatch): { usage?: TokenUsage } {
  const usage = readUsage(block)
  const isCounted = usage && (usage.input > 0 || usage.output > 0 || counts?.completed === 0)
  return isCounted ? { usage } : {}
}

function batchGone(file: RemoteFile, cause: RemoteError): NightshiftError {
  const message =
    `the server does not know ${batchName(file)}, which has ${file.live} requests. Is this the account it was created ` +
    'with? Use that key, or give these requests up with --wipe-requests.'
  return new NightshiftError('batch_gone', message, { cause })
}
