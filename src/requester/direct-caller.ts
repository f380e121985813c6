import { mayHaveActed, planAfterCall } from '../batch/direct-answer.ts'
import {
  afterPushback,
  afterServerError,
  afterSuccess,
  concurrencyOf,
  type DirectRate,
  initialRate,
  pauseLeftMs,
} from '../batch/direct-rate.ts'
import type { DirectReply } from '../batch/remote-api.ts'
import { lineBody } from '../batch/wire-line.ts'
import { RemoteError } from '../errors.ts'
import type { Endpoint } from '../openai/wire.ts'
import type { CallAccount, DirectFile, CallLine as Line } from './call-account.ts'
import type { Context } from './context.ts'
import { type Answer, answerOf, endOf, pushback, refusedKey } from './direct-call.ts'
import { callInPace, LEAST_FLEX_TIMEOUT_MS } from './flex-calls.ts'
import { Outage } from './outage.ts'
import { Interrupted, Patience } from './patience.ts'
import { enqueueAgain, type RequeueCause } from './queue.ts'

/** Why a call is made again. */
interface Repetition {
  readonly problem: RemoteError
  readonly patience: Patience
  readonly why: 'unsent' | 'uncertain'
}

/** An answer, and whether what was set aside for its call has been given back already. */
export interface SettledAnswer extends Answer {
  readonly isCharged: boolean
}

export interface DirectCallerOptions {
  readonly account: CallAccount
  /** So many calls at a time the server allows from now on. */
  readonly onConcurrency: (concurrency: number) => void
}

/**
 * Makes direct calls that are committed as sent, each until there is an answer about its request, at a rate that
 * adapts to what the server says. A line without an answer goes back to the queue.
 */
export class DirectCaller {
  readonly #context: Context
  readonly #account: CallAccount
  readonly #onConcurrency: DirectCallerOptions['onConcurrency']
  #rate: DirectRate
  readonly #outage = new Outage()
  #keyWorks = false

  constructor(context: Context, { account, onConcurrency }: DirectCallerOptions) {
    this.#context = context
    this.#account = account
    this.#onConcurrency = onConcurrency
    this.#rate = initialRate(context.settings.directConcurrency)
  }

  /** Calls that the server allows at one time at present: at least 1. */
  get concurrency(): number {
    return concurrencyOf(this.#rate)
  }

  /** Waits until the server takes calls again, or the run ends. */
  async untilUnpaused(): Promise<void> {
    const { clock, stop, pace } = this.#context
    const ms = pauseLeftMs(this.#rate, clock.now())
    if (ms > 0) await clock.sleep(ms, pace ? AbortSignal.any([stop, pace.ended]) : stop)
  }

  /**
   * Makes the call of a line that is committed as sent. How long it takes up its place on the wire is put on record.
   * Throws `Interrupted` when the run ends before there is an answer, and what stops the run.
   */
  async call(file: DirectFile, line: Line): Promise<SettledAnswer> {
    let isAnswered = false
    try {
      const answer = await this.#untilAnswered(file, line)
      isAnswered = true
      return answer
    } finally {
      const { pace, clock } = this.#context
      pace?.finished(line, clock.now(), isAnswered)
    }
  }

  /** Sends until there is an answer about the request itself. What is about anything else uses up no attempt. */
  async #untilAnswered(file: DirectFile, line: Line): Promise<SettledAnswer> {
    const patience = new Patience(this.#context, 'direct calls')
    let answer = await this.#ask(file, line)
    for (let losses = 0; ; ) {
      const end = endOf(answer)
      if (mayHaveActed(end)) losses++
      if (end.kind === 'answered' && !end.failure) this.#keyWorks = true
      const failing = this.#outage.note(line.request, end)
      const plan = planAfterCall(end, { losses, failing, keyWorks: this.#keyWorks })
      const isUncertain = mayHaveActed(end)
      if (isUncertain) await this.#account.lose(file, line)
      if (plan === 'record') {
        this.#adaptTo(answer.reply)
        return { ...answer, isCharged: isUncertain }
      }
      if (plan === 'stop') {
        await this.#giveBack(file, line, { why: 'unsent', reason: 'the key was refused' }, isUncertain)
        throw refusedKey(answer)
      }
      const problem = pushback(answer)
      this.#goAt(afterPushback(this.#rate, this.#context.clock.now(), problem.retryAfterMs))
      const failure = { problem, patience, why: losses > 0 ? 'uncertain' : 'unsent' } as const
      answer = await this.#outage.again(async () => {
        await this.#pauseOrGiveBack(file, line, failure, isUncertain)
        if (isUncertain) await this.#sendAgain(file, line, failure)
        return this.#ask(file, line)
      })
    }
  }

  async #ask(file: DirectFile, line: Line): Promise<Answer> {
    const { pace } = this.#context
    const { endpoint, model } = file
    const bodyText = lineBody(line.text)
    const send = async (text: string, tier: 'flex' | 'direct') =>
      answerOf(endpoint, line.customId, await this.#call(endpoint, text, tier))
    if (!pace) return send(bodyText, 'direct')
    const onInterrupted = (reason: string) => this.#giveBack(file, line, { why: 'unsent', reason }, false)
    return callInPace(this.#context, pace, { endpoint, model, bodyText, place: line, send, onInterrupted })
  }

  async #call(
    endpoint: Endpoint,
    bodyText: string,
    tier: 'flex' | 'direct',
  ): Promise<DirectReply | RemoteError> {
    const { api, settings, cut } = this.#context
    const timeoutMs =
      tier === 'flex' ? Math.max(settings.requestTimeoutMs, LEAST_FLEX_TIMEOUT_MS) : settings.requestTimeoutMs
    const call = { endpoint, bodyText, timeoutMs }
    try {
      return await api.call(call, cut)
    } catch (error) {
      // Cut off by the caller: it stays "sent without a reply", which the next run marks as uncertain.
      if (cut.aborted) throw new Interrupted()
      if (error instanceof RemoteError && error.retryable) return error
      throw error
    }
  }

  #adaptTo(reply: DirectReply | RemoteError): void {
    const now = this.#context.clock.now()
    if (reply instanceof RemoteError) this.#goAt(afterPushback(this.#rate, now, undefined))
    else if (reply.status < 500) this.#goAt(afterSuccess(this.#rate))
    else this.#goAt(afterServerError(this.#rate, now, reply.retryAfterMs))
  }

  #goAt(rate: DirectRate): void {
    this.#rate = rate
    this.#onConcurrency(concurrencyOf(rate))
  }

  /** It may be charged twice: that is put on record, and must fit under every limit, before it is done. */
  async #sendAgain(file: DirectFile, line: Line, { problem, why }: Repetition): Promise<void> {
    if (await this.#account.take(file, line)) return
    await this.#giveBack(file, line, { why, reason: problem.message }, true)
    throw new Interrupted()
  }

  /** The line goes back to the queue: nothing of it is on the wire any more. */
  async #giveBack(file: DirectFile, line: Line, cause: RequeueCause, isOff: boolean): Promise<void> {
    const { store, valuer } = this.#context
    const again = { endpoint: file.endpoint, model: file.model, bodyText: lineBody(line.text) }
    const { tokens: input, nanoUsd } = line.load
    const sent = isOff ? {} : { released: this.#account.reservedFor(line), takenBack: { input, nanoUsd } }
    await store.commit((draft) => {
      if (!isOff) this.#account.offWire()
      enqueueAgain(draft, line.request, again, { ...cause, ...sent }, valuer)
    })
  }

  /** Waits for the next try, or gives the line back when the run ends meanwhile. */
  async #pauseOrGiveBack(
    file: DirectFile,
    line: Line,
    { problem, patience, why }: Repetition,
    isOff: boolean,
  ): Promise<void> {
    try {
      await patience.afterFailure(problem, pauseLeftMs(this.#rate, this.#context.clock.now()))
    } catch (error) {
      await this.#giveBack(file, line, { why, reason: problem.message }, isOff)
      throw error
    }
  }
}
