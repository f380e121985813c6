import { inPhase, type QueueFile } from '../batch/queue-file.ts'
import { limitIn, type NoRoom, quotaPool, type Reservation } from '../batch/quota.ts'
import { relaxed, type Squeeze, squeezed, UNSQUEEZED } from '../batch/squeeze.ts'
import type { BatchFault, TerminalStatus } from '../batch/steps.ts'
import type { TaskState } from '../batch/task-state.ts'
import { errorText } from '../errors.ts'
import { Notifier } from '../util/notifier.ts'
import type { QuotaFile } from './quota-board.ts'

export interface GovernorOptions {
  readonly quota: QuotaFile
  /** What estimates are multiplied by. */
  readonly safety: number
  /** Asks the server for the account's limits, by model; undefined when there is no key for that. */
  readonly fetchLimits?: ((signal: AbortSignal) => Promise<ReadonlyMap<string, number>>) | undefined
  readonly onTrouble: (message: string) => void
}

/** Who wants room for a batch, or has it. */
export interface Claim {
  readonly tag: string
  readonly model: string
  /** Prompt tokens, as estimated. */
  readonly tokens: number
}

/** A claim, as the file has it that is to go under a tag. */
export const claimOf = ({ model, tokens }: QueueFile, tag: string): Claim => ({
  tag,
  model,
  tokens: tokens?.input ?? 0,
})

const isEnqueued = inPhase('intended', 'uploaded', 'doubtful', 'fenced', 'remote')

/**
 * Keeps what is enqueued in the Batch API within what the account allows, as far as that is known: by what refused
 * batches said, and by what all tasks of the account on this machine hold. The server's answer is the truth: nothing
 * here stops a batch for good.
 */
export class Governor {
  readonly #options: GovernorOptions
  readonly #squeezes = new Map<string, Squeeze>()
  /** Batches of this run that the server has not taken on yet. */
  readonly #sent = new Map<string, Sent>()
  readonly #freed = new Notifier()
  #asked: Promise<void> | undefined

  constructor(options: GovernorOptions) {
    this.#options = options
  }

  /** Takes up what is known, and brings what is known of this task up to date: an earlier run may have ended anyhow. */
  async open({ files, identity }: Pick<TaskState, 'files' | 'identity'>): Promise<void> {
    const { quota } = this.#options
    await quota.load()
    const claims = [...files.values()].filter(isEnqueued).map((file) => claimOf(file, file.tag))
    const tags = new Set(claims.map(({ tag }) => tag))
    const isOurs = (tag: string) => identity !== undefined && tag.startsWith(`${identity.taskId}-`)
    await quota.release(Object.keys(quota.reservations).filter((tag) => isOurs(tag) && !tags.has(tag)))
    for (const claim of claims) await this.confirm(claim)
  }

  /** Prompt tokens, by estimate, that a model may have enqueued at all; undefined while that is not known. */
  limitOf(model: string): number | undefined {
    const limit = this.#options.quota.capOf(model)
    return limit === undefined ? undefined : Math.max(1, Math.floor(limit / this.#options.safety))
  }

  /** Prompt tokens, by estimate, that one batch of a model should not pass; undefined when any may be tried. */
  capOf(model: string): number | undefined {
    const caps = [this.limitOf(model), this.#squeezes.get(quotaPool(model))?.cap?.tokens]
    return caps.reduce((least, cap) => (cap === undefined ? least : Math.min(cap, least ?? cap)), undefined)
  }

  /** Asks the server for the limits, once in a run, where there is a key for that. Says so when it cannot be asked. */
  ask(signal: AbortSignal): Promise<void> {
    this.#asked ??= this.#ask(signal)
    return this.#asked
  }

  async #ask(signal: AbortSignal): Promise<void> {
    const { fetchLimits, quota, onTrouble } = this.#options
    if (!fetchLimits) return
    try {
      await quota.learnAll(await fetchLimits(signal), 'admin')
    } catch (error) {
      if (signal.aborted) return
      onTrouble(
        `the account's limits could not be asked for; they are learned from refusals: ${errorText(error)}`,
      )
    }
  }

  /** Takes room for a batch that is about to be sent. */
  async take(claim: Claim): Promise<{ readonly ok: true } | NoRoom> {
    const { tag, model } = claim
    const answer = await this.#options.quota.reserve(tag, model, this.#weightOf(claim))
    if (answer.ok) this.#noteSent(claim, false)
    return answer
  }

  /** For a batch that is sent though there is no room by what is known: the server may know better. */
  async force(claim: Claim): Promise<void> {
    await this.#options.quota.note(claim.tag, claim.model, this.#weightOf(claim))
    this.#noteSent(claim, true)
  }

  #noteSent({ tag, model }: Claim, forced: boolean): void {
    // Of two that are not taken on, neither is in the way of the other.
    const alone = this.#holdersOf(model).every(([held]) => held === tag || this.#sent.has(held))
    this.#sent.set(tag, { limit: this.#options.quota.capOf(model), forced, alone })
  }

  /** What estimates are taken for. What has just enough room by `capOf` has it whatever becomes of fractions. */
  #weightOf({ model, tokens }: Claim): number {
    const { safety, quota } = this.#options
    const [limit, cap] = [this.limitOf(model), this.capOf(model)]
    if (limit === undefined || cap === undefined || tokens > limit) return Math.ceil(tokens * safety)
    const weight = Math.ceil((tokens * safety * limit) / cap)
    return Math.min(weight, quota.capOf(model) ?? weight)
  }

  /** A batch of this task is at the server: it has its place, whoever forgot it. */
  async confirm(claim: Claim): Promise<void> {
    const { quota } = this.#options
    const held = quota.reservation(claim.tag)
    if (!held || !quota.isOwn(held)) await quota.note(claim.tag, claim.model, this.#weightOf(claim))
  }

  /** The server took a batch on. */
  async letIn({ tag, model }: Claim): Promise<void> {
    const sent = this.#sent.get(tag)
    if (!sent) return
    this.#sent.delete(tag)
    const pool = quotaPool(model)
    this.#squeezes.set(pool, relaxed(this.#squeezes.get(pool) ?? UNSQUEEZED))
    if (sent.forced) await this.#disbelieve(model)
  }

  /** There was room after all: of what others are said to hold, the oldest is no more. A batch that lives says so itself. */
  async #disbelieve(model: string): Promise<void> {
    const { quota } = this.#options
    const others = [...this.heldByOthers(model)].sort(([, a], [, b]) => a - b)
    for (const [tag] of others) {
      if (quota.reservedOf(model) <= (quota.capOf(model) ?? Number.POSITIVE_INFINITY)) return
      await quota.release([tag])
    }
  }

  /** Nothing came, or will come, of a batch. */
  async release(tag: string): Promise<void> {
    this.#sent.delete(tag)
    await this.#options.quota.release([tag])
  }

  /** A batch of this task is over. One that was refused made no room: it had taken none. */
  async ended(claim: Claim, status: TerminalStatus): Promise<void> {
    await this.#options.quota.release([claim.tag])
    if (status === 'failed') return
    await this.letIn(claim)
    this.#freed.notify()
  }

  /** Resolves when a batch of this task makes room. Take it before looking whether there is some. */
  freed(): Promise<void> {
    return this.#freed.wait()
  }

  /** A batch is over, of whatever task. */
  async seenEnded(tag: string): Promise<void> {
    if (this.#options.quota.reservation(tag)) await this.#options.quota.release([tag])
  }

  /** What other tasks hold of a model, by tags, and since when in milliseconds since 1970. */
  heldByOthers(model: string): ReadonlyMap<string, number> {
    const others = this.#holdersOf(model).filter(([, one]) => !this.#options.quota.isOwn(one))
    return new Map(others.map(([tag, { at }]) => [tag, at]))
  }

  /** Whether this task has anything of a model enqueued, or is about to. */
  holdsAny(model: string): boolean {
    return this.#holdersOf(model).some(([, one]) => this.#options.quota.isOwn(one))
  }

  #holdersOf(model: string): (readonly [tag: string, Reservation])[] {
    const pool = quotaPool(model)
    return Object.entries(this.#options.quota.reservations).filter(([, one]) => one.pool === pool)
  }

  /** Takes others' reservations back that nothing has come of. */
  async forget(tags: readonly string[]): Promise<void> {
    await this.#options.quota.release(tags)
  }

  /**
   * Learns from what the server said when it refused a batch on account of the account. `now`: its lines can go on at
   * once, since by what is known now they will go in smaller batches, another way, or when it is their turn. `freed`:
   * the end of another batch may help. `later`: nobody knows when.
   */
  async refused(claim: Claim, faults: readonly BatchFault[]): Promise<'now' | 'freed' | 'later'> {
    const { quota } = this.#options
    const { tag, model, tokens } = claim
    const sent = this.#sent.get(tag)
    await this.release(tag)
    if (!faults.some(isAboutRoom)) return 'later'
    const limit = faults.map(({ message }) => limitIn(message)).find((one) => one !== undefined)
    if (limit !== undefined) await quota.learn(model, limit, 'refusal')
    if (tokens > (this.limitOf(model) ?? Number.POSITIVE_INFINITY)) return 'now'
    const isNews = limit !== undefined && (sent?.limit === undefined || limit < sent.limit)
    if (isNews && !sent?.forced) return 'now'
    // By all that was known there was room.
    if (sent?.alone) this.#squeeze(model, tokens)
    return 'freed'
  }

  #squeeze(model: string, tokens: number): void {
    const pool = quotaPool(model)
    this.#squeezes.set(pool, squeezed(this.#squeezes.get(pool) ?? UNSQUEEZED, tokens))
  }
}

/** What was known when a batch was sent. */
interface Sent {
  readonly limit: number | undefined
  /** There was no room, and it was sent all the same. */
  readonly forced: boolean
  /** Nothing else of its pool was enqueued, by all that was known. */
  readonly alone: boolean
}

const isAboutRoom = ({ code, message }: BatchFault): boolean =>
  /token_limit_exceeded/i.test(code) || /enqueued[\s_-]+token/i.test(message)
