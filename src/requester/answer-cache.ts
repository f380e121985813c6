import type { RequestTable } from '../batch/request-table.ts'
import { isWholeAnswer, REUSE_CHUNK } from '../batch/reuse.ts'
import type { ProgressEvent } from '../progress/events.ts'
import { type NewReply, ReplyCache, replyKey } from '../state/reply-cache.ts'
import type { Clock } from '../util/clock.ts'
import { AskNumbers } from './ask-numbers.ts'
import type { PreparedRequest } from './queue.ts'
import type { RequestResult } from './request-result.ts'
import { type AnsweredRequest, replyJson } from './reused-lines.ts'

export interface AnswerCacheOptions {
  /** The folder of the reply cache (`--cache`). */
  readonly directory: string
  /** Base URL of the server; undefined: OpenAI's. */
  readonly baseUrl: string | undefined
  /** Identical requests of the task have one answer together. Otherwise each has its own. */
  readonly dedupe: boolean
  readonly clock: Clock
  readonly emit: (event: ProgressEvent) => void
  /** The task's requests as they are now, with those that are not durable yet. */
  readonly requests: () => RequestTable
}

/** What was found for the first of some new requests. Together they are these, each in one list. */
export interface Found {
  /** Requests that have to be asked. */
  readonly fresh: readonly PreparedRequest[]
  readonly answered: readonly AnsweredRequest[]
}

const OPENAI_URL = 'https://api.openai.com/v1'
/** So many requests are looked up together: their replies are held until they are committed. */
const SLICE = 50
/** Answers are kept together: as many, of so many characters, or after so long. */
const KEEP_REPLIES = 200
const KEEP_CHARACTERS = 1_000_000
const KEEP_MS = 1_000

/** Finds answers that earlier tasks have paid for, and keeps those of this one, in the cache that `--cache` names. */
export class AnswerCache {
  readonly #cache: ReplyCache
  readonly #options: AnswerCacheOptions
  readonly #server: string
  readonly #closing = new AbortController()
  #numbers: AskNumbers | undefined
  /** Numbers of requests that are looked up and not committed yet, by their keys. */
  readonly #looked = new Map<string, number>()
  #kept: NewReply[] = []
  #characters = 0

  private constructor(options: AnswerCacheOptions, cache: ReplyCache) {
    this.#options = options
    this.#cache = cache
    this.#server = normalUrl(options.baseUrl ?? OPENAI_URL)
  }

  /** Throws StateError when the cache cannot be used: before anything is paid for that may be in it. */
  static async open(options: AnswerCacheOptions): Promise<AnswerCache> {
    const { directory, clock, emit } = options
    const onTrouble = (message: string) => emit({ kind: 'warning', code: 'cache_trouble', message })
    return new AnswerCache(options, await ReplyCache.open({ directory, clock, onTrouble }))
  }

  /** Looks up new requests, in order, until answers of `most` characters are held. */
  find(requests: readonly PreparedRequest[], most: number = REUSE_CHUNK.bytes): Found {
    const fresh: PreparedRequest[] = []
    const answered: AnsweredRequest[] = []
    let characters = 0
    for (let start = 0; start < requests.length && characters < most; start += SLICE) {
      const slice = requests.slice(start, start + SLICE)
      const keys = slice.map((request) => this.#keyOf(request))
      const replies = this.#cache.lookup(keys)
      for (const [index, request] of slice.entries()) {
        const reply = replies.get(keys[index] ?? '')?.body
        if (reply === undefined) fresh.push(request)
        else answered.push({ ...request, reply })
        characters += reply?.length ?? 0
      }
    }
    return { fresh, answered }
  }

  /** What was looked up has its numbers. */
  added(table: RequestTable, requests: readonly PreparedRequest[]): void {
    if (this.#looked.size === 0) return
    for (const { key } of requests) {
      const request = table.find(key)
      const number = this.#looked.get(key)
      this.#looked.delete(key)
      if (request !== undefined && number !== undefined) this.#asked.set(request, number)
    }
  }

  /** The entry for an answer that has been accepted; undefined when it is not to be kept. Made before the reply is let go of. */
  entryFor({ request, via, endpoint, model, bodyText, outcome }: RequestResult): NewReply | undefined {
    if (via === 'reused' || outcome.kind !== 'reply' || !isWholeAnswer(endpoint, outcome.body))
      return undefined
    const body = replyJson(outcome)
    if (body === undefined) return undefined
    const number = this.#options.dedupe ? 1 : this.#asked.of(request)
    return { key: replyKey(this.#server + endpoint, bodyText, number), model, body }
  }

  /** Keeps an answer whose verdict is durable: a little later, together with others. */
  keep(entry: NewReply): void {
    this.#kept.push(entry)
    this.#characters += entry.body.length
    if (this.#kept.length >= KEEP_REPLIES || this.#characters >= KEEP_CHARACTERS) this.#flush()
    else if (this.#kept.length === 1) void this.#flushLater()
  }

  /** The task's requests are not what they were: some were wiped. */
  reset(): void {
    this.#numbers = undefined
  }

  /** May be called again. */
  close(): void {
    this.#closing.abort()
    try {
      this.#flush()
    } finally {
      this.#cache.close()
    }
  }

  get #asked(): AskNumbers {
    this.#numbers ??= new AskNumbers(this.#options.requests())
    return this.#numbers
  }

  #keyOf(request: PreparedRequest): string {
    const number = this.#options.dedupe ? 1 : this.#asked.next(request)
    if (number > 1) this.#looked.set(request.key, number)
    return replyKey(this.#server + request.endpoint, request.bodyText, number)
  }

  async #flushLater(): Promise<void> {
    await this.#options.clock.sleep(KEEP_MS, this.#closing.signal, { background: true })
    if (!this.#closing.signal.aborted) this.#flush()
  }

  #flush(): void {
    const kept = this.#kept
    this.#kept = []
    this.#characters = 0
    this.#cache.put(kept)
  }
}

/** Different ways to write the same address are one. */
const normalUrl = (url: string): string => (URL.parse(url)?.href ?? url).replace(/\/+$/, '')
