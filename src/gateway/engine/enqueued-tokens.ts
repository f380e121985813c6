import {
  hold,
  isAfterOthers,
  learn,
  leaveLine,
  limitIn,
  limitOf,
  type NoRoom,
  type QuotaBoard,
  quotaPool,
  release,
  reserve,
  reservedOf,
  standInLine,
} from '../../batch/quota.ts'
import { relaxed, type Squeeze, squeezed, UNSQUEEZED } from '../../batch/squeeze.ts'
import type { BatchFault } from '../../batch/steps.ts'
import type { GatewayBatch } from '../domain/batch.ts'
import type { GatewayStore } from '../store/store.ts'
import type { StoreTime } from './store-time.ts'

/** What a reservation without a batch is left to whoever made it: it may be about to put the batch on record. */
const UNUSED_MS = 5 * 60_000

type Placed = Pick<GatewayBatch, 'number' | 'model' | 'tenant'>
type Sized = Placed & Pick<GatewayBatch, 'tokens'>

/**
 * What is enqueued in the Batch API, kept within what the account allows as far as that is known: by what refused
 * batches said, and by what all batches of the store hold. The server's answer is the truth: nothing here stops a batch
 * for good. Tenants take turns, however much each has to send; the batches of one get room in the order in which they
 * asked.
 */
export class EnqueuedTokens {
  readonly #store: Pick<GatewayStore, 'quota'>
  readonly #time: StoreTime
  readonly #squeezes = new Map<string, Squeeze>()
  /** Batches that found no room, by pool. */
  readonly #waiting = new Map<string, Set<number>>()
  /** As last seen. */
  #board: QuotaBoard | undefined

  constructor(store: Pick<GatewayStore, 'quota'>, time: StoreTime) {
    this.#store = store
    this.#time = time
  }

  /** Prompt tokens that a model may have enqueued at all, as far as the server has said. No I/O. */
  limitOf(model: string): number | undefined {
    return this.#board && limitOf(this.#board, model, this.#time.now())
  }

  /** Prompt tokens that one batch of a model should not pass; undefined when any may be tried. No I/O. */
  capOf(model: string): number | undefined {
    const limit = this.limitOf(model)
    const cap = this.#squeezes.get(quotaPool(model))?.cap?.tokens
    return limit === undefined ? cap : Math.min(limit, cap ?? limit)
  }

  /** Looks at what others have learned, and takes back what batches hold that are none any more. */
  async tidy(open: readonly GatewayBatch[]): Promise<void> {
    const tags = new Set(open.map(({ tag }) => tag))
    const numbers = new Set(open.map(({ number }) => number))
    for (const waiters of this.#waiting.values())
      for (const number of waiters) if (!numbers.has(number)) waiters.delete(number)
    await this.#change((board) => {
      const now = this.#time.now()
      const unused = Object.entries(board.reservations).filter(
        ([tag, { at }]) => !tags.has(tag) && Math.abs(now - at) > UNUSED_MS,
      )
      return {
        board: release(
          board,
          unused.map(([tag]) => tag),
        ),
        result: undefined,
      }
    })
  }

  /** Takes room for a batch that is about to be sent under a tag. Without any it stands in line for as long as it keeps asking. */
  async take(batch: Sized, tag: string): Promise<{ readonly ok: true } | NoRoom> {
    const { number, model, tokens, tenant } = batch
    const now = this.#time.now()
    const request = { tag, model, tokens, task: tenant, now }
    const own = { ...ownPlace(batch), now }
    const answer = await this.#change<{ readonly ok: true } | NoRoom>((board) => {
      const limit = limitOf(board, model, now)
      const reserved = reservedOf(board, model, now)
      const isLater = limit !== undefined && isAfterOthers(board, own)
      const asked = isLater ? noRoom(limit, reserved) : reserve(board, request)
      if (asked.ok) return { board: leaveLine(asked.board, own), result: { ok: true } }
      // The server had better say itself that it will never have room for it.
      const isTooLarge = tokens > asked.limit && reserved === 0
      if (isTooLarge) return { board: leaveLine(hold(board, request), own), result: { ok: true } }
      return { board: standInLine(standInLine(board, request), own), result: asked }
    })
    if (answer.ok) this.#waiting.get(quotaPool(model))?.delete(number)
    else this.#waitersOf(model).add(number)
    return answer
  }

  /** A batch that may have waited for room will not ask for any. */
  async leave(batch: Placed): Promise<void> {
    const { number, model, tenant } = batch
    const own = ownPlace(batch)
    this.#waiting.get(quotaPool(model))?.delete(number)
    await this.#change((board) => {
      const left = leaveLine(board, own)
      const hasOthers = Object.values(left.waiting).some(({ pool }) => pool === quotaPool(own.model))
      return { board: hasOthers ? left : leaveLine(left, { model, task: tenant }), result: undefined }
    })
  }

  /** Nothing came of a batch, or it is over. Gives the batches that may find room now. */
  async ended(tags: readonly string[], model: string): Promise<readonly number[]> {
    await this.#change((board) => ({ board: release(board, tags), result: undefined }))
    return [...this.#waitersOf(model)]
  }

  /** The server took a batch on. */
  letIn(model: string): void {
    const pool = quotaPool(model)
    this.#squeezes.set(pool, relaxed(this.#squeezes.get(pool) ?? UNSQUEEZED))
  }

  /**
   * Learns from what the server said when it refused a batch because the account is full. `now`: by what is known now it
   * is to be made smaller, or to wait in line. `later`: nobody knows when there will be room.
   */
  async refused(
    batch: Sized,
    tag: string | undefined,
    faults: readonly BatchFault[],
  ): Promise<'now' | 'later'> {
    const { model, tokens } = batch
    const told = faults.map(({ message }) => limitIn(message)).find((one) => one !== undefined)
    const before = this.capOf(model)
    const isAlone = await this.#change((board) => {
      const now = this.#time.now()
      const without = tag === undefined ? board : release(board, [tag])
      const alone = reservedOf(without, model, now) === 0
      const taught =
        told === undefined ? without : learn(without, { model, tokens: told, source: 'refusal', now })
      return { board: taught, result: alone }
    })
    if (!faults.some(isAboutRoom)) return 'later'
    this.#waitersOf(model).add(batch.number)
    const isNews = told !== undefined && (before === undefined || told < before)
    if (isNews || (told !== undefined && tokens > told)) return 'now'
    // By all that was known there was room.
    if (isAlone) this.#squeeze(model, tokens)
    return 'later'
  }

  #squeeze(model: string, tokens: number): void {
    const pool = quotaPool(model)
    this.#squeezes.set(pool, squeezed(this.#squeezes.get(pool) ?? UNSQUEEZED, tokens))
  }

  #waitersOf(model: string): Set<number> {
    const pool = quotaPool(model)
    const waiters = this.#waiting.get(pool) ?? new Set<number>()
    this.#waiting.set(pool, waiters)
    return waiters
  }

  async #change<Result>(
    change: (board: QuotaBoard) => { readonly board: QuotaBoard; readonly result: Result },
  ): Promise<Result> {
    let seen: QuotaBoard | undefined
    const result = await this.#store.quota((board) => {
      const changed = change(board)
      seen = changed.board
      return changed
    })
    this.#board = seen
    return result
  }
}

/** Where a batch stands among those of its tenant: in a line of their own. */
const ownPlace = ({ number, model, tenant }: Placed): { readonly model: string; readonly task: string } => ({
  model: `${quotaPool(model)} for ${tenant}`,
  task: `batch ${number}`,
})

const noRoom = (limit: number, reserved: number): NoRoom => ({ ok: false, limit, reserved })

const isAboutRoom = ({ code, message }: BatchFault): boolean =>
  /token_limit_exceeded/i.test(code) || /enqueued[\s_-]+token/i.test(message)
