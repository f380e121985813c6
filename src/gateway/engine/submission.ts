import { REMOTE_FILE_SECONDS, TAG_KEY } from '../../batch/remote-marks.ts'
import type { SubmitAction } from '../../batch/submit.ts'
import type { RemoteError } from '../../errors.ts'
import type { WireBatch } from '../../openai/wire.ts'
import { assertNever } from '../../util/exhaustive.ts'
import { freshAttempt, newTag, retiredTag } from './attempt.ts'
import { AttemptSteps } from './attempt-steps.ts'
import type { Claim } from './claims.ts'
import type { EngineContext } from './context.ts'
import { createOnce } from './create-once.ts'
import type { Next } from './next.ts'
import { findBatches } from './remote-search.ts'
import { remoteText } from './remote-text.ts'
import { freshKnowledge, type Knowledge, submitAction } from './submit-facts.ts'
import type { Unsent } from './unsent.ts'
import { Uploading } from './uploading.ts'

/** Whoever waits for room asks at least so often, or loses its place in line. */
const ROOM_PAUSE_MS = 60_000

/** Carries one claimed batch through the submit protocol, one remote call and one commit at a time. */
export class Submission {
  readonly #context: EngineContext
  readonly #claim: Claim
  readonly #unsent: Unsent
  readonly #steps: AttemptSteps
  readonly #uploading: Uploading
  #knowledge: Knowledge

  constructor(context: EngineContext, claim: Claim, unsent: Unsent) {
    this.#context = context
    this.#claim = claim
    this.#unsent = unsent
    this.#steps = new AttemptSteps(context, claim, unsent)
    this.#uploading = new Uploading(this.#steps)
    this.#knowledge = freshKnowledge(claim.batch, claim.epoch)
  }

  /** Does what the protocol asks for now. Throws `ClaimLost`. */
  async step(): Promise<Next> {
    const { time, settings, enqueued } = this.#context
    const { batch, epoch } = this.#claim
    const { phase, cancel, model } = batch
    if (this.#knowledge.phase !== phase) this.#knowledge = freshKnowledge(batch, epoch)
    const action = submitAction(batch, {
      knowledge: this.#knowledge,
      nowMs: time.now(),
      graceMs: settings.createGraceMs,
      cap: enqueued.capOf(model),
    })
    if (cancel !== undefined && phase === 'sealed') return this.#unsent.withdraw(this.#claim)
    if (cancel !== undefined && action.do === 'create') return this.#steps.abandon('it was cancelled')
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
        return (await this.#uploading.find()) ?? this.#learn({ uploadAbsent: true })
      case 'upload':
        return this.#uploading.send()
      case 'create':
        return this.#create()
      case 'find-batch':
        return this.#findBatch()
      case 'delete-input':
        return this.#deleteInput()
      case 'wait':
        return this.#waitForGrace(action.untilMs)
      case 'abandon':
        return this.#steps.abandon('no batch came of it', [])
      case 'nothing':
      case 'carve':
        return { atMs: this.#context.time.now() + ROOM_PAUSE_MS }
      default:
        return assertNever(action)
    }
  }

  async #intend(): Promise<Next> {
    const { enqueued, time, api } = this.#context
    const { batch } = this.#claim
    const tag = newTag(api.fingerprint)
    const room = await enqueued.take(batch, tag)
    if (room.ok) {
      await this.#claim.change(freshAttempt(tag))
      return 'on'
    }
    const note = `waits for room: of ${room.limit} tokens that ${batch.model} may have enqueued, ${room.reserved} are taken`
    if (batch.note !== note) await this.#claim.change({ note })
    return { atMs: time.now() + ROOM_PAUSE_MS }
  }

  /** An earlier process ended in the middle of an upload, or before it. */
  async #doubtUpload(): Promise<Next> {
    await this.#claim.change({ uploadInDoubt: true })
    return this.#learn({ resumed: false })
  }

  async #create(): Promise<Next> {
    const { endpoint, number, inputFileId = '' } = this.#claim.batch
    const creation = await createOnce(this.#context, this.#claim, {
      inputFileId,
      endpoint,
      metadata: { [TAG_KEY]: this.#steps.tag, nightshift_batch: String(number) },
      outputExpiresAfterSeconds: REMOTE_FILE_SECONDS,
    })
    switch (creation.kind) {
      case 'created':
        return this.#created(creation.batch, { adopted: false, hasTwins: false })
      case 'doubtful':
        return this.#doubt(creation.error)
      case 'refused':
        return this.#steps.refused(creation.error)
      case 'stopped':
        return this.#steps.abandon(creation.error.message)
      default:
        return assertNever(creation)
    }
  }

  async #created(batch: WireBatch, { adopted, hasTwins }: Found): Promise<Next> {
    const { time, settings, log } = this.#context
    const { id, status, input_file_id: inputFileId } = batch
    const { number, live } = this.#claim.batch
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
      ...(hasTwins && { retire: retiredTag(this.#claim.batch) }),
    })
    log.info('batch_created', { batch: number, remote: id, requests: live, adopted })
    return { atMs: time.now() + settings.pollMinMs }
  }

  async #doubt({ message }: RemoteError): Promise<Next> {
    await this.#claim.change({ phase: 'doubtful', note: message })
    this.#context.log.warn('create_in_doubt', { batch: this.#claim.number, reason: message })
    return 'on'
  }

  async #findBatch(): Promise<Next> {
    const { inputFileId = '', phase } = this.#claim.batch
    const { tag, patient } = this.#steps
    const search = await this.#steps.orLater('looking for a batch', () =>
      findBatches(this.#context.api, { tag, inputFileId }, patient),
    )
    if (!search.ok) return search.next
    // A failed batch of a fenced one most likely missed its input. It did nothing, and is no batch to wait for.
    const wanted = search.result.filter(({ status }) => phase !== 'fenced' || status !== 'failed')
    const batch = wanted.find(({ status }) => status !== 'failed') ?? wanted[0]
    if (batch) return this.#created(batch, { adopted: true, hasTwins: search.result.length > 1 })
    return this.#learn({ batchAbsent: true })
  }

  /** A create that is still under way somewhere cannot succeed without its input file. */
  async #deleteInput(): Promise<Next> {
    const { api, time } = this.#context
    const { inputFileId } = this.#claim.batch
    if (inputFileId !== undefined) {
      const deletion = await this.#steps.orLater('deleting an input file', () =>
        api.deleteFile(inputFileId, this.#steps.patient),
      )
      if (!deletion.ok) return deletion.next
    }
    await this.#claim.change({ phase: 'fenced', fencedAt: time.now() })
    return 'on'
  }

  async #waitForGrace(untilMs: number): Promise<Next> {
    const now = this.#context.time.now()
    // With a clock that was set back the grace is waited for once more, in whole.
    if ((this.#claim.batch.fencedAt ?? 0) > now) await this.#claim.change({ fencedAt: now })
    return { atMs: untilMs }
  }

  #learn(news: Partial<Knowledge>): Next {
    this.#knowledge = { ...this.#knowledge, ...news }
    return 'on'
  }
}

interface Found {
  readonly adopted: boolean
  readonly hasTwins: boolean
}
