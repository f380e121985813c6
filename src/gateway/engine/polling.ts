import { awaitsFiles, faultsOf } from '../../batch/batch-end.ts'
import { LIST_PAGE, pollIntervalMs, pollMethod, terminalStatus } from '../../batch/polling.ts'
import { isCancelRefusal } from '../../batch/remote-refusals.ts'
import { errorText, NightshiftError, RemoteError } from '../../errors.ts'
import type { WireBatch } from '../../openai/wire.ts'
import type { GatewayBatch } from '../domain/batch.ts'
import { Absences, isForeign } from './absences.ts'
import { type Claim, ClaimLost, type Claims } from './claims.ts'
import { type EngineContext, jobOf } from './context.ts'
import { allBatches } from './remote-search.ts'
import { remoteText } from './remote-text.ts'
import type { Unsent } from './unsent.ts'

/** Batches that one round looks at. */
const MOST_AT_ONCE = 200
/** Among which they are looked for: all that were due before them may wait to be sent. */
const MOST_DUE = 10_000
/** Batches of one server may be dated a little out of order. */
const DATE_SLACK_S = 3_600
/** A batch that another key made is asked for so often, in case that key is back. */
const FOREIGN_PAUSE_MS = 5 * 60_000

/** What became of a look at a batch: when the next is due, in milliseconds since 1970; undefined: it is over. */
type NextLook = number | undefined

export interface PollingParts {
  readonly claims: Claims
  readonly unsent: Unsent
}

/** Watches remote batches with as few calls as possible and commits what becomes of them. */
export class Polling {
  readonly #context: EngineContext
  readonly #parts: PollingParts
  readonly #absences: Absences
  #lastListPages: number | undefined
  #round: Promise<void> | undefined
  #next: Promise<void> | undefined

  constructor(context: EngineContext, parts: PollingParts) {
    this.#context = context
    this.#parts = parts
    this.#absences = new Absences(context)
  }

  /** Looks at all batches that are due. Whoever asks while a round is under way shares the next one with others. */
  run(): Promise<void> {
    if (!this.#round) return this.#begin()
    this.#next ??= this.#round.then(
      () => this.#begin(),
      () => this.#begin(),
    )
    return this.#next
  }

  #begin(): Promise<void> {
    this.#next = undefined
    this.#round = this.#look().finally(() => {
      this.#round = undefined
    })
    return this.#round
  }

  async #look(): Promise<void> {
    const claims: Claim[] = []
    try {
      for (const number of await this.#due()) {
        const claim = await this.#parts.claims.take(number)
        if (claim) claims.push(claim)
      }
      if (claims.length === 0) return
      const facts = { outstanding: claims.length, lastListPages: this.#lastListPages }
      if (pollMethod(facts) === 'list') await this.#byList(claims)
      else for (const claim of claims) await this.#one(claim, () => this.#retrieve(claim))
    } finally {
      for (const claim of claims) await this.#parts.claims.release(claim, this.#context.time.now())
    }
  }

  async #due(): Promise<readonly number[]> {
    const due = await this.#context.store.dueBatches(MOST_DUE)
    const remote = due.filter(({ phase }) => phase === 'remote')
    return remote.slice(0, MOST_AT_ONCE).map(({ number }) => number)
  }

  /** One pass over the listing, no further than the last batch that is wanted. */
  async #byList(claims: readonly Claim[]): Promise<void> {
    const wanted = new Map(claims.map((claim) => [claim.batch.batchId, claim]))
    const oldest = Math.min(...claims.map(({ batch }) => batch.since ?? 0)) - DATE_SLACK_S
    let seen = 0
    try {
      for await (const batch of allBatches(this.#context.api, this.#context.stop)) {
        seen++
        const claim = wanted.get(batch.id)
        wanted.delete(batch.id)
        if (claim) await this.#one(claim, () => this.#take(claim, batch))
        if (wanted.size === 0 || batch.created_at < oldest) break
      }
      this.#lastListPages = Math.ceil(seen / LIST_PAGE)
    } catch (error) {
      if (!(error instanceof RemoteError)) throw error
      for (const claim of wanted.values()) await this.#one(claim, () => this.#trouble(claim, error))
      return
    }
    for (const claim of wanted.values()) await this.#one(claim, () => this.#retrieve(claim))
  }

  /** Whatever happens to one batch, its claim is given up, and the others go on. */
  async #one(claim: Claim, look: () => Promise<NextLook>): Promise<void> {
    const { time, log, settings, jobs, stop } = this.#context
    let nextAt: NextLook = time.now() + settings.pollMaxMs
    try {
      nextAt = claim.batch.phase === 'remote' && !stop.aborted ? await look() : time.now()
    } catch (error) {
      if (!NightshiftError.is(error)) throw error
      if (!(error instanceof ClaimLost))
        log.error('poll_failed', { batch: claim.number, reason: errorText(error) })
    }
    const at = nextAt ?? time.now()
    await this.#parts.claims.release(claim, at)
    const job = jobOf(claim.batch)
    if (job && !stop.aborted) jobs.plan(job, at)
  }

  async #retrieve(claim: Claim): Promise<NextLook> {
    const { api, stop } = this.#context
    const { batchId = '' } = claim.batch
    try {
      const signal = AbortSignal.any([stop, claim.lost])
      return await this.#take(claim, await api.retrieveBatch(batchId, signal))
    } catch (error) {
      if (!(error instanceof RemoteError)) throw error
      if (error.status !== 404) return this.#trouble(claim, error)
      return this.#absent(claim)
    }
  }

  async #trouble({ number }: Claim, error: RemoteError): Promise<NextLook> {
    const { time, log, troubles, settings, stop } = this.#context
    if (stop.aborted) return time.now()
    log.warn('upstream_trouble', { batch: number, what: 'polling', reason: error.message })
    return time.now() + Math.max(settings.pollMinMs, troubles.more(number, error.retryAfterMs))
  }

  /** A server that lags may not know a batch for a while; one that never comes to know it again has lost it. */
  async #absent(claim: Claim): Promise<NextLook> {
    const { time, log, settings, troubles, api } = this.#context
    const { number, batchId, tag } = claim.batch
    log.warn('batch_absent', {
      batch: number,
      remote: batchId,
      advice: 'is this the account it was created with?',
    })
    const leastMs = isForeign(claim.batch, api.fingerprint) ? FOREIGN_PAUSE_MS : settings.pollMinMs
    const pause = Math.max(leastMs, troubles.more(number))
    if (!this.#absences.isLasting(claim.batch)) return time.now() + pause
    log.error('batch_gone', { batch: number, remote: batchId })
    this.#absences.end(number)
    await claim.change({ phase: 'ended', status: 'gone', nextAt: time.now() })
    await this.#parts.unsent.freeRoom(claim.batch.model, tag)
    return undefined
  }

  async #take(claim: Claim, batch: WireBatch): Promise<NextLook> {
    this.#absences.end(claim.number)
    this.#context.troubles.over(claim.number)
    return terminalStatus(batch.status) ? this.#ended(claim, batch) : this.#underWay(claim, batch)
  }

  async #underWay(claim: Claim, batch: WireBatch): Promise<NextLook> {
    const { status } = batch
    const { failures } = claim.batch
    const isTakenOn = status !== 'validating'
    if (isTakenOn && claim.batch.status === 'validating') this.#context.enqueued.letIn(claim.batch.model)
    await claim.change({
      status,
      remote: remoteText(batch),
      ...(isTakenOn && failures > 0 && { failures: 0 }),
    })
    if (claim.batch.cancel !== undefined && status !== 'cancelling') await this.#cancel(claim)
    return this.#nextLook(claim.batch)
  }

  #nextLook({ phaseAt }: GatewayBatch): number {
    const { time, settings } = this.#context
    const { pollMinMs, pollMaxMs } = settings
    const at = time.now() + pollIntervalMs(pollMinMs, time.now() - phaseAt, pollMaxMs)
    // Batches that are looked at together may share one listing.
    return Math.ceil(at / pollMinMs) * pollMinMs
  }

  /** Asked for again at each look until the server says that it is at it. */
  async #cancel({ number, batch, lost }: Claim): Promise<void> {
    const { api, stop, log } = this.#context
    try {
      await api.cancelBatch(batch.batchId ?? '', AbortSignal.any([stop, lost]))
    } catch (error) {
      if (!(error instanceof RemoteError)) throw error
      if (isCancelRefusal(error)) return
      log.warn('upstream_trouble', { batch: number, what: 'cancelling', reason: error.message })
    }
  }

  async #ended(claim: Claim, batch: WireBatch): Promise<NextLook> {
    const { settings, time, log, enqueued } = this.#context
    const { status, output_file_id: outputFileId, error_file_id: errorFileId } = batch
    const { looks, tag, model, number } = claim.batch
    const remote = remoteText(batch)
    if (awaitsFiles(batch, looks)) {
      await claim.change({ status, remote, looks: looks + 1 })
      return time.now() + settings.pollMinMs
    }
    const faults = faultsOf(batch)
    const now = time.now()
    await claim.change({ phase: 'ended', status, remote, outputFileId, errorFileId, faults, nextAt: now })
    log.info('batch_ended', { batch: number, remote: batch.id, status })
    if (status !== 'failed') enqueued.letIn(model)
    await this.#parts.unsent.freeRoom(model, tag)
    return undefined
  }
}
