import type { HeldBack } from '../batch/limit-text.ts'
import type { FileIn, QueueFile } from '../batch/queue-file.ts'
import { refusalOf } from '../batch/refusals.ts'
import { nextSubmitAction, type SubmitAction } from '../batch/submit.ts'
import { RemoteError } from '../errors.ts'
import type { WireBatch, WireFile } from '../openai/wire.ts'
import { assertNever } from '../util/exhaustive.ts'
import type { AccountGate } from './account-gate.ts'
import { Admission, type AdmissionOptions } from './admission.ts'
import { batchChanged } from './batch-event.ts'
import type { Context } from './context.ts'
import { createBatch } from './create-batch.ts'
import { Intents } from './intents.ts'
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

export interface SubmitterOptions extends AdmissionOptions {
  /** Queue files as they were when the task was opened: of them it is unknown what came after their last commit. */
  readonly found: Iterable<QueueFile>
  /** Passed before a new attempt is begun. */
  readonly gate: AccountGate
  /** Is told of further batches that one attempt led to. */
  readonly onTwin: (batch: WireBatch) => Promise<void>
}

/** Carries sealed files through the submit protocol (`nextSubmitAction`), one action after another. */
export class Submitter {
  readonly #context: Context
  readonly #admission: Admission
  readonly #onTwin: SubmitterOptions['onTwin']
  readonly #uploads: Uploads
  readonly #intents: Intents
  readonly #knowledge = new Map<number, Knowledge>()

  constructor(context: Context, options: SubmitterOptions) {
    const { found, gate, onTwin } = options
    this.#onTwin = onTwin
    this.#context = context
    this.#admission = new Admission(context, options)
    this.#uploads = new Uploads(context)
    this.#intents = new Intents(context, { gate, admission: this.#admission })
    for (const file of found) this.#learn(file.id, { ...NOTHING_KNOWN, phase: file.phase, resumed: true })
  }

  /** Files the server will not have as they are, and what it said. They stay sealed. */
  get refused(): ReadonlyMap<number, string> {
    return this.#admission.refused
  }

  /** Why a sealed file is not submitted; `lasting` when that will not change in this run. */
  blocked(file: QueueFile): ReturnType<Admission['blocked']> {
    return this.#admission.blocked(file)
  }

  /** A sealed file, and the limits in its way. */
  heldBack(file: QueueFile): HeldBack {
    return this.#admission.heldBack(file)
  }

  /** What the protocol asks for now. */
  action(file: QueueFile): SubmitAction {
    const { clock, settings, store } = this.#context
    const knowledge = this.#known(file)
    return nextSubmitAction(file, {
      ...knowledge,
      uploadInDoubt: 'tag' in file && store.durable.state.uploadDoubts.has(file.tag),
      mayStart: this.#admission.mayStart(file),
      mustShrink: this.#admission.mustShrink(file),
      mayCarve: this.#admission.mayCarve(file),
      nowMs: clock.now(),
      graceMs: settings.createGraceMs,
    })
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

  async #act(file: QueueFile, action: SubmitAction): Promise<void> {
    switch (action.do) {
      case 'nothing':
        return
      case 'intend':
        return this.#intents.begin(file)
      case 'requeue':
        return requeueLive(this.#context, file)
      case 'carve':
        return this.#admission.carve(file)
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
      await this.#created(file, batch, false)
    } catch (error) {
      if (!RemoteError.is(error) || !(error instanceof RemoteError)) throw error
      if (error.acted === 'unknown') await this.#doubt(file, error.message)
      else await this.#refuse(file, error)
    }
  }

  async #created(
    file: FileIn<'uploaded' | 'doubtful' | 'fenced'>,
    batch: WireBatch,
    adopted: boolean,
  ): Promise<void> {
    const { inputFileId } = file
    await this.#context.store.commit((draft) =>
      draft.apply({
        kind: 'created',
        file: file.id,
        batchId: batch.id,
        inputFileId,
        ...(adopted && { adopted: true as const }),
      }),
    )
    this.#report(file, 'validating', batch)
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
    await this.#created(file, batch, true)
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

  /** Gives an attempt up: the file is `sealed` again, or, if a person is to see to it, `refused`. */
  async #abandon(file: QueueFile, why: string, litter: string[], as = 'sealed'): Promise<void> {
    const isSealed = await this.#context.store.commit((draft) => {
      // An earlier batch of the file may have been found meanwhile.
      if (draft.state.files.get(file.id)?.phase !== file.phase) return false
      draft.apply({ kind: 'abandoned', file: file.id, why, litter })
      return true
    })
    if ('tag' in file) await this.#context.governor.release(file.tag)
    this.#learn(file.id, { ...NOTHING_KNOWN, phase: 'sealed' })
    if (isSealed) this.#report(file, as)
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
    await this.#abandon(file, why, remnantOf(file), 'refused')
    this.#admission.refuse(file, why)
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

  #report(file: QueueFile, status: string, batch?: WireBatch): void {
    this.#context.emit(batchChanged(file, status, batch))
  }
}

/** What an attempt leaves at the server when it is given up. */
const remnantOf = (file: QueueFile): string[] => ('inputFileId' in file ? [file.inputFileId] : [])
