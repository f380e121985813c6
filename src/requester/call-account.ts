import type { HeldBack } from '../batch/limit-text.ts'
import { type Blocked, callExcesses, type Load } from '../batch/limits.ts'
import type { LineOutcome } from '../batch/line-outcome.ts'
import type { FileIn } from '../batch/queue-file.ts'
import type { Spending } from '../batch/task-state.ts'
import { lineBody } from '../batch/wire-line.ts'
import type { TokenForecast } from '../tokens/forecast.ts'
import { Notifier } from '../util/notifier.ts'
import type { Context } from './context.ts'
import { flexBody } from './flex-calls.ts'
import { answerCost, isUnmetered } from './reply-totals.ts'

export type DirectFile = FileIn<'direct'>

/** One line of a direct set that is not sent yet. */
export interface QueuedLine {
  readonly request: number
  readonly customId: string
  readonly text: string
  readonly tokens: TokenForecast
}

/** One line of a direct set on its way. */
export interface CallLine extends QueuedLine {
  /** What it is counted as sent with, by the way in which it goes. */
  readonly load: Load
  readonly tier: 'flex' | 'direct'
}

/** One request, whatever it takes. */
const LEAST_LOAD: Load = { requests: 1, bytes: 0, tokens: 0, nanoUsd: 0, mostNanoUsd: 0 }

export interface CallAccountOptions {
  /** What had been spent when the run began. */
  readonly before: Spending
  /** Nothing more is to be sent in this run. */
  readonly isEnding: () => boolean
}

/**
 * What direct calls may cost and did: a call is committed as sent only when every limit allows it, under a hard cap with
 * its worst case set aside, which is given back when it is settled.
 */
export class CallAccount {
  readonly #context: Context
  readonly #options: CallAccountOptions
  /** Calls that are committed as sent and not settled yet. */
  #onWire = 0
  /** Something that was set aside may have been given back. */
  readonly #settled = new Notifier()
  /** Of each set, the least that a limit has held back. */
  readonly #denied = new Map<number, Load>()
  #saidPriority = false

  constructor(context: Context, options: CallAccountOptions) {
    this.#context = context
    this.#options = options
  }

  /** Calls that are committed as sent and not settled yet. */
  get onWire(): number {
    return this.#onWire
  }

  /** A set is gone through anew. */
  begin(file: number): void {
    this.#denied.delete(file)
  }

  /** Wakes whoever waits for what may have been given back, or for the end. */
  notify(): void {
    this.#settled.notify()
  }

  /** Whether the limits let anything more of a set be sent now. */
  mayGoOn(file: number): boolean {
    return this.#excesses(this.#denied.get(file) ?? LEAST_LOAD).length === 0
  }

  /** What is left of a set, and the limits in its way. */
  heldBack(file: number): HeldBack {
    const load = this.#denied.get(file) ?? LEAST_LOAD
    return { load, excesses: this.#excesses(load) }
  }

  #excesses(load: Load) {
    const { store, settings } = this.#context
    const { before } = this.#options
    return callExcesses(load, { state: store.head.state, before, limits: settings.limits })
  }

  /** A line as it would go now. The most it can cost is that of a call at the full price: nobody has to answer at the tier that was asked for. */
  lineOf({ endpoint, model }: DirectFile, queued: QueuedLine): CallLine {
    const { valuer, settings, pace } = this.#context
    const { text, tokens } = queued
    const tier =
      flexBody(pace, { endpoint, model, bodyText: lineBody(text) }) === undefined ? 'direct' : 'flex'
    const hasCap = settings.limits.maxSpendNanoUsd !== undefined
    const load = {
      requests: 1,
      bytes: 0,
      tokens: tokens.input,
      nanoUsd: valuer.expectedNanoUsd(tokens, model, tier),
      mostNanoUsd: hasCap ? valuer.mostNanoUsd(tokens, model, 'direct') : undefined,
    }
    return { ...queued, load, tier }
  }

  /** Commits a line as sent; waits for what calls on the wire may give back of the hard cap. False when a limit is in the way. */
  async take(file: DirectFile, line: CallLine): Promise<boolean> {
    for (;;) {
      if (this.#context.pace?.isOver) return false
      const settled = this.#settled.wait()
      const blocked = await this.#commitSent(file, line)
      if (blocked.length === 0) return true
      const isPassing = this.#onWire > 0 && blocked.every((reason) => reason === 'max spend')
      if (!isPassing || this.#options.isEnding()) {
        this.#deny(file.id, line.load)
        return false
      }
      await settled
    }
  }

  #commitSent(file: DirectFile, { request, tokens, load, tier }: CallLine): Promise<readonly Blocked[]> {
    const { store, settings } = this.#context
    const hasCap = settings.limits.maxSpendNanoUsd !== undefined
    return store.commit((draft) => {
      const blocked = this.#excesses(load).map(({ reason }) => reason)
      if (blocked.length > 0) return blocked
      this.#onWire++
      draft.apply({
        kind: 'sent',
        file: file.id,
        requests: [request],
        tokens,
        expectedNanoUsd: load.nanoUsd,
        ...(hasCap && { reserved: load.mostNanoUsd ?? 0 }),
        ...(tier === 'flex' && { tier }),
      })
      return blocked
    })
  }

  #deny(file: number, load: Load): void {
    const known = this.#denied.get(file)
    if (!known || (load.mostNanoUsd ?? load.nanoUsd) < (known.mostNanoUsd ?? known.nanoUsd))
      this.#denied.set(file, load)
  }

  /** A call is over, or lost, and the step that says so settles what was set aside for it. */
  offWire(): void {
    this.#onWire--
    this.#settled.notify()
  }

  /** What is set aside for a line, in nano-USD. */
  reservedFor({ load }: CallLine): number {
    return this.#context.settings.limits.maxSpendNanoUsd === undefined ? 0 : (load.mostNanoUsd ?? 0)
  }

  /** The answer was lost, and the server may have done the work: it is charged the most that it can have cost. */
  async lose(file: DirectFile, line: CallLine): Promise<void> {
    const { store, valuer } = this.#context
    const { model } = file
    await valuer.load(model)
    const charged = valuer.mostOf(this.#countable(file, line), valuer.card(model, 'direct'))
    const released = this.reservedFor(line)
    await store.commit((draft) => {
      this.offWire()
      draft.apply({
        kind: 'uncertain',
        file: file.id,
        requests: [line.request],
        ...(charged && { charged }),
        ...(released > 0 && { released }),
      })
    })
  }

  /** What an answer cost, at the tier that the server says it was given at. */
  async price(file: DirectFile, line: CallLine, outcome: LineOutcome) {
    const { valuer } = this.#context
    const { model } = file
    const served = outcome.kind === 'reply' ? outcome.body.service_tier : undefined
    const tier = served === 'flex' ? 'flex' : undefined
    if (served === 'priority') this.#warnOfPriority()
    if (isUnmetered(outcome)) await valuer.load(model)
    const cost = answerCost(outcome, valuer.cards(model, tier ?? 'direct'), (card) =>
      valuer.mostOf(this.#countable(file, line), card),
    )
    return { cost, tier } as const
  }

  /** A project can make this tier the one of every call that names none; the price list does not have it. */
  #warnOfPriority(): void {
    if (this.#saidPriority) return
    this.#saidPriority = true
    const message =
      'the server answers at the priority tier, which costs more than the price list says: costs are too low, and --max-spend does not hold. Set service_tier to "default" in the bodies, or give the prices with --cost-input-direct-mtoken and --cost-output-direct-mtoken'
    this.#context.emit({ kind: 'warning', code: 'priority_tier', message })
  }

  #countable({ endpoint, model }: DirectFile, { request, text }: CallLine) {
    const { key } = this.#context.store.durable.requests.identity(request)
    return { key, endpoint, model, bodyText: lineBody(text) }
  }
}
