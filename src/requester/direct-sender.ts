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
import { directAllowance } from '../batch/limits.ts'
import { withWorkingKey } from '../batch/line-outcome.ts'
import type { FileIn } from '../batch/queue-file.ts'
import type { DirectReply } from '../batch/remote-api.ts'
import { readReply } from '../batch/reply.ts'
import type { StepOf } from '../batch/steps.ts'
import { lineBody, lineId } from '../batch/wire-line.ts'
import { RemoteError, StateError } from '../errors.ts'
import { readLineChunks } from '../state/json-lines.ts'
import { zeroUsage } from '../tokens/usage.ts'
import type { Context } from './context.ts'
import { type Answer, answerOf, endOf, pushback, refusedKey } from './direct-call.ts'
import { queueFileName, repliesFileName } from './files.ts'
import { Outage } from './outage.ts'
import { Interrupted, Patience } from './patience.ts'
import { enqueueAgain, type RequeueCause } from './queue.ts'
import type { RequestResult } from './request-result.ts'
import { requestOf } from './result-index.ts'
import type { ResultReader } from './result-reader.ts'

/** Larger than most answers; larger ones are learned from. */
const LONG_REPLY_BYTES = 64 * 1024

type DirectFile = FileIn<'direct'>

interface Line {
  readonly request: number
  readonly customId: string
  readonly text: string
}

/** Why a call is made again. */
interface Repetition {
  readonly problem: RemoteError
  readonly patience: Patience
  readonly why: 'unsent' | 'uncertain'
}

export interface DirectSenderOptions {
  readonly reader: ResultReader
  readonly sentBefore: number
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
    this.#rate = initialRate(context.settings.directConcurrency)
    this.#limit = pLimit(context.settings.directConcurrency)
  }

  /** Calls on the wire or waiting for a connection. */
  get backlog(): number {
    return this.#backlog
  }

  /** Calls that the limits still allow. */
  get allowance(): number {
    const { store, settings } = this.#context
    const { state } = store.head
    const taskRequests = state.spending.sentRequests
    const sent = { taskRequests, sessionRequests: taskRequests - this.#options.sentBefore }
    return directAllowance(state.files.values(), sent, settings.limits)
  }

  /**
   * Sends what is not sent yet of a set, and waits for all replies. Resolves with false when lines are left because
   * of a limit or because the run is to stop.
   */
  async run(id: number): Promise<boolean> {
    const { store, emit, stop } = this.#context
    const file = store.durable.state.files.get(id)
    if (file?.phase !== 'direct') return true
    let complete = true
    emit({ kind: 'direct-started', file: file.id, model: file.model, requests: file.live })
    const calls = new Set<Promise<void>>()
    for await (const lines of readLineChunks(store.fs, store.path(queueFileName(file.id)))) {
      for (const { text } of lines) {
        if (stop.aborted || this.#failure !== undefined) break
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
    return complete && !stop.aborted
  }

  #unsent(file: DirectFile, text: string): Line | undefined {
    const { requests } = this.#context.store.head
    const customId = lineId(text) ?? ''
    const request = requestOf(customId, requests, file.id)
    if (request === undefined || requests.get(request).call !== 'queued') return undefined
    return { request, customId, text }
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
    }
  }

  /** Resolves with false when the line was not sent. */
  async #send(file: DirectFile, line: Line): Promise<boolean> {
    const { store, stop } = this.#context
    await this.#untilUnpaused()
    if (stop.aborted || this.#failure !== undefined) return false
    const room = await store.space.reserve(this.#replyBytes, 'the answer to a direct call')
    try {
      const allowed = await store.commit((draft) => {
        if (this.allowance < 1) return false
        draft.apply({ kind: 'sent', file: file.id, requests: [line.request] })
        return true
      })
      if (allowed) await this.#record(file, line, await this.#untilAnswered(file, line))
      return allowed
    } finally {
      room.release()
    }
  }

  /** Sends until there is an answer about the request itself. What is about anything else uses up no attempt. */
  async #untilAnswered(file: DirectFile, line: Line): Promise<Answer> {
    const patience = new Patience(this.#context, 'direct calls')
    let answer = await this.#ask(file, line)
    for (let losses = 0; ; ) {
      const end = endOf(answer)
      if (mayHaveActed(end)) losses++
      if (end.kind === 'answered' && !end.failure) this.#keyWorks = true
      const failing = this.#outage.note(line.request, end)
      const plan = planAfterCall(end, { losses, failing, keyWorks: this.#keyWorks })
      if (end.kind === 'lost' || (plan === 'repeat' && mayHaveActed(end)))
        await this.#note('uncertain', file, line)
      if (plan === 'record') {
        this.#adaptTo(answer.reply)
        return answer
      }
      if (plan === 'stop') {
        await this.#giveBack(file, line, { why: 'unsent', reason: 'the key was refused' })
        throw refusedKey(answer)
      }
      const problem = pushback(answer)
      this.#goAt(afterPushback(this.#rate, this.#context.clock.now(), problem.retryAfterMs))
      const failure = { problem, patience, why: losses > 0 ? 'uncertain' : 'unsent' } as const
      answer = await this.#outage.again(async () => {
        await this.#pauseOrGiveBack(file, line, failure)
        if (mayHaveActed(end)) await this.#note('sent', file, line)
        return this.#ask(file, line)
      })
    }
  }

  async #ask(file: DirectFile, line: Line): Promise<Answer> {
    return answerOf(file.endpoint, line.customId, await this.#call(file, line))
  }

  async #call(file: DirectFile, line: Line): Promise<DirectReply | RemoteError> {
    const { api, settings, cut } = this.#context
    const call = {
      endpoint: file.endpoint,
      bodyText: lineBody(line.text),
      timeoutMs: settings.requestTimeoutMs,
    }
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

  /**
   * `uncertain`: the connection ended without an answer; the server may have done the work, and may do it twice now.
   * `sent`: it is asked to.
   */
  async #note(kind: 'uncertain' | 'sent', file: DirectFile, { request }: Line): Promise<void> {
    await this.#context.store.commit((draft) => draft.apply({ kind, file: file.id, requests: [request] }))
  }

  /** The line goes back to the queue: nothing of it is on the wire any more. */
  async #giveBack(file: DirectFile, line: Line, cause: RequeueCause): Promise<void> {
    const { store, settings } = this.#context
    const again = { endpoint: file.endpoint, model: file.model, bodyText: lineBody(line.text) }
    await store.commit((draft) => enqueueAgain(draft, line.request, again, cause, settings.seal))
  }

  /** Waits for the next try, or gives the line back when the run ends meanwhile. */
  async #pauseOrGiveBack(
    file: DirectFile,
    line: Line,
    { problem, patience, why }: Repetition,
  ): Promise<void> {
    try {
      await patience.afterFailure(problem, pauseLeftMs(this.#rate, this.#context.clock.now()))
    } catch (error) {
      await this.#giveBack(file, line, { why, reason: problem.message })
      throw error
    }
  }

  async #untilUnpaused(): Promise<void> {
    const { clock, stop } = this.#context
    const ms = pauseLeftMs(this.#rate, clock.now())
    if (ms > 0) await clock.sleep(ms, stop)
  }

  /** Keeps an answer, or in its stead why there is none: as durable as an answer, and judged as one. */
  async #record(file: DirectFile, line: Line, { reply, line: kept, outcome: said }: Answer): Promise<void> {
    const outcome = withWorkingKey(said)
    const { usage, costNanoUsd } = this.#options.reader.priced(file, outcome)
    await this.#receive(kept, {
      kind: 'received',
      file: file.id,
      requests: [line.request],
      usage: usage ?? zeroUsage,
      ...(costNanoUsd === undefined ? { unpriced: 1 } : { costNanoUsd }),
    })
    const described = await this.#options.reader.describe(file, line.request, line.text, outcome)
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
