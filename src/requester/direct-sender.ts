import pLimit, { type LimitFunction } from 'p-limit'
import type { HeldBack } from '../batch/limit-text.ts'
import type { Spending } from '../batch/task-state.ts'
import { lineBody, lineId } from '../batch/wire-line.ts'
import { readLineChunks } from '../state/json-lines.ts'
import { CallAccount, type DirectFile, type QueuedLine } from './call-account.ts'
import type { Context } from './context.ts'
import { DirectCaller } from './direct-caller.ts'
import { DirectRecorder } from './direct-recorder.ts'
import { queueFileName } from './files.ts'
import { Interrupted } from './patience.ts'
import type { RequestResult } from './request-result.ts'
import { requestOf } from './result-index.ts'
import type { ResultReader } from './result-reader.ts'

export interface DirectSenderOptions {
  readonly reader: ResultReader
  /** What had been spent when the run began. */
  readonly before: Spending
  /** Takes a result as soon as its reply is durable; resolves when there is room for more. */
  readonly deliver: (result: RequestResult) => Promise<void>
}

/**
 * Sends direct sets, several calls at a time: each call is committed as sent before it goes out, each reply is
 * durable before anything is decided about it.
 */
export class DirectSender {
  readonly #context: Context
  readonly #options: DirectSenderOptions
  readonly #account: CallAccount
  readonly #caller: DirectCaller
  readonly #recorder: DirectRecorder
  readonly #limit: LimitFunction
  #backlog = 0
  #failure: unknown

  constructor(context: Context, options: DirectSenderOptions) {
    this.#context = context
    this.#options = options
    const { before, reader } = options
    const account = new CallAccount(context, { before, isEnding: () => this.#isEnding })
    const limit = pLimit(context.settings.directConcurrency)
    const onConcurrency = (concurrency: number): void => {
      limit.concurrency = concurrency
    }
    this.#account = account
    this.#limit = limit
    this.#caller = new DirectCaller(context, { account, onConcurrency })
    this.#recorder = new DirectRecorder(context, { account, reader })
  }

  /** Calls on the wire or waiting for a connection. */
  get backlog(): number {
    return this.#backlog
  }

  /** Calls that are sent and not settled, and how many the server allows at present. */
  get wire(): { readonly onWire: number; readonly concurrency: number } {
    return { onWire: this.#account.onWire, concurrency: this.#caller.concurrency }
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
    const { store, emit, settings } = this.#context
    const file = store.durable.state.files.get(id)
    if (file?.phase !== 'direct') return true
    let complete = true
    this.#account.begin(id)
    emit({ kind: 'direct-started', file: file.id, model: file.model, requests: file.live })
    const calls = new Set<Promise<void>>()
    for await (const line of this.#unsentLines(file)) {
      if (calls.size >= 2 * settings.directConcurrency) await Promise.race(calls)
      const call = this.#start(file, line).then((sent) => {
        complete &&= sent
        calls.delete(call)
      })
      calls.add(call)
    }
    await Promise.all(calls)
    if (this.#failure !== undefined) throw this.#failure
    return complete && !this.#isEnding
  }

  /** Ends early when nothing more is to be sent. */
  async *#unsentLines(file: DirectFile): AsyncGenerator<QueuedLine> {
    const { store } = this.#context
    for await (const lines of readLineChunks(store.fs, store.path(queueFileName(file.id)))) {
      for (const { text } of lines) {
        if (this.#isEnding) return
        const line = this.#unsent(file, text)
        if (line) yield line
      }
    }
  }

  #unsent(file: DirectFile, text: string): QueuedLine | undefined {
    const { store, valuer } = this.#context
    const { requests } = store.head
    const customId = lineId(text) ?? ''
    const request = requestOf(customId, requests, file.id)
    if (request === undefined || requests.get(request).call !== 'queued') return undefined
    const { endpoint, model } = file
    const { key } = requests.identity(request)
    const tokens = valuer.forecast({ key, endpoint, model, bodyText: lineBody(text) })
    return { request, customId, text, tokens }
  }

  /** One line, from its place in the queue to its delivery. Never rejects: the first failure ends the set. */
  async #start(file: DirectFile, line: QueuedLine): Promise<boolean> {
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
  async #send(file: DirectFile, queued: QueuedLine): Promise<boolean> {
    const { store } = this.#context
    await this.#caller.untilUnpaused()
    if (this.#isEnding) return false
    const room = await store.space.reserve(this.#recorder.replyBytes, 'the answer to a direct call')
    try {
      const line = this.#account.lineOf(file, queued)
      if (!(await this.#account.take(file, line))) return false
      const answer = await this.#caller.call(file, line)
      await this.#options.deliver(await this.#recorder.record(file, line, answer))
      return true
    } finally {
      room.release()
    }
  }
}
