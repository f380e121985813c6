import { awaitsFiles } from '../batch/batch-end.ts'
import { pollIntervalMs, terminalStatus } from '../batch/polling.ts'
import { listed } from '../batch/remote-marks.ts'
import type { Step, TerminalStatus } from '../batch/steps.ts'
import { isStrayIn, type Stray, type StrayIn } from '../batch/stray.ts'
import {
  type Finding,
  filesAtLarge,
  findingOf,
  noteSteps,
  oldestStrayDate,
  unsettledStrays,
} from '../batch/strays.ts'
import type { TaskState } from '../batch/task-state.ts'
import { NightshiftError, RemoteError } from '../errors.ts'
import { ENDPOINTS, type WireBatch } from '../openai/wire.ts'
import { Absences } from './absences.ts'
import { downloadAnswers, hasAnswers } from './answers-download.ts'
import { cancelBatch } from './cancel-batch.ts'
import type { Context } from './context.ts'
import { strayFileName } from './files.ts'
import { withPatience } from './patience.ts'
import { allBatches } from './remote-search.ts'
import { mostOfSent, mostOfStray } from './reservation.ts'
import { type ResultFile, settle } from './settle.ts'

const isLive = isStrayIn('live')
const isEnded = isStrayIn('ended')

export interface StraysOptions {
  /** Answers are not wanted any more (`--wipe-task`). */
  readonly discarding: boolean
}

/**
 * Finds batches of creates that had been given up. One whose queue file has no other batch becomes that file's batch;
 * any other is cancelled, waited for, and what it answered is taken.
 */
export class Strays {
  readonly #context: Context
  readonly #options: StraysOptions
  /** Queue files of an earlier run that a batch of may have turned up since. */
  #unlooked: ReadonlySet<number>
  /** When each was asked to be cancelled, in this run. */
  readonly #cancelledMs = new Map<string, number>()
  readonly #looks = new Map<string, number>()
  readonly #absences: Absences

  constructor(context: Context, options: StraysOptions) {
    this.#absences = new Absences(context)
    this.#context = context
    this.#options = options
    const { state } = context.store.durable
    this.#unlooked = state.files.size > 0 ? filesAtLarge(state) : new Set()
  }

  /** Something is to be looked for, waited for or taken. */
  get hasWork(): boolean {
    const strays = unsettledStrays(this.#context.store.durable.state)
    return this.#unlooked.size > 0 || strays.some(({ phase }) => phase !== 'received')
  }

  /** An earlier batch of this queue file may have turned up while no process was looking. */
  owesLook(file: number): boolean {
    return this.#unlooked.has(file)
  }

  /** Nothing new is to be made of this queue file: an earlier batch of it has answers to give. */
  holds(file: number): boolean {
    return unsettledStrays(this.#context.store.head.state).some((stray) => stray.file === file)
  }

  /** Takes note of a batch in a listing, when it is one of an attempt that was given up. */
  async note(batch: WireBatch): Promise<void> {
    const { clock, store } = this.#context
    const found = listed(batch)
    const finding = findingOf(store.head.state, found)
    if (finding.kind === 'other') return
    const most = await this.#mostOf(found.id, finding)
    const steps = await store.commit((draft) => {
      const steps = noteSteps(draft.state, found, clock.now())
      for (const step of steps) draft.apply(step)
      const reserve = steps.length > 0 && reserveStep(draft.state, found.id, most)
      if (reserve) draft.apply(reserve)
      return steps
    })
    if (batch.status === 'failed' || !steps.some(({ kind }) => kind === 'stray')) return
    const message = `batch ${batch.id} came of a create that had been given up; it is cancelled, and what it answered is used`
    this.#warn('stray_batch', message)
  }

  /** What has to be set aside for a batch of an attempt for which nothing was: it began when there was no hard cap. */
  async #mostOf(batchId: string, { kind, file: id, tag }: Found): Promise<number | undefined> {
    const { store, settings } = this.#context
    if (settings.limits.maxSpendNanoUsd === undefined) return undefined
    const { atLarge, files } = store.head.state
    const file = files.get(id)
    const attempt = atLarge.get(tag) ?? file
    if (attempt?.reserved) return undefined
    return kind === 'adopt' && file
      ? mostOfSent(this.#context, file)
      : mostOfStray(this.#context, { batchId, file: id })
  }

  /** Looks for strays if that is owed, and carries those that are known to where nothing is left to be waited for. */
  async run(): Promise<void> {
    if (this.#unlooked.size > 0) await this.#look()
    for (;;) {
      const strays = unsettledStrays(this.#context.store.durable.state)
      for (const stray of strays.filter(isEnded)) await this.#collect(stray)
      const live = strays.filter(isLive)
      if (this.#context.stop.aborted || this.#context.pace?.isOver || live.length === 0) return
      await this.#poll(live)
    }
  }

  async #look(): Promise<void> {
    for await (const batch of allBatches(this.#context)) {
      await this.note(batch)
      const oldest = oldestStrayDate(this.#context.store.durable.state)
      if (oldest === undefined || batch.created_at < oldest) break
    }
    this.#unlooked = new Set()
  }

  async #poll(strays: readonly StrayIn<'live'>[]): Promise<void> {
    const { clock, settings, stop, pace } = this.#context
    for (const stray of strays) await this.#retrieve(stray)
    const known = this.#context.store.durable.state.strays
    const live = strays.filter(({ batchId }) => known.get(batchId)?.phase === 'live')
    if (live.length === 0) return
    const ages = live.map(({ batchId }) => clock.now() - (this.#cancelledMs.get(batchId) ?? clock.now()))
    await clock.sleep(
      pollIntervalMs(settings.pollBaseMs, Math.min(...ages)),
      pace ? AbortSignal.any([stop, pace.ended]) : stop,
    )
  }

  async #retrieve(stray: StrayIn<'live'>): Promise<void> {
    const { api, stop } = this.#context
    const { batchId } = stray
    try {
      const batch = await withPatience(this.#context, `polling batch ${batchId}`, () =>
        api.retrieveBatch(batchId, stop),
      )
      await this.#take(stray, batch)
    } catch (error) {
      if (!(error instanceof RemoteError) || error.status !== 404) throw error
      this.#cancelledMs.delete(batchId)
      if (!this.#absences.isLasting(batchId)) return
      const message = `the server does not know the stray batch ${batchId} any more; what was set aside for it is charged`
      this.#warn('stray_gone', message)
      await this.#ended(batchId, 'cancelled', { gone: true })
    }
  }

  async #take({ batchId }: StrayIn<'live'>, batch: WireBatch): Promise<void> {
    this.#absences.end(batchId)
    const status = terminalStatus(batch.status)
    if (!status) return this.#cancel(batchId)
    const looks = this.#looks.get(batchId) ?? 0
    this.#looks.set(batchId, looks + 1)
    const files = { outputFileId: batch.output_file_id, errorFileId: batch.error_file_id }
    if (!awaitsFiles(batch, looks)) await this.#ended(batchId, status, files)
  }

  async #cancel(batchId: string): Promise<void> {
    if (this.#cancelledMs.has(batchId)) return
    await cancelBatch(this.#context, batchId)
    this.#cancelledMs.set(batchId, this.#context.clock.now())
  }

  async #ended(
    batchId: string,
    status: TerminalStatus,
    { outputFileId, errorFileId, gone }: StrayEnd,
  ): Promise<void> {
    await this.#context.store.commit((draft) =>
      draft.apply({
        kind: 'stray-ended',
        batchId,
        status,
        ...(outputFileId && { outputFileId }),
        ...(errorFileId && { errorFileId }),
        ...(gone && { gone }),
      }),
    )
  }

  async #collect(stray: StrayIn<'ended'>): Promise<void> {
    if (this.#options.discarding || !hasAnswers(stray)) return this.settle(stray)
    const { store } = this.#context
    const suffix = strayFileName(stray.file, stray.place)
    try {
      await downloadAnswers(this.#context, stray, store.path(suffix), (remote, cause) =>
        answersGone(stray, remote, cause),
      )
    } catch (error) {
      if (!NightshiftError.is(error) || error.code !== 'answers_gone') throw error
      this.#warn('answers_gone', error.message)
      return this.settle(stray)
    }
    const { totals, rates } = await settle(this.#context, this.#resultFile(stray, suffix))
    const { columns } = totals
    const { maxTokenSafety: safety } = this.#context.settings
    await store.commit((draft) => {
      draft.apply({
        kind: 'stray-received',
        batchId: stray.batchId,
        ...columns,
        ...(columns.unmetered && { safety }),
        rates: rates.map((tier) => ({ ...tier })),
        litter: litterOf(stray, draft.state),
      })
      draft.name(suffix)
    })
  }

  /** Of a queue file that is gone the endpoint is that of the task. */
  #resultFile({ file: id, model = '', pricedAt }: Stray, suffix: string): ResultFile {
    const { state } = this.#context.store.durable
    const known = ENDPOINTS.find((one) => one === state.identity?.endpoint)
    const endpoint = state.files.get(id)?.endpoint ?? known ?? ENDPOINTS[0]
    return { id, suffix, endpoint, model, pricedAt }
  }

  /** Forgets what was received of a stray, after its last answer was given or when nobody waits for any. */
  async settle(stray: Stray): Promise<void> {
    const suffix = strayFileName(stray.file, stray.place)
    await this.#context.store.commit((draft) => {
      const litter = stray.phase === 'ended' ? litterOf(stray, draft.state) : []
      draft.apply({ kind: 'stray-settled', batchId: stray.batchId, litter })
      draft.forget(suffix)
    })
  }

  #warn(code: string, message: string): void {
    this.#context.emit({ kind: 'warning', code, message })
  }
}

interface StrayEnd {
  readonly outputFileId?: string | undefined
  readonly errorFileId?: string | undefined
  readonly gone?: true
}

type Found = Exclude<Finding, { kind: 'other' }>

/** Sets aside what a batch that turned up can cost, unless its attempt brought that with it. */
function reserveStep(
  { files, strays }: TaskState,
  batchId: string,
  most: number | undefined,
): Step | undefined {
  if (most === undefined) return undefined
  const stray = strays.get(batchId)
  if (stray)
    return stray.reserved ? undefined : { kind: 'reserve', file: stray.file, stray: batchId, reserved: most }
  const file = [...files.values()].find((one) => one.phase === 'remote' && one.batchId === batchId)
  return file && !file.reserved ? { kind: 'reserve', file: file.id, reserved: most } : undefined
}

/** Its remote files, but for an input that its queue file's own batch was made of, too. */
function litterOf({ inputFileId, outputFileId, errorFileId }: StrayIn<'ended'>, state: TaskState): string[] {
  const files = [...state.files.values()]
  const isUsed = files.some((file) => 'inputFileId' in file && file.inputFileId === inputFileId)
  return [isUsed ? undefined : inputFileId, outputFileId, errorFileId].filter((id) => id !== undefined)
}

function answersGone({ batchId }: Stray, remote: string, cause: RemoteError): NightshiftError {
  const message = `file ${remote} with the answers of the stray batch ${batchId} is gone from the server: what it cost is not counted`
  return new NightshiftError('answers_gone', message, { cause })
}
