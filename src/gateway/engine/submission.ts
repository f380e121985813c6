import { REMOTE_FILE_SECONDS, TAG_KEY, uploadName } from '../../batch/remote-marks.ts'
import type { SubmitAction } from '../../batch/submit.ts'
import { RemoteError } from '../../errors.ts'
import type { WireBatch, WireFile } from '../../openai/wire.ts'
import { assertNever } from '../../util/exhaustive.ts'
import { batchLine } from '../body/line.ts'
import type { GatewayBatch } from '../domain/batch.ts'
import { abandoned, freshAttempt, newTag, remoteFilesOf, retiredTag } from './attempt.ts'
import type { Claim } from './claims.ts'
import type { EngineContext } from './context.ts'
import { createOnce } from './create-once.ts'
import type { Next, Tried } from './next.ts'
import { findBatches, findUploads } from './remote-search.ts'
import { remoteText } from './remote-text.ts'
import type { SpoolFile } from './spool.ts'
import { freshKnowledge, type Knowledge, submitAction } from './submit-facts.ts'
import type { Unsent } from './unsent.ts'

/** Whoever waits for room asks at least so often, or loses its place in line. */
const ROOM_PAUSE_MS = 60_000

/** Carries one claimed batch through the submit protocol, one remote call and one commit at a time. */
export class Submission {
  readonly #context: EngineContext
  readonly #claim: Claim
  readonly #unsent: Unsent
  #knowledge: Knowledge

  constructor(context: EngineContext, claim: Claim, unsent: Unsent) {
    this.#context = context
    this.#claim = claim
    this.#unsent = unsent
    this.#knowledge = freshKnowledge(claim.batch, claim.epoch)
  }

  /** Does what the protocol asks for now. Throws `ClaimLost`. */
  async step(): Promise<Next> {
    const { time, settings, enqueued } = this.#context
    const { phase, cancel, model } = this.#batch
    if (this.#knowledge.phase !== phase) this.#knowledge = freshKnowledge(this.#batch, this.#claim.epoch)
    const action = submitAction(this.#batch, {
      knowledge: this.#knowledge,
      nowMs: time.now(),
      graceMs: settings.createGraceMs,
      cap: enqueued.capOf(model),
    })
    if (cancel !== undefined && phase === 'sealed') return this.#unsent.withdraw(this.#claim)
    if (cancel !== undefined && action.do === 'create') return this.#abandon('it was cancelled')
    return this.#act(action)
  }

  async #act(action: SubmitAction): Promise<Next> {
    switch (action.do) {
      case 'intend':
        return this.#intend()
      case 'requeue':
        return this.#unsent.putBack(this.#claim)
      case 'doubt-upload':
        return this.#doubtUpload()
      case 'find-upload':
        return this.#findUpload()
      case 'upload':
        return this.#upload()
      case 'create':
        return this.#create()
      case 'find-batch':
        return this.#findBatch()
      case 'delete-input':
        return this.#deleteInput()
      case 'wait':
        return this.#waitForGrace(action.untilMs)
      case 'abandon':
        return this.#abandon('no batch came of it', [])
      case 'nothing':
      case 'carve':
        return { atMs: this.#context.time.now() + ROOM_PAUSE_MS }
      default:
        return assertNever(action)
    }
  }

  async #intend(): Promise<Next> {
    const { enqueued, time, api } = this.#context
    const tag = newTag(api.fingerprint)
    const room = await enqueued.take(this.#batch, tag)
    if (room.ok) {
      await this.#claim.change(freshAttempt(tag))
      return 'on'
    }
    const note = `waits for room: of ${room.limit} tokens that ${this.#batch.model} may have enqueued, ${room.reserved} are taken`
    if (this.#batch.note !== note) await this.#claim.change({ note })
    return { atMs: time.now() + ROOM_PAUSE_MS }
  }

  /** An earlier process ended in the middle of an upload, or before it. */
  async #doubtUpload(): Promise<Next> {
    await this.#claim.change({ uploadInDoubt: true })
    this.#learn({ resumed: false })
    return 'on'
  }

  /** The upload of this tag, whole, if there is one; others of the tag are of no use. */
  async #findUpload(): Promise<Next> {
    const { api, spool } = this.#context
    const file = await this.#spoolLines()
    await spool.remove(file.path)
    const search = await this.#orLater('looking for an upload', () =>
      findUploads(api, [this.#tag], this.#patient),
    )
    if (!search.ok) return search.next
    const whole = search.result.find(({ bytes }) => bytes === file.bytes)
    const litter = search.result.filter((one) => one !== whole).map(({ id }) => id)
    if (whole) return this.#uploaded(whole, litter)
    if (litter.length > 0) await this.#claim.change({ litter })
    this.#learn({ uploadAbsent: true })
    return 'on'
  }

  async #upload(): Promise<Next> {
    const file = await this.#spoolLines()
    try {
      if (file.lines === 0) return await this.#abandon('nobody waits for it any more')
      return await this.#send(file)
    } finally {
      await this.#context.spool.remove(file.path)
    }
  }

  async #send({ path }: SpoolFile): Promise<Next> {
    const name = uploadName(this.#tag)
    try {
      const request = { path, name, expiresAfterSeconds: REMOTE_FILE_SECONDS }
      return await this.#uploaded(await this.#context.api.uploadBatchFile(request, this.#hard), [])
    } catch (error) {
      if (!(error instanceof RemoteError)) throw error
      if (error.acted === 'no') return this.#refused(error)
      await this.#claim.change({ uploadInDoubt: true })
      return this.#later('uploading', error)
    }
  }

  /** Only lines whose requests still wait: others have ended since. */
  #spoolLines(): Promise<SpoolFile> {
    const { store, spool } = this.#context
    const { number, endpoint } = this.#batch
    const lines = async function* (): AsyncGenerator<string> {
      for await (const { id, bodyText } of store.lines(number)) yield batchLine({ id, endpoint, bodyText })
    }
    return spool.write(lines())
  }

  async #uploaded({ id, created_at }: WireFile, litter: readonly string[]): Promise<Next> {
    const since = created_at ?? undefined
    await this.#claim.change({
      phase: 'uploaded',
      inputFileId: id,
      since,
      ...(litter.length > 0 && { litter }),
    })
    return 'on'
  }

  async #create(): Promise<Next> {
    const { endpoint, number, inputFileId = '' } = this.#batch
    const creation = await createOnce(this.#context, this.#claim, {
      inputFileId,
      endpoint,
      metadata: { [TAG_KEY]: this.#tag, nightshift_batch: String(number) },
      outputExpiresAfterSeconds: REMOTE_FILE_SECONDS,
    })
    switch (creation.kind) {
      case 'created':
        return this.#created(creation.batch, { adopted: false, hasTwins: false })
      case 'doubtful':
        return this.#doubt(creation.error)
      case 'refused':
        return this.#refused(creation.error)
      case 'stopped':
        return this.#abandon(creation.error.message)
      default:
        return assertNever(creation)
    }
  }

  async #created(batch: WireBatch, { adopted, hasTwins }: Found): Promise<Next> {
    const { time, settings, log } = this.#context
    const { id, status, input_file_id: inputFileId } = batch
    const { number, live } = this.#batch
    await this.#claim.change({
      phase: 'remote',
      batchId: id,
      inputFileId,
      adopted,
      status,
      remote: remoteText(batch),
      looks: 0,
      note: undefined,
      // What the attempt led to beside it is a stray.
      ...(hasTwins && { retire: retiredTag(this.#batch) }),
    })
    log.info('batch_created', { batch: number, remote: id, requests: live, adopted })
    return { atMs: time.now() + settings.pollMinMs }
  }

  async #doubt({ message }: RemoteError): Promise<Next> {
    await this.#claim.change({ phase: 'doubtful', note: message })
    this.#context.log.warn('create_in_doubt', { batch: this.#batch.number, reason: message })
    return 'on'
  }

  async #findBatch(): Promise<Next> {
    const { inputFileId = '', phase } = this.#batch
    const attempt = { tag: this.#tag, inputFileId }
    const search = await this.#orLater('looking for a batch', () =>
      findBatches(this.#context.api, attempt, this.#patient),
    )
    if (!search.ok) return search.next
    // A failed batch of a fenced one most likely missed its input. It did nothing, and is no batch to wait for.
    const wanted = search.result.filter(({ status }) => phase !== 'fenced' || status !== 'failed')
    const batch = wanted.find(({ status }) => status !== 'failed') ?? wanted[0]
    if (batch) return this.#created(batch, { adopted: true, hasTwins: search.result.length > 1 })
    this.#learn({ batchAbsent: true })
    return 'on'
  }

  /** A create that is still under way somewhere cannot succeed without its input file. */
  async #deleteInput(): Promise<Next> {
    const { api, time } = this.#context
    const { inputFileId } = this.#batch
    if (inputFileId !== undefined) {
      const deletion = await this.#orLater('deleting an input file', () =>
        api.deleteFile(inputFileId, this.#patient),
      )
      if (!deletion.ok) return deletion.next
    }
    await this.#claim.change({ phase: 'fenced', fencedAt: time.now() })
    return 'on'
  }

  async #waitForGrace(untilMs: number): Promise<Next> {
    const now = this.#context.time.now()
    // With a clock that was set back the grace is waited for once more, in whole.
    if ((this.#batch.fencedAt ?? 0) > now) await this.#claim.change({ fencedAt: now })
    return { atMs: untilMs }
  }

  async #abandon(why: string, litter = remoteFilesOf(this.#batch)): Promise<Next> {
    const { model, tag } = this.#batch
    await this.#claim.change({ ...abandoned(this.#batch, why), ...(litter.length > 0 && { litter }) })
    await this.#unsent.freeRoom(model, tag)
    return 'on'
  }

  /** A definite no of the server: nothing was made. */
  async #refused(error: RemoteError): Promise<Next> {
    const { number, status } = { number: this.#batch.number, status: error.status }
    this.#context.log.error('batch_refused', { batch: number, status, reason: error.message })
    await this.#abandon(error.message)
    return this.#unsent.refused(this.#claim, error)
  }

  /** Makes a call that may be repeated. */
  async #orLater<Result>(what: string, call: () => Promise<Result>): Promise<Tried<Result>> {
    try {
      const result = await call()
      this.#context.troubles.over(this.#batch.number)
      return { ok: true, result }
    } catch (error) {
      if (!(error instanceof RemoteError)) throw error
      return { ok: false, next: await this.#later(what, error) }
    }
  }

  async #later(what: string, error: RemoteError): Promise<Next> {
    const { stop, log, time, troubles } = this.#context
    if (stop.aborted) return { atMs: time.now() }
    const { number } = this.#batch
    const note = `${what}: ${error.message}`
    if (note !== this.#batch.note) await this.#claim.change({ note })
    log.warn('upstream_trouble', { batch: number, what, reason: error.message })
    return { atMs: time.now() + troubles.more(number, error.retryAfterMs) }
  }

  #learn(news: Partial<Knowledge>): void {
    this.#knowledge = { ...this.#knowledge, ...news }
  }

  get #batch(): GatewayBatch {
    return this.#claim.batch
  }

  get #tag(): string {
    return this.#batch.tag ?? ''
  }

  /** Ends searches and waits, which can be begun again. */
  get #patient(): AbortSignal {
    return AbortSignal.any([this.#context.stop, this.#claim.lost])
  }

  /** Ends calls that leave doubt behind when they are broken off. */
  get #hard(): AbortSignal {
    return AbortSignal.any([this.#context.cut, this.#claim.lost])
  }
}

interface Found {
  readonly adopted: boolean
  readonly hasTwins: boolean
}
