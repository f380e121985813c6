import type { ResolvedOptions } from '../util/options.ts'
import { AnswerCache, type Found } from './answer-cache.ts'
import type { Context } from './context.ts'
import type { Draft } from './draft.ts'
import type { PreparedRequest } from './queue.ts'
import type { RequestResult } from './request-result.ts'
import { enqueueReused } from './reused-lines.ts'
import { TwinIndex } from './twin-index.ts'
import { enqueueDistinct } from './twins.ts'

export interface ReuseOptions extends Pick<ResolvedOptions, 'cache' | 'dedupe'> {
  /** Base URL of the server; undefined: OpenAI's. */
  readonly baseUrl: string | undefined
}

/** Keeps an answer for other tasks; to be called when its verdict is durable. */
export type Keep = () => void

type Enqueue = (requests: readonly PreparedRequest[]) => void

/** Spares requests that are answered already, by an earlier task (`--cache`) or for an identical one (`--dedupe`). */
export class Reuse {
  readonly #context: Context
  readonly #cache: AnswerCache | undefined
  /** Undefined unless identical requests of the task are to share an answer. */
  #twins: TwinIndex | undefined

  private constructor(context: Context, cache: AnswerCache | undefined, twins: TwinIndex | undefined) {
    this.#context = context
    this.#cache = cache
    this.#twins = twins
  }

  /** Undefined when nothing is to be spared. Throws StateError when the cache cannot be used: before anything is paid for. */
  static async open(
    context: Context,
    { cache: directory, dedupe, baseUrl }: ReuseOptions,
  ): Promise<Reuse | undefined> {
    if (directory === undefined && !dedupe) return undefined
    const { clock, emit, store } = context
    const requests = () => store.head.requests
    const cache =
      directory === undefined
        ? undefined
        : await AnswerCache.open({ directory, baseUrl, dedupe, clock, emit, requests })
    try {
      return new Reuse(context, cache, dedupe ? await TwinIndex.read(context) : undefined)
    } catch (error) {
      cache?.close()
      throw error
    }
  }

  /** The first of some new requests, and the answers that are there for them; see `AnswerCache.find`. */
  find(requests: readonly PreparedRequest[], most?: number): Found {
    return this.#cache?.find(requests, most) ?? { fresh: requests, answered: [] }
  }

  /** Adds what was found to a draft; `enqueue` queues what has to be asked. */
  add(draft: Draft, { fresh, answered }: Found, enqueue: Enqueue): void {
    enqueueReused(draft, answered, this.#context.valuer)
    if (this.#twins) enqueueDistinct(draft, fresh, this.#twins, enqueue)
    else enqueue(fresh)
    this.#cache?.added(draft.requests, [...answered, ...fresh])
  }

  /** A request goes on with another body: identical ones do not wait for its answer. */
  repaired({ request, ...asked }: RequestResult): void {
    this.#twins?.forget(request, asked)
  }

  /** For an answer that is accepted; undefined when there is nothing to keep. It holds on to the answer's text alone. */
  keeping(result: RequestResult): Keep | undefined {
    const cache = this.#cache
    const entry = cache?.entryFor(result)
    return cache && entry && (() => cache.keep(entry))
  }

  /** The task's requests are not what they were: some were wiped, and none is pending. */
  reset(): void {
    this.#cache?.reset()
    if (this.#twins) this.#twins = new TwinIndex()
  }

  /** May be called again. */
  close(): void {
    this.#cache?.close()
  }
}
