import { inPhase } from '../batch/queue-file.ts'
import type { Stray } from '../batch/stray.ts'
import { mayServe } from '../batch/strays.ts'
import type { Notifier } from '../util/notifier.ts'
import type { Context } from './context.ts'
import type { RequestResult } from './request-result.ts'
import type { ResultReader } from './result-reader.ts'
import { strayResults } from './stray-results.ts'

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

/** Something results are read from: the results of a batch or direct set, or the answers of a stray. */
interface Source {
  readonly id: string
  readonly results: () => AsyncGenerator<RequestResult>
}

const fileSource = (id: number): string => `file ${id}`
const straySource = ({ batchId }: Stray): string => `stray ${batchId}`
const DIRECT_SOURCE = 'direct'

const isWhole = inPhase('received', 'reused')
const isDirect = inPhase('direct')

/** Results that wait for the consumer before direct sending holds back, as a multiple of the concurrency. */
const READY_PER_CONNECTION = 4

/** Hands durable results to the consumer, each once in a run, and knows which are not judged yet. */
export class Handout {
  readonly #context: Context
  readonly #options: HandoutOptions
  /** Results of direct calls on their way to the consumer. */
  readonly #ready: RequestResult[] = []
  /** Sources whose results are being, or have been, handed out. */
  readonly #opened = new Set<string>()
  /** Requests that were handed out and not judged yet, and the source of each. */
  readonly #outstanding = new Map<number, string>()
  /** Results of direct calls among them: should the consumer break off, nothing else would bring them again. */
  readonly #directOutstanding = new Map<number, RequestResult>()
  #reading: string | undefined

  constructor(context: Context, options: HandoutOptions) {
    this.#context = context
    this.#options = options
  }

  /** Results of a file are being handed out, and there may be more. */
  get isReading(): boolean {
    return this.#reading !== undefined
  }

  /** Something is on its way to the consumer, or with it. */
  get isBusy(): boolean {
    return this.#ready.length > 0 || this.isReading || this.#outstanding.size > 0
  }

  /** There is something received that nobody has opened yet. */
  get hasUnopened(): boolean {
    return this.#unopened() !== undefined
  }

  /** Nothing of a received stray will be handed out any more, and nothing of it waits for its verdict. */
  isSpent(stray: Stray): boolean {
    const id = straySource(stray)
    const { state } = this.#context.store.durable
    const isOver = this.#opened.has(id) && this.#reading !== id
    if (this.#options.isWanted && mayServe(state, stray) && !isOver) return false
    return this.#reading !== id && !this.#outstanding.values().some((source) => source === id)
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
    this.#directOutstanding.delete(request)
    const given = this.#ready.findIndex((result) => result.request === request)
    if (given >= 0) this.#ready.splice(given, 1)
    if (this.#outstanding.size === 0) this.#options.onChange()
  }

  /** Results as they come, direct ones first. `mayGiveMore` says whether to wait for others, and throws what stopped the run. */
  async *results(mayGiveMore: () => boolean): AsyncGenerator<RequestResult> {
    try {
      for (;;) {
        const news = this.#options.news.wait()
        const goesOn = mayGiveMore()
        if (this.#context.stop.aborted) return
        const direct = this.#ready.shift()
        const source = direct ? undefined : this.#unopened()
        if (direct) yield this.#handOutDirect(direct)
        else if (source) yield* this.#resultsOf(source, mayGiveMore)
        else if (goesOn) await news
        else return
      }
    } finally {
      this.#takeBack()
    }
  }

  /** Whoever broke off may come back: what was not judged is handed out again then. */
  #takeBack(): void {
    this.#ready.unshift(...this.#directOutstanding.values())
    this.#directOutstanding.clear()
    this.#outstanding.clear()
  }

  async *#resultsOf(source: Source, mayGiveMore: () => boolean): AsyncGenerator<RequestResult> {
    const { id } = source
    this.#opened.add(id)
    this.#reading = id
    let done = false
    try {
      for await (const result of source.results()) {
        for (let direct = this.#ready.shift(); direct; direct = this.#ready.shift())
          yield this.#handOutDirect(direct)
        yield this.#handOut(result, id)
        mayGiveMore()
        if (this.#context.stop.aborted) return
      }
      done = true
    } finally {
      // Whoever broke off may come back for the rest.
      if (!done) this.#opened.delete(id)
      this.#reading = undefined
      this.#options.onChange()
    }
  }

  #handOutDirect(result: RequestResult): RequestResult {
    this.#directOutstanding.set(result.request, result)
    return this.#handOut(result, DIRECT_SOURCE)
  }

  #handOut(result: RequestResult, source: string): RequestResult {
    this.#outstanding.set(result.request, source)
    this.#options.news.notify()
    return result
  }

  /**
   * A received batch, answers used again, the answered part of a direct set that an earlier run left, or a stray with
   * answers that are waited for, that nobody has opened yet.
   */
  #unopened(): Source | undefined {
    if (!this.#options.isWanted) return undefined
    const { state } = this.#context.store.durable
    for (const file of state.files.values()) {
      if (this.#opened.has(fileSource(file.id)) || file.live === 0) continue
      if (isWhole(file) || (isDirect(file) && this.#options.foundDirect.has(file.id))) {
        const id = fileSource(file.id)
        return { id, results: () => this.#options.reader.results(file, this.#isTakenBeside(id)) }
      }
    }
    for (const stray of state.strays.values()) {
      const id = straySource(stray)
      const file = state.files.get(stray.file)
      if (!file || this.#opened.has(id) || !mayServe(state, stray)) continue
      const { reader } = this.#options
      const isTaken = this.#isTakenBeside(id)
      return { id, results: () => strayResults(this.#context, reader, { file, stray }, isTaken) }
    }
    return undefined
  }

  /** Whether an answer to a request from another source is with the consumer. */
  #isTakenBeside(source: string): (request: number) => boolean {
    return (request) => (this.#outstanding.get(request) ?? source) !== source
  }
}
