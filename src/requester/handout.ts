import { type FileIn, inPhase } from '../batch/queue-file.ts'
import type { Notifier } from '../util/notifier.ts'
import type { Context } from './context.ts'
import type { RequestResult } from './request-result.ts'
import type { ResultReader } from './result-reader.ts'

export interface HandoutOptions {
  readonly reader: ResultReader
  /** Wakes whoever waits for results or for room. */
  readonly news: Notifier
  /** Direct sets of an earlier run: of them only answered lines are left. */
  readonly foundDirect: ReadonlySet<number>
  /** False when the task is thrown away, answers included. */
  readonly isWanted: boolean
  /** Called when a turn of the engine might find something new to do. */
  readonly onChange: () => void
}

const isReceived = inPhase('received')
const isDirect = inPhase('direct')

/** Results that wait for the consumer before direct sending holds back, as a multiple of the concurrency. */
const READY_PER_CONNECTION = 4

/** Hands durable results to the consumer, each once in a run, and knows which are not judged yet. */
export class Handout {
  readonly #context: Context
  readonly #options: HandoutOptions
  /** Results of direct calls on their way to the consumer. */
  readonly #ready: RequestResult[] = []
  /** Received files whose results are being, or have been, handed out. */
  readonly #opened = new Set<number>()
  /** Handed out and not judged yet, by request. */
  readonly #outstanding = new Set<number>()
  #reading = false

  constructor(context: Context, options: HandoutOptions) {
    this.#context = context
    this.#options = options
  }

  /** Results of a file are being handed out, and there may be more. */
  get isReading(): boolean {
    return this.#reading
  }

  /** Something is on its way to the consumer, or with it. */
  get isBusy(): boolean {
    return this.#ready.length > 0 || this.#reading || this.#outstanding.size > 0
  }

  /** There is a received file that nobody has opened yet. */
  get hasUnopened(): boolean {
    return this.#unopened() !== undefined
  }

  /** Takes the result of a direct call; resolves when there is room for more. */
  async deliver(result: RequestResult): Promise<void> {
    const { stop, settings } = this.#context
    this.#ready.push(result)
    this.#options.news.notify()
    const most = READY_PER_CONNECTION * settings.directConcurrency
    while (this.#ready.length > most && !stop.aborted) await this.#options.news.wait()
  }

  /** A handed-out result has its verdict. */
  judged(request: number): void {
    this.#outstanding.delete(request)
    if (this.#outstanding.size === 0) this.#options.onChange()
  }

  /** Results as they come, direct ones first. `mayGiveMore` says whether to wait for others, and throws what stopped the run. */
  async *results(mayGiveMore: () => boolean): AsyncGenerator<RequestResult> {
    for (;;) {
      const news = this.#options.news.wait()
      const goesOn = mayGiveMore()
      if (this.#context.stop.aborted) return
      const direct = this.#ready.shift()
      const file = direct ? undefined : this.#unopened()
      if (direct) yield this.#handOut(direct)
      else if (file) yield* this.#resultsOf(file, mayGiveMore)
      else if (goesOn) await news
      else return
    }
  }

  async *#resultsOf(
    file: FileIn<'received' | 'direct'>,
    mayGiveMore: () => boolean,
  ): AsyncGenerator<RequestResult> {
    this.#opened.add(file.id)
    this.#reading = true
    let done = false
    try {
      for await (const result of this.#options.reader.results(file)) {
        for (let direct = this.#ready.shift(); direct; direct = this.#ready.shift())
          yield this.#handOut(direct)
        yield this.#handOut(result)
        mayGiveMore()
        if (this.#context.stop.aborted) return
      }
      done = true
    } finally {
      // Whoever broke off may come back for the rest.
      if (!done) this.#opened.delete(file.id)
      this.#reading = false
      this.#options.onChange()
    }
  }

  #handOut(result: RequestResult): RequestResult {
    this.#outstanding.add(result.request)
    this.#options.news.notify()
    return result
  }

  /** A received batch, or the answered part of a direct set that an earlier run left, that nobody has opened yet. */
  #unopened(): FileIn<'received' | 'direct'> | undefined {
    if (!this.#options.isWanted) return undefined
    for (const file of this.#context.store.durable.state.files.values()) {
      if (this.#opened.has(file.id) || file.live === 0) continue
      if (isReceived(file)) return file
      if (isDirect(file) && this.#options.foundDirect.has(file.id)) return file
    }
    return undefined
  }
}
