import { budgetOf, roomNanoUsd } from '../batch/budget.ts'
import type { HeldBack } from '../batch/limit-text.ts'
import { excesses, isLasting, type Load } from '../batch/limits.ts'
import type { FileIn, QueueFile } from '../batch/queue-file.ts'
import { exceedsEnqueued, exceedsLimit } from '../batch/sealing.ts'
import type { Spending } from '../batch/task-state.ts'
import { noForecast } from '../tokens/forecast.ts'
import { formatCount } from '../util/format.ts'
import { carve } from './carve.ts'
import type { Context } from './context.ts'

export interface AdmissionOptions {
  /** Nothing new is begun. */
  readonly closing: boolean
  /** What had been spent when the run began. */
  readonly before: Spending
  /** An earlier batch of this file has answers to give: nothing new is made of it. */
  readonly mustWait: (file: number) => boolean
}

/** The prices of an attempt are those of the day it began; what is set aside for it covers a batch that takes a day from then. */
const PRICED_FOR_MS = 24 * 3_600_000

/** So many batches one after another, or more, are worth a warning. */
const MANY_ROUNDS = 10

/** Says which files may be made batches of now: as they are, in smaller ones, or in part. */
export class Admission {
  readonly #context: Context
  readonly #options: AdmissionOptions
  readonly #refused = new Map<number, string>()
  /** Files of which not one request fits into what the hard cap leaves. */
  readonly #uncarvable = new Set<number>()
  #isCarving = false
  #saidTight = false

  constructor(context: Context, options: AdmissionOptions) {
    this.#context = context
    this.#options = options
  }

  /** Files the server will not have as they are, and what it said. */
  get refused(): ReadonlyMap<number, string> {
    return this.#refused
  }

  /** Gives up on a file in this run. */
  refuse({ id }: QueueFile, why: string): void {
    this.#refused.set(id, why)
  }

  /** Why a sealed file is not submitted; `lasting` when that will not change in this run. */
  blocked(file: QueueFile): { readonly reasons: readonly string[]; readonly lasting: boolean } {
    const refusal = this.#refused.get(file.id)
    if (refusal !== undefined) return { reasons: [refusal], lasting: true }
    const { limits } = this.#context.settings
    const reasons = this.heldBack(file).excesses.map(({ reason }) => reason)
    const cannotBeCarved = isSingle(file) || this.#uncarvable.has(file.id)
    const isSpent = reasons.includes('max spend') && this.#isSettled && cannotBeCarved
    return { reasons, lasting: isSpent || reasons.some(isLasting) || limits.maxRemoteBatches === 0 }
  }

  /** A sealed file, and the limits in its way. */
  heldBack(file: QueueFile): HeldBack {
    const { store, settings } = this.#context
    const allowance = { state: store.head.state, before: this.#options.before, limits: settings.limits }
    const load = this.loadOf(file)
    return { load, excesses: excesses(load, allowance) }
  }

  /** What a file is as a batch, at today's prices. */
  loadOf({ model, requests, bytes, tokens = noForecast }: QueueFile): Load {
    const { valuer } = this.#context
    return {
      requests,
      bytes,
      tokens: tokens.input,
      nanoUsd: valuer.expectedNanoUsd(tokens, model, 'batch'),
      mostNanoUsd: valuer.mostNanoUsd(tokens, model, 'batch'),
    }
  }

  /** A new batch may be made of it as it is; of one that is intended, that it may still be. */
  mayStart(file: QueueFile): boolean {
    if (!this.#isAtWork || this.#context.pace?.isHurried) return false
    if (file.phase === 'intended') return this.#holds(file)
    if (file.phase !== 'sealed') return true
    return !this.#options.mustWait(file.id) && this.blocked(file).reasons.length === 0
  }

  /** What was set aside for it is still enough, and within the cap of this run. */
  #holds({ pricedAt }: FileIn<'intended'>): boolean {
    const { store, settings, clock } = this.#context
    const { maxSpendNanoUsd = Number.POSITIVE_INFINITY } = settings.limits
    const { spentNanoUsd, uncertainNanoUsd, reservedNanoUsd } = budgetOf(store.head.state)
    const isWithin = spentNanoUsd + uncertainNanoUsd + reservedNanoUsd <= maxSpendNanoUsd
    return isWithin && (pricedAt === undefined || clock.now() - pricedAt <= PRICED_FOR_MS)
  }

  /** The account may have less enqueued than the file has: smaller files may go, or its only line directly. */
  mustShrink(file: QueueFile): boolean {
    const { sealing } = this.#context.valuer
    if (sealing.hurried) return this.#isTooLate(file)
    const isLarge = exceedsLimit(file, sealing) || (file.live > 1 && exceedsEnqueued(file, sealing))
    return file.phase === 'sealed' && this.#isAtWork && isLarge
  }

  /** There is no time for a batch of it any more: its lines go one by one. */
  #isTooLate(file: QueueFile): boolean {
    const isWanted = !this.#refused.has(file.id) && !this.#options.mustWait(file.id)
    return file.phase === 'sealed' && this.#isAtWork && isWanted
  }

  /** The hard cap is all that is in the way, and nothing is under way that could give something back. */
  mayCarve(file: QueueFile): boolean {
    if (file.phase !== 'sealed' || !this.#isAtWork || this.#options.mustWait(file.id)) return false
    if (this.#isCarving || isSingle(file) || this.#uncarvable.has(file.id) || !this.#isSettled) return false
    const { reasons } = this.blocked(file)
    return reasons.length === 1 && reasons[0] === 'max spend' && this.#isFirst(file)
  }

  /** No other file may start: each is to have the room that is left then. */
  #isFirst({ id }: QueueFile): boolean {
    const files = [...this.#context.store.head.state.files.values()]
    return !files.some((file) => file.id !== id && file.phase === 'sealed' && this.mayStart(file))
  }

  get #isSettled(): boolean {
    return budgetOf(this.#context.store.head.state).reservedNanoUsd === 0
  }

  /** New batches may be made at all. */
  get #isAtWork(): boolean {
    const { stop, settings } = this.#context
    return !this.#options.closing && !stop.aborted && !settings.onlyProcess
  }

  /** Makes a batch of as much of a file as the hard cap has room for. One file is carved from after another. */
  async carve(file: QueueFile): Promise<void> {
    const { store, settings } = this.#context
    const left = roomNanoUsd(store.head.state, settings.limits.maxSpendNanoUsd)
    const waiting = file.live
    this.#isCarving = true
    try {
      const carved = await carve(this.#context, file, left)
      if (carved === 0) this.#uncarvable.add(file.id)
      else if (carved * MANY_ROUNDS < waiting) this.#tellTight(carved, waiting)
    } finally {
      this.#isCarving = false
    }
  }

  /** Each round is a batch, and waits for the one before: at a real server that may take days. */
  #tellTight(carved: number, waiting: number): void {
    if (this.#saidTight) return
    this.#saidTight = true
    const message = `--max-spend has room for ${formatCount(carved)} of ${formatCount(waiting)} requests at a time, by the most that each may cost: they go in small batches, one after another, which can take long. A lower maximum of output tokens or a higher cap sends more at once`
    this.#context.emit({ kind: 'warning', code: 'tight_cap', message })
  }
}

/** It has one request, and that is all it ever had: there is nothing to take out of it. */
const isSingle = ({ live, requests }: QueueFile): boolean => live < 2 && live === requests
