import { randomBytes } from 'node:crypto'
import { blockedBy, isLasting } from '../batch/limits.ts'
import type { FileIn, QueueFile } from '../batch/queue-file.ts'
import { nextSubmitAction, type SubmitAction } from '../batch/submit.ts'
import { errorText, RemoteError } from '../errors.ts'
import { assertNever } from '../util/exhaustive.ts'
import type { Context } from './context.ts'
import { queueFileName } from './files.ts'
import { pause, withPatience } from './patience.ts'
import { findBatch, findUpload, TAG_KEY, uploadName } from './remote-search.ts'

/** Batch inputs and outputs are deleted by us; should that never happen, by the server after 30 days. */
const REMOTE_FILE_SECONDS = 30 * 24 * 3600
/** A file is not always visible right after its upload; how long that is waited for. */
const VISIBLE_WITHIN_MS = 60_000
const VISIBLE_PAUSE_MS = 2_000

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
  /** Nothing new is begun; open questions are settled all the same. */
  readonly closing: boolean
  readonly sentBefore: number
}

/** Carries sealed files through the submit protocol (`nextSubmitAction`), one action after another. */
export class Submitter {
  readonly #context: Context
  readonly #closing: boolean
  readonly #sentBefore: number
  readonly #knowledge = new Map<number, Knowledge>()
  readonly #refused = new Map<number, string>()

  constructor(context: Context, { found, closing, sentBefore }: SubmitterOptions) {
    this.#context = context
    this.#closing = closing
    this.#sentBefore = sentBefore
    for (const file of found) this.#learn(file.id, { ...NOTHING_KNOWN, phase: file.phase, resumed: true })
  }

  /** Files the server will not have as they are, and what it said. They stay sealed. */
  get refused(): ReadonlyMap<number, string> {
    return this.#refused
  }

  /** What the protocol asks for now. */
  action(file: QueueFile): SubmitAction {
    const { clock, settings } = this.#context
    const knowledge = this.#known(file)
    return nextSubmitAction(file, {
      ...knowledge,
      mayStart: this.#mayStart(file),
      nowMs: clock.now(),
      graceMs: settings.createGraceMs,
    })
  }

  /** Why a sealed file is not submitted; `lasting` when that will not change in this run. */
  blocked(file: QueueFile): { readonly reasons: readonly string[]; readonly lasting: boolean } {
    const refusal = this.#refused.get(file.id)
    if (refusal !== undefined) return { reasons: [refusal], lasting: true }
    const { store, settings } = this.#context
    const { state } = store.head
    const taskRequests = state.spending.sentRequests
    const sent = { taskRequests, sessionRequests: taskRequests - this.#sentBefore }
    const reasons = blockedBy(file, state.files.values(), sent, settings.limits)
    return { reasons, lasting: reasons.some(isLasting) || settings.limits.maxRemoteBatches === 0 }
  }

  /** Takes a file as far as it gets. Ends quietly when the run is to stop; throws what stops the run. */
  async run(id: number): Promise<void> {
    for (;;) {
      const file = this.#context.store.durable.state.files.get(id)
      if (!file) return
      const action = this.action(file)
      if (action.do === 'nothing' || this.#context.stop.aborted) return
      await this.#act(file, action)
    }
  }

  #mayStart(file: QueueFile): boolean {
    if (this.#closing || this.#context.stop.aborted || this.#context.settings.onlyProcess) return false
    return file.phase !== 'sealed' || this.blocked(file).reasons.length === 0
  }

  async #act(file: QueueFile, action: SubmitAction): Promise<void> {
    switch (action.do) {
      case 'nothing':
        return
      case 'intend':
        return this.#intend(file)
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
    const { store } = this.#context
    const taskId = store.durable.state.identity?.taskId ?? 'task'
    const tag = `${taskId}-${file.id}-${randomBytes(6).toString('hex')}`
    await store.commit((draft) => {
      // Another file may have taken the room since this was decided.
      if (this.blocked(file).reasons.length === 0) draft.apply({ kind: 'intent', file: file.id, tag })
    })
  }

  async #findUpload(file: QueueFile): Promise<void> {
    if (file.phase !== 'intended') return
    const upload = await findUpload(this.#context, file.tag)
    if (!upload) return this.#learn(file.id, { ...this.#known(file), uploadAbsent: true })
    if (upload.bytes !== file.bytes) return this.#abandon(file, 'its upload was cut short', [upload.id])
    await this.#uploaded(file.id, upload.id)
  }

  async #upload(file: QueueFile): Promise<void> {
    if (file.phase !== 'intended') return
    const { api, store, stop } = this.#context
    const request = {
      path: store.path(queueFileName(file.id)),
      name: uploadName(file.tag),
      expiresAfterSeconds: REMOTE_FILE_SECONDS,
    }
    this.#report(file, 'uploading')
    const upload = await this.#orRefuse(file, () =>
      withPatience(this.#context, `uploading batch file ${file.id}`, () =>
        api.uploadBatchFile(request, stop),
      ),
    )
    if (upload) await this.#uploaded(file.id, upload.id)
  }

  async #uploaded(id: number, inputFileId: string): Promise<void> {
    await this.#context.store.commit((draft) => draft.apply({ kind: 'uploaded', file: id, inputFileId }))
    this.#learn(id, { ...NOTHING_KNOWN, phase: 'uploaded' })
  }

  async #create(file: QueueFile): Promise<void> {
    if (file.phase !== 'uploaded') return
    try {
      const batch = await this.#sendCreate(file)
      await this.#created(file, batch.id, false)
    } catch (error) {
      if (!RemoteError.is(error) || !(error instanceof RemoteError)) throw error
      if (error.acted === 'unknown') await this.#doubt(file, error.message)
      else await this.#refuse(file, error)
    }
  }

  /** Sends the create; again only after a definite refusal that time can mend. */
  async #sendCreate(file: FileIn<'uploaded'>) {
    const { api, clock, cut } = this.#context
    const request = {
      inputFileId: file.inputFileId,
      endpoint: file.endpoint,
      metadata: { [TAG_KEY]: file.tag, nightshift_file: String(file.id) },
      outputExpiresAfterSeconds: REMOTE_FILE_SECONDS,
    }
    const begunMs = clock.now()
    for (let failures = 1; ; failures++) {
      try {
        return await api.createBatch(request, cut)
      } catch (error) {
        const pauseFor = this.#pauseBeforeCreate(error, clock.now() - begunMs, failures)
        if (pauseFor === undefined) throw error
        await pause(this.#context, `creating batch ${file.id}: ${errorText(error)}`, pauseFor)
      }
    }
  }

  #pauseBeforeCreate(error: unknown, waitedMs: number, failures: number): number | undefined {
    if (!(error instanceof RemoteError) || error.acted !== 'no') return undefined
    if (error.status === 429 && waitedMs < this.#context.settings.maxWaitMs) {
      return error.retryAfterMs ?? Math.min(60_000, 1_000 * 2 ** failures)
    }
    return isFileNotFound(error) && waitedMs < VISIBLE_WITHIN_MS ? VISIBLE_PAUSE_MS : undefined
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
    const batch = await findBatch(this.#context, file)
    if (batch) await this.#created(file, batch.id, true)
    else this.#learn(file.id, { ...this.#known(file), batchAbsent: true })
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
    await this.#context.store.commit((draft) =>
      draft.apply({ kind: 'abandoned', file: file.id, why, litter }),
    )
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
    await this.#abandon(file, error.message, 'inputFileId' in file ? [file.inputFileId] : [])
    if (error.status === 401 || error.status === 403) throw error
    this.#refused.set(file.id, error.message)
    this.#context.emit({
      kind: 'warning',
      code: 'batch_refused',
      message: `batch ${file.id} was refused: ${error.message}`,
    })
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

const isFileNotFound = (error: RemoteError): boolean =>
  (error.status === 404 || error.status === 400) &&
  /file/i.test(error.message) &&
  /not (be )?(found|exist)|no such|cannot find|does not exist/i.test(error.message)
