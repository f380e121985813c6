import { awaitsFiles } from '../../batch/batch-end.ts'
import { MAX_FILE_ID_LOOKS, terminalStatus } from '../../batch/polling.ts'
import { listed } from '../../batch/remote-marks.ts'
import { isCancelRefusal } from '../../batch/remote-refusals.ts'
import { cameOf } from '../../batch/strays.ts'
import { RemoteError } from '../../errors.ts'
import type { WireBatch } from '../../openai/wire.ts'
import type { RetiredTag } from '../domain/batch.ts'
import type { EngineContext } from './context.ts'
import { allBatches, findUploads } from './remote-search.ts'
import { StrayAnswers } from './stray-answers.ts'

/** Batches of one server may be dated a little out of order. */
const DATE_SLACK_S = 3_600
/** After so long nothing can come of an attempt any more: its input file is gone, too. */
const FORGOTTEN_MS = 31 * 24 * 3_600_000
const FIRST_INTERVAL_MS = 60_000
/** The longer nothing has come of it, the more seldom it is looked for. */
const SHARE_OF_AGE = 1 / 10
/** While something has come of it that is not over. */
const BUSY_INTERVAL_MS = 30_000

/** Looks for batches and uploads of attempts that were given up: cancels them, takes what they answered, removes the rest. */
export class Strays {
  readonly #context: EngineContext
  readonly #answers: StrayAnswers
  /** Batches that came of attempts, as far as this process has seen them. */
  readonly #seen = new Map<string, Seen>()
  /** When each attempt was last looked for, by tag. */
  readonly #looked = new Map<string, Looked>()

  constructor(context: EngineContext) {
    this.#context = context
    this.#answers = new StrayAnswers(context)
  }

  /** Looks, if that is due. Throws `RemoteError`. */
  async run(): Promise<void> {
    const tags = await this.#context.store.retiredTags()
    const now = this.#context.time.now()
    const old = tags.filter(({ since }) => now - since * 1000 > FORGOTTEN_MS)
    if (old.length > 0) await this.#context.store.forgetTags(old.map(({ tag }) => tag))
    this.#forget(old)
    const kept = tags.filter((one) => !old.includes(one))
    const due = kept.filter((one) => this.#isDue(one, now))
    if (due.length === 0) return
    const note = (isBusy: (tag: string) => boolean) => {
      for (const { tag } of due) this.#looked.set(tag, { atMs: now, isBusy: isBusy(tag) })
    }
    // A look that fails half-way is soon tried again.
    note(() => true)
    const busy = await this.#look(due)
    note((tag) => busy.has(tag))
  }

  #forget(tags: readonly RetiredTag[]): void {
    const gone = new Set(tags.map(({ tag }) => tag))
    for (const tag of gone) this.#looked.delete(tag)
    for (const [id, { tag }] of this.#seen) if (gone.has(tag)) this.#seen.delete(id)
  }

  /** Each for itself: new ones must not have old ones looked for, for which a month of batches has to be listed. */
  #isDue({ tag, since }: RetiredTag, now: number): boolean {
    const looked = this.#looked.get(tag)
    if (!looked) return true
    const interval = looked.isBusy
      ? BUSY_INTERVAL_MS
      : Math.max(FIRST_INTERVAL_MS, (now - since * 1000) * SHARE_OF_AGE)
    // A clock that was set back must not make it longer.
    return Math.abs(now - looked.atMs) >= interval
  }

  /** Gives the tags of which something is still to be dealt with. */
  async #look(tags: readonly RetiredTag[]): Promise<ReadonlySet<string>> {
    const { api, stop } = this.#context
    await this.#removeUploads(tags)
    const own = await this.#own()
    const oldest = Math.min(...tags.map(({ since }) => since)) - DATE_SLACK_S
    const busy = new Set<string>()
    for await (const batch of allBatches(api, stop)) {
      if (batch.created_at < oldest) break
      const tag = tags.find((one) => isOf(one, batch))
      if (!tag || own.batches.has(batch.id) || this.#seen.get(batch.id)?.isSettled) continue
      if (!(await this.#take({ tag, batch, inputs: own.inputs }))) busy.add(tag.tag)
    }
    return busy
  }

  /** What is waited for: an attempt of it may have led to another batch of the same input. */
  async #own(): Promise<{ readonly batches: ReadonlySet<string>; readonly inputs: ReadonlySet<string> }> {
    const open = await this.#context.store.openBatches()
    const known = (ids: readonly (string | undefined)[]) => new Set(ids.filter((id) => id !== undefined))
    return {
      batches: known(open.map(({ batchId }) => batchId)),
      inputs: known(open.map(({ inputFileId }) => inputFileId)),
    }
  }

  async #removeUploads(tags: readonly RetiredTag[]): Promise<void> {
    const { api, store, stop } = this.#context
    const doubtful = tags.filter(({ inputFileId }) => inputFileId === undefined).map(({ tag }) => tag)
    if (doubtful.length === 0) return
    const found = await findUploads(api, doubtful, stop)
    if (found.length > 0) await store.addLitter(found.map(({ id }) => id))
  }

  /** True when there is nothing more to be done about it. What fails is tried again at the next look. */
  async #take(stray: Stray): Promise<boolean> {
    const { log, stop } = this.#context
    const { tag, batch } = stray
    const seen = this.#seen.get(batch.id)
    if (!seen) log.warn('stray_batch', { remote: batch.id, batch: tag.batch, status: batch.status })
    const { looks = 0 } = seen ?? {}
    // Only of one that is over can its files be missing.
    const more = terminalStatus(batch.status) ? 1 : 0
    this.#seen.set(batch.id, { tag: tag.tag, looks: looks + more, isSettled: false })
    try {
      const isSettled = await this.#settle(stray, looks)
      this.#seen.set(batch.id, { tag: tag.tag, looks: looks + more, isSettled })
      return isSettled
    } catch (error) {
      if (!(error instanceof RemoteError) || stop.aborted) throw error
      log.warn('upstream_trouble', { batch: tag.batch, what: 'a stray batch', reason: error.message })
      return false
    }
  }

  async #settle({ tag, batch, inputs }: Stray, looks: number): Promise<boolean> {
    const { log, store } = this.#context
    if (!terminalStatus(batch.status)) {
      await this.#cancel(batch)
      return false
    }
    if (awaitsFiles(batch, looks)) return false
    const served = await this.#answers.serve(tag, batch)
    if (served === undefined && looks < MAX_FILE_ID_LOOKS) return false
    const { input_file_id: input, output_file_id: output, error_file_id: errors } = batch
    const litter = [inputs.has(input) ? undefined : input, output, errors].filter((id) => id !== undefined)
    await store.addLitter(litter)
    log.info('stray_settled', {
      remote: batch.id,
      batch: tag.batch,
      status: batch.status,
      served: served ?? 0,
    })
    return true
  }

  async #cancel({ id, status }: WireBatch): Promise<void> {
    if (status === 'cancelling') return
    try {
      await this.#context.api.cancelBatch(id, this.#context.stop)
    } catch (error) {
      if (!(error instanceof RemoteError) || !isCancelRefusal(error)) throw error
    }
  }
}

/** What this process knows of a stray. `looks`: times that it was seen to be over. */
interface Seen {
  readonly tag: string
  readonly looks: number
  readonly isSettled: boolean
}

interface Looked {
  /** Milliseconds since 1970. */
  readonly atMs: number
  /** Something that came of it is still to be dealt with. */
  readonly isBusy: boolean
}

interface Stray {
  readonly tag: RetiredTag
  readonly batch: WireBatch
  /** Input files of batches that are waited for. */
  readonly inputs: ReadonlySet<string>
}

/** Without an input file no create was ever sent, or its batch is known: only uploads are looked for. */
const isOf = ({ tag, inputFileId }: RetiredTag, batch: WireBatch): boolean =>
  inputFileId !== undefined && cameOf({ tag, inputFileId }, listed(batch))
