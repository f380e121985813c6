import pLimit, { type LimitFunction } from 'p-limit'
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
import type { HeldBack } from '../batch/limit-text.ts'
import { withWorkingKey } from '../batch/line-outcome.ts'
import type { DirectReply } from '../batch/remote-api.ts'
import { readReply } from '../batch/reply.ts'
import type { StepOf } from '../batch/steps.ts'
import type { Spending } from '../batch/task-state.ts'
import { lineBody, lineId } from '../batch/wire-line.ts'
import { RemoteError, StateError } from '../errors.ts'
import type { Endpoint } from '../openai/wire.ts'
import { readLineChunks } from '../state/json-lines.ts'
import { CallAccount, type DirectFile, type CallLine as Line } from './call-account.ts'
import type { Context } from './context.ts'
import { type Answer, answerOf, endOf, pushback, refusedKey } from './direct-call.ts'
import { queueFileName, repliesFileName } from './files.ts'
import { callInPace, LEAST_FLEX_TIMEOUT_MS } from './flex-calls.ts'
import { Outage } from './outage.ts'
import { Interrupted, Patience } from './patience.ts'
import { enqueueAgain, type RequeueCause } from './queue.ts'
import { sealedLine } from './reply-line.ts'
import { ReplyTotals } from './reply-totals.ts'
import type { RequestResult } from './request-result.ts'
import { requestOf } from './result-index.ts'
import type { ResultReader } from './result-reader.ts'

/** Larger than most answers; larger ones are learned from. */
const LONG_REPLY_BYTES = 64 * 1024

/** Why a call is made again. */
interface Repetition {
  readonly problem: RemoteError
  readonly patience: Patience
  readonly why: 'unsent' | 'uncertain'
}

/** An answer, and whether what was set aside for its call has been given back already. */
interface SettledAnswer extends Answer {
  readonly isCharged: boolean
}

export interface DirectSenderOptions {
  readonly reader: ResultReader
  /** What had been spent when the run began. */
  readonly before: Spending
  /** Takes a result as soon as its reply is durable; resolves when there is room for more. */
  readonly deliver: (result: RequestResult) => Promise<void>
}

/**
 * Sends direct sets, several calls at a time: each call is committed as sent before it goes out, each reply is
 * durable before anything is decided about it. The rate adapts to what the server says.
 */
export class DirectSender {
  readonly #context: Context
  readonly #options: DirectSenderOptions
  readonly #account: CallAccount
  readonly #limit: LimitFunction
  #rate: DirectRate
  #backlog = 0
  #failure: unknown
  /** Kept free on the disk for each answer to come. */
  #replyBytes = LONG_REPLY_BYTES
  readonly #outage = new Outage()
  #keyWorks = false

  constructor(context: Context, options: DirectSenderOptions) {
    this.#context = context
    this.#options = options
    this.#account = new CallAccount(context, { before: options.before, isEnding: () => this.#isEnding })
    this.#rate = initialRate(context.settings.directConcurrency)
    this.#limit = pLimit(context.settings.directConcurrency)
  }

  /** Calls on the wire or waiting for a connection. */
  get backlog(): number {
    return this.#backlog
  }

  /** Calls that are sent and not settled, and how many the server allows at present. */
  get wire(): { readonly onWire: number; readonly concurrency: number } {
    return { onWire: this.#account.onWire, concurrency: concurrencyOf(this.#rate) }
  }

  /** Nothing more is to be sent in this run. */
  get #isEnding(): boolean {
    const { stop, pace } = this.#context
    return stop.aborted || this.#failure !== undefined || pace?.isOver === true
  }

  /** Whether the limits let anything more of a set be sent now. */
  mayGoOn(file: number): boolean {
    return this.#account.mayGoOn(file)
  }

  /** What is left of a set, and the limits in its way. */
  heldBack(file: number): HeldBack {
    return this.#account.heldBack(file)
  }

  /**
   * Sends what is not sent yet of a set, and waits for all replies. Resolves with false when lines are left because
   * of a limit or because the run is to stop.
   */
  async run(id: number): Promise<boolean> {
    const { store, emit } = this.#context
    const file = store.durable.state.files.get(id)
    if (file?.phase !== 'direct') return true
    let complete = true
    this.#account.begin(id)
    emit({ kind: 'direct-started', file: file.id, model: file.model, requests: file.live })
    const calls = new Set<Promise<void>>()
    for await (const lines of readLineChunks(store.fs, store.path(queueFileName(file.id)))) {
      for (const { text } of lines) {
        if (this.#isEnding) break
        const line = this.#unsent(file, text)
        if (!line) continue
        if (calls.size >= 2 * this.#context.settings.directConcurrency) await Promise.race(calls)
        const call = this.#start(file, line).then((sent) => {
          complete &&= sent
          calls.delete(call)
        })
        calls.add(call)
      }
    }
    await Promise.all(calls)
    if (this.#failure !== undefined) throw this.#failure
    return complete && !this.#isEnding
  }

  #unsent(file: DirectFile, text: string): Line | undefined {
    const { store, valuer } = this.#context
    const { requests } = store.head
    const customId = lineId(text) ?? ''
    const request = requestOf(customId, requests, file.id)
    if (request === undefined || requests.get(request).call !== 'queued') return undefined
    const { endpoint, model } = file
    const { key } = requests.identity(request)
    const tokens = valuer.forecast({ key, endpoint, model, bodyText: lineBody(text) })
    return { request, customId, text, tokens, load: this.#account.loadOf(file, tokens) }
  }

  /** One line, from its place in the queue to its delivery. Never rejects: the first failure ends the set. */
  async #start(file: DirectFile, line: Line): Promise<boolean> {
    this.#backlog++
    try {
      return await this.#limit(() => this.#send(file, line))
    } catch (error) {
      if (!(error instanceof Interrupted)) this.#failure ??= error
      return false
    } finally {
      this.#backlog--
      this.#account.notify()
    }
  }

  /** Resolves with false when the line was not sent. */
  async #send(file: DirectFile, line: Line): Promise<boolean> {
    const { store } = this.#context
    await this.#untilUnpaused()
    if (this.#isEnding) return false
    const room = await store.space.reserve(this.#replyBytes, 'the answer to a direct call')
    try {
      if (!(await this.#account.take(file, line))) return false
      await this.#record(file, line, await this.#timed(line, this.#untilAnswered(file, line)))
      return true
    } finally {
      room.release()
    }
  }

  /** Has it on record how long a line takes up its place on the wire. */
  async #timed(line: Line, answered: Promise<SettledAnswer>): Promise<SettledAnswer> {
    let isAnswered = false
    try {
      const answer = await answered
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
    this.#limit.concurrency = concurrencyOf(rate)
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

  async #untilUnpaused(): Promise<void> {
    const { clock, stop, pace } = this.#context
    const ms = pauseLeftMs(this.#rate, clock.now())
    if (ms > 0) await clock.sleep(ms, pace ? AbortSignal.any([stop, pace.ended]) : stop)
  }

  /** Keeps an answer, or in its stead why there is none: as durable as an answer, and judged as one. */
  async #record(
    file: DirectFile,
    line: Line,
    { reply, text, outcome: said, isCharged }: SettledAnswer,
  ): Promise<void> {
    const outcome = withWorkingKey(said)
    const { cost, tier } = await this.#account.price(file, line, outcome)
    const totals = new ReplyTotals()
    totals.add(cost)
    const { tokens, load } = line
    const charge = { costNanoUsd: cost.costNanoUsd, ...(tier && { tier }) }
    await this.#receive(sealedLine(text, charge), {
      kind: 'received',
      file: file.id,
      requests: [line.request],
      ...totals.columns,
      ...(outcome.kind === 'reply' && {
        expected: { input: tokens.input, output: tokens.output, costNanoUsd: load.nanoUsd },
      }),
      ...(tier && { tier }),
      ...(!isCharged && { released: this.#account.reservedFor(line) }),
    })
    if (!isCharged) this.#account.offWire()
    const described = await this.#options.reader.describe(file, line.request, line.text, {
      ...outcome,
      charge,
    })
    this.#report(described, reply instanceof RemoteError ? reply.message : reply.text)
    await this.#options.deliver(described)
  }

  async #receive(text: string, step: StepOf<'received'>): Promise<void> {
    const { store } = this.#context
    const line = `${text}\n`
    this.#replyBytes = Math.max(this.#replyBytes, Buffer.byteLength(line))
    const commit = () =>
      store.commit((draft) => {
        draft.append(repliesFileName(step.file), line)
        draft.apply(step)
      })
    try {
      await commit()
    } catch (error) {
      if (!(error instanceof StateError)) throw error
      // It may have fallen with larger work that it was built on. It is paid for: alone it may have room.
      await commit()
    }
  }

  #report({ key, outcome, bodyText, endpoint }: RequestResult, text: string): void {
    const reply = outcome.kind === 'reply' ? readReply(endpoint, outcome.body) : undefined
    const warned = reply?.kind === 'reply' && reply.warnings.length > 0
    this.#context.emit({
      kind: 'direct-call',
      key,
      ok: reply?.kind === 'reply',
      warned,
      request: bodyText,
      reply: text,
    })
  }
}
