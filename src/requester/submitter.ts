import { randomBytes } from 'node:crypto'
import { budgetOf, roomNanoUsd } from '../batch/budget.ts'
import type { HeldBack } from '../batch/limit-text.ts'
import { excesses, isLasting, type Load } from '../batch/limits.ts'
import type { FileIn, QueueFile } from '../batch/queue-file.ts'
import { refusalOf } from '../batch/refusals.ts'
import { exceedsEnqueued, exceedsLimit } from '../batch/sealing.ts'
import { nextSubmitAction, type SubmitAction } from '../batch/submit.ts'
import type { Spending } from '../batch/task-state.ts'
import { RemoteError } from '../errors.ts'
import type { WireBatch, WireFile } from '../openai/wire.ts'
import { noForecast } from '../tokens/forecast.ts'
import { assertNever } from '../util/exhaustive.ts'
import type { AccountGate } from './account-gate.ts'
import { carve } from './carve.ts'
import type { Context } from './context.ts'
import { createBatch } from './create-batch.ts'
import { EnqueueTurn } from './enqueue-turn.ts'
import { faultsOfQueueFile } from './lint-file.ts'
import { pause, withPatience } from './patience.ts'
import { findBatches } from './remote-search.ts'
import { requeueLive } from './requeue-live.ts'
import { Uploads } from './uploads.ts'

/** What this process did or found about a file in its present phase. */
interface Knowledge {
  readonly phase: QueueFile['phase']
  readonly resumed: boolean
  readonly uploadAbsent: boolean
  readonly batchAbsent: boolean
  readonly graceWaited: boolean
}

const NOTHING_KNOWN = { resumed: false, uploadAbsent: false, batchAbsent: false, graceWaited: false } as const

export interface SubmitterOptions {
  /** Queue files as they were when the task was opened: of them it is unknown what came after their last commit. */
  readonly found: Iterable<QueueFile>
  /** Passed before a new attempt is begun. */
  readonly gate: AccountGate
  /** Nothing new is begun; open questions are settled all the same. */
  readonly closing: boolean
  /** What had been spent when the run began. */
  readonly before: Spending
  /** An earlier batch of this file has answers to give: nothing new is made of it. */
  readonly mustWait: (file: number) => boolean
  /** Is told of further batches that one attempt led to. */
  readonly onTwin: (batch: WireBatch) => Promise<void>
}

/** Carries sealed files through the submit protocol (`nextSubmitAction`), one action after another. */
export class Submitter {
  readonly #context: Context
  readonly #gate: AccountGate
  readonly #closing: boolean
  readonly #before: Spending
  readonly #mustWait: SubmitterOptions['mustWait']
  readonly #onTwin: SubmitterOptions['onTwin']
  readonly #uploads: Uploads
  readonly #turn: EnqueueTurn
  readonly #knowledge = new Map<number, Knowledge>()
  readonly #refused = new Map<number, string>()
  /** Files of which not one request fits into what the hard cap leaves. */
  readonly #uncarvable = new Set<number>()
  #isCarving = false

  constructor(context: Context, options: SubmitterOptions) {
    const { found, gate, closing, before, mustWait, onTwin } = options
    this.#onTwin = onTwin
    this.#context = context
    this.#mustWait = mustWait
    this.#uploads = new Uploads(context)
    this.#turn = new EnqueueTurn(context)
    this.#gate = gate
    this.#closing = closing
    this.#before = before
    for (const file of found) this.#learn(file.id, { ...NOTHING_KNOWN, phase: file.phase, resumed: true })
  }

  /** Files the server will not have as they are, and what it said. They stay sealed. */
  get refused(): ReadonlyMap<number, string> {
    return this.#refused
  }

  /** What the protocol asks for now. */
  action(file: QueueFile): SubmitAction {
    const { clock, settings, store } = this.#context
    const knowledge = this.#known(file)
    return nextSubmitAction(file, {
      ...knowledge,
      uploadInDoubt: 'tag' in file && store.durable.state.uploadDoubts.has(file.tag),
      mayStart: this.#mayStart(file),
      mustShrink: this.#mustShrink(file),
      mayCarve: this.#mayCarve(file),
      nowMs: clock.now(),
      graceMs: settings.createGraceMs,
    })
  }

  /** Why a sealed file is not submitted; `lasting` when that will not change in this run. */
  blocked(file: QueueFile): { readonly reasons: readonly string[]; readonly lasting: boolean } {
    const refusal = this.#refused.get(file.id)
    if (refusal !== undefined) return { reasons: [refusal], lasting: true }
    const { limits } = this.#context.settings
    const reasons = this.heldBack(file).excesses.map(({ reason }) => reason)
    const isWhole = file.live < 2 && file.live === file.requests
    const isSpent =
      reasons.includes('max spend') && this.#isSettled && (isWhole || this.#uncarvable.has(file.id))
    return { reasons, lasting: isSpent || reasons.some(isLasting) || limits.maxRemoteBatches === 0 }
  }

  /** A sealed file, and the limits in its way. */
  heldBack(file: QueueFile): HeldBack {
    const { store, settings } = this.#context
    const allowance = { state: store.head.state, before: this.#before, limits: settings.limits }
    const load = this.#loadOf(file)
    return { load, excesses: excesses(load, allowance) }
  }

  #loadOf({ model, requests, bytes, tokens = noForecast }: QueueFile): Load {
    const { valuer } = this.#context
    return {
      requests,
      bytes,
      tokens: tokens.input,
      nanoUsd: valuer.expectedNanoUsd(tokens, model, 'batch'),
      mostNanoUsd: valuer.mostNanoUsd(tokens, model, 'batch'),
    }
  }

  /** The account may have less enqueued than the file has: smaller files may go, or its only line directly. */
  #mustShrink(file: QueueFile): boolean {
    const { sealing } = this.#context.valuer
    if (sealing.hurried) return this.#isTooLate(file)
    const isLarge = exceedsLimit(file, sealing) || (file.live > 1 && exceedsEnqueued(file, sealing))
    return file.phase === 'sealed' && this.#isAtWork && isLarge
  }

  /** There is no time for a batch of it any more: its lines go one by one. */
  #isTooLate(file: QueueFile): boolean {
    const isWanted = !this.#refused.has(file.id) && !this.#mustWait(file.id)
    return file.phase === 'sealed' && this.#isAtWork && isWanted
  }

  /** The hard cap is all that is in the way, and nothing is under way that could give something back. */
  #mayCarve(file: QueueFile): boolean {
    if (file.phase !== 'sealed' || !this.#isAtWork || this.#mustWait(file.id)) return false
    const { reasons } = this.blocked(file)
    const isSpendAlone = reasons.length === 1 && reasons[0] === 'max spend'
    const isWhole = file.live < 2 && file.live === file.requests
    return (
      isSpendAlone && !isWhole && !this.#uncarvable.has(file.id) && this.#isSettled && this.#isFirst(file)
    )
  }

  /** One file is carved from after another: each is to have the room that is left then. */
  #isFirst({ id }: QueueFile): boolean {
    if (this.#isCarving) return false
    const files = [...this.#context.store.head.state.files.values()]
    return !files.some((file) => file.id !== id && file.phase === 'sealed' && this.#mayStart(file))
  }

  get #isSettled(): boolean {
    return budgetOf(this.#context.store.head.state).reservedNanoUsd === 0
  }

  /** Takes a file as far as it gets. Ends quietly when the run is to stop; throws what stops the run. */
  async run(id: number): Promise<void> {
    for (;;) {
      const file = this.#context.store.durable.state.files.get(id)
      if (!file) return
      const action = this.action(file)
      if (action.do === 'nothing' || this.#context.stop.aborted || this.#context.pace?.isOver) return
      await this.#act(file, action)
    }
  }

  /** New batches may be made at all. */
  get #isAtWork(): boolean {
    return !this.#closing && !this.#context.stop.aborted && !this.#context.settings.onlyProcess
  }

  #mayStart(file: QueueFile): boolean {
    if (!this.#isAtWork) return false
    const isHurried = this.#context.pace?.isHurried ?? false
    if (file.phase !== 'sealed') return !isHurried
    return !isHurried && !this.#mustWait(file.id) && this.blocked(file).reasons.length === 0
  }

  async #act(file: QueueFile, action: SubmitAction): Promise<void> {
    switch (action.do) {
      case 'nothing':
        return
      case 'intend':
        return this.#intend(file)
      case 'requeue':
        return requeueLive(this.#context, file)
      case 'carve':
        return this.#carve(file)
      case 'doubt-upload':
        return this.#doubtUpload(file)
      case 'find-upload':
        return this.#findUpload(file)
      case 'upload':
        return this.#upload(file)
      case 'create':
        return this.#create(file)
      case 'find-batch':
        return this.#findBatch(file)
      case 'delete-input':
        return this.#deleteInput(file)
      case 'wait':
        return this.#waitForGrace(file, action.untilMs)
      case 'abandon':
        return this.#abandon(file, 'no batch came of it', [])
      default:
        return assertNever(action)
    }
  }

  async #waitForGrace(file: QueueFile, untilMs: number): Promise<void> {
    const why = `making sure that no batch of file ${file.id} turns up`
    await pause(this.#context, why, untilMs - this.#context.clock.now())
    this.#learn(file.id, { ...this.#known(file), graceWaited: true })
  }

  async #intend(file: QueueFile): Promise<void> {
    await this.#gate.pass()
    const taskId = this.#context.store.durable.state.identity?.taskId ?? 'task'
    const tag = `${taskId}-${file.id}-${randomBytes(6).toString('hex')}`
    if (!(await this.#turn.take(file, tag, () => this.#mustShrink(file)))) return
    let isMade = false
    try {
      isMade = await this.#commitIntent(file, tag)
    } finally {
      if (!isMade) await this.#context.governor.release(tag)
    }
  }

  /** False when nothing came of it after all. */
  #commitIntent(file: QueueFile, tag: string): Promise<boolean> {
    const { clock, settings, store, stop } = this.#context
    return store.commit((draft) => {
      if (stop.aborted) return false
      // Another file may have taken the room since this was decided, or an earlier batch of this one turned up, or has
      // answered some of its lines.
      const now = draft.state.files.get(file.id)
      const isWhole = now?.phase === 'sealed' && now.live === now.requests
      if (!isWhole || this.#mustWait(file.id) || this.blocked(file).reasons.length > 0) return false
      const { nanoUsd: expectedNanoUsd, mostNanoUsd: reserved } = this.#loadOf(file)
      const hasCap = settings.limits.maxSpendNanoUsd !== undefined
      const money = { expectedNanoUsd, ...(hasCap && reserved !== undefined && { reserved }) }
      draft.apply({ kind: 'intent', file: file.id, tag, at: clock.now(), ...money })
      return true
    })
  }

  async #carve(file: QueueFile): Promise<void> {
    const { store, settings } = this.#context
    const left = roomNanoUsd(store.head.state, settings.limits.maxSpendNanoUsd)
    this.#isCarving = true
    try {
      if (!(await carve(this.#context, file, left))) this.#uncarvable.add(file.id)
    } finally {
      this.#isCarving = false
    }
  }

  /** An earlier process ended in the middle of an upload, or before it. */
  async #doubtUpload(file: QueueFile): Promise<void> {
    if (file.phase !== 'intended') return
    await this.#uploads.doubt(file.tag, 'the process ended')
    this.#learn(file.id, { ...NOTHING_KNOWN, phase: 'intended' })
  }

  async #findUpload(file: QueueFile): Promise<void> {
    if (file.phase !== 'intended') return
    const upload = await this.#uploads.find(file)
    if (upload) await this.#uploaded(file, upload)
    else this.#learn(file.id, { ...this.#known(file), uploadAbsent: true })
  }

  async #upload(file: QueueFile): Promise<void> {
    if (file.phase !== 'intended') return
    const faults = await faultsOfQueueFile(this.#context, file)
    if (faults !== undefined) return this.#leave(file, 'batch_damaged', faults)
    this.#report(file, 'uploading')
    const upload = await this.#orRefuse(file, () => this.#uploads.send(file))
    if (upload) await this.#uploaded(file, upload)
    else this.#learn(file.id, { ...NOTHING_KNOWN, phase: 'intended' })
  }

  async #uploaded({ id, tag }: FileIn<'intended'>, upload: WireFile): Promise<void> {
    const inputFileId = upload.id
    const since = upload.created_at ?? undefined
    await this.#context.store.commit((draft) => {
      const file = draft.state.files.get(id)
      // An earlier batch of the file may have been found meanwhile: then nothing more is made of this upload.
      if (file?.phase !== 'intended' || file.tag !== tag)
        draft.apply({ kind: 'swept', tags: [], litter: [inputFileId] })
      else draft.apply({ kind: 'uploaded', file: id, inputFileId, ...(since !== undefined && { since }) })
    })
    this.#learn(id, { ...NOTHING_KNOWN, phase: 'uploaded' })
  }

  async #create(file: QueueFile): Promise<void> {
    if (file.phase !== 'uploaded') return
    try {
      const giveUp = (why: string) => this.#abandon(file, why, [file.inputFileId])
      const batch = await createBatch(this.#context, file, giveUp)
      await this.#created(file, batch.id, false)
    } catch (error) {
      if (!RemoteError.is(error) || !(error instanceof RemoteError)) throw error
      if (error.acted === 'unknown') await this.#doubt(file, error.message)
      else await this.#refuse(file, error)
    }
  }

  async #created(
    file: FileIn<'uploaded' | 'doubtful' | 'fenced'>,
    batchId: string,
    adopted: boolean,
  ): Promise<void> {
    const { inputFileId } = file
    await this.#context.store.commit((draft) =>
      draft.apply({
        kind: 'created',
        file: file.id,
        batchId,
        inputFileId,
        ...(adopted && { adopted: true as const }),
      }),
    )
    this.#report(file, 'validating', batchId)
  }

  async #doubt(file: QueueFile, why: string): Promise<void> {
    await this.#context.store.commit((draft) => draft.apply({ kind: 'doubt', file: file.id, why }))
    this.#learn(file.id, { ...NOTHING_KNOWN, phase: 'doubtful' })
    const message = `whether batch ${file.id} was created is unknown (${why}); looking for it before anything is sent again`
    this.#context.emit({ kind: 'warning', code: 'create_in_doubt', message })
  }

  async #findBatch(file: QueueFile): Promise<void> {
    if (file.phase !== 'uploaded' && file.phase !== 'doubtful' && file.phase !== 'fenced') return
    const found = await findBatches(this.#context, file)
    // A failed batch of a fenced file most likely missed its input. It did nothing, and is no batch to wait for.
    const wanted = found.filter(({ status }) => file.phase !== 'fenced' || status !== 'failed')
    const batch = wanted.find(({ status }) => status !== 'failed') ?? wanted[0]
    if (!batch) return this.#learn(file.id, { ...this.#known(file), batchAbsent: true })
    await this.#created(file, batch.id, true)
    for (const twin of found) if (twin !== batch) await this.#onTwin(twin)
  }

  /** A create that is still under way somewhere cannot succeed without its input file. */
  async #deleteInput(file: QueueFile): Promise<void> {
    if (file.phase !== 'uploaded' && file.phase !== 'doubtful') return
    const { api, clock, store, stop } = this.#context
    await withPatience(this.#context, `deleting input file ${file.inputFileId}`, () =>
      api.deleteFile(file.inputFileId, stop),
    )
    await store.commit((draft) => draft.apply({ kind: 'fenced', file: file.id, at: clock.now() }))
    this.#learn(file.id, { ...NOTHING_KNOWN, phase: 'fenced' })
  }

  async #abandon(file: QueueFile, why: string, litter: string[]): Promise<void> {
    await this.#context.store.commit((draft) => {
      // An earlier batch of the file may have been found meanwhile.
      if (draft.state.files.get(file.id)?.phase === file.phase)
        draft.apply({ kind: 'abandoned', file: file.id, why, litter })
    })
    if ('tag' in file) await this.#context.governor.release(file.tag)
    this.#learn(file.id, { ...NOTHING_KNOWN, phase: 'sealed' })
  }

  async #orRefuse<Result>(file: QueueFile, call: () => Promise<Result>): Promise<Result | undefined> {
    try {
      return await call()
    } catch (error) {
      if (!(error instanceof RemoteError) || error.acted !== 'no') throw error
      await this.#refuse(file, error)
      return undefined
    }
  }

  /** A definite no: nothing was created. A wrong key stops the run; anything else leaves this file for a person. */
  async #refuse(file: QueueFile, error: RemoteError): Promise<void> {
    const isKey =
      refusalOf({ status: error.status, code: error.remoteCode, message: error.message }) === 'key'
    if (!isKey) return this.#leave(file, 'batch_refused', error.message)
    await this.#abandon(file, error.message, remnantOf(file))
    throw error
  }

  /** Gives up on a file in this run: it stays sealed until a person has seen to it. */
  async #leave(file: QueueFile, code: 'batch_refused' | 'batch_damaged', why: string): Promise<void> {
    await this.#abandon(file, why, remnantOf(file))
    this.#refused.set(file.id, why)
    const what = code === 'batch_refused' ? 'was refused' : 'cannot be sent'
    this.#context.emit({ kind: 'warning', code, message: `batch ${file.id} ${what}: ${why}` })
  }

  #known(file: QueueFile): Knowledge {
    const known = this.#knowledge.get(file.id)
    return known?.phase === file.phase ? known : { ...NOTHING_KNOWN, phase: file.phase }
  }

  #learn(id: number, knowledge: Knowledge): void {
    this.#knowledge.set(id, knowledge)
  }

  #report(file: QueueFile, status: string, remoteId?: string): void {
    const { id, model, requests } = file
    this.#context.emit({
      kind: 'batch-changed',
      file: id,
      status,
      model,
      requests,
      ...(remoteId && { remoteId }),
    })
  }
}

/** What an attempt leaves at the server when it is given up. */
const remnantOf = (file: QueueFile): string[] => ('inputFileId' in file ? [file.inputFileId] : [])
