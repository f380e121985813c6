import { setImmediate as nextTurn } from 'node:timers/promises'
import type { TaskState } from '../batch/task-state.ts'
import { createImageSizes } from '../openai/image-sizes.ts'
import { promptParts } from '../tokens/prompt.ts'
import type { Clock } from '../util/clock.ts'
import type { Fetch } from '../util/fetch.ts'
import type { ResolvedOptions } from '../util/options.ts'
import { makeQuote } from './make-quote.ts'
import { Interrupted } from './patience.ts'
import type { PreparedRequest } from './queue.ts'
import type { Quote } from './quote.ts'
import { Quoter } from './quoter.ts'
import { requesterSettings } from './settings.ts'
import { Valuer, type ValuerOptions } from './valuer.ts'

export interface QuotingOptions extends Pick<ValuerOptions, 'emit'> {
  readonly options: ResolvedOptions
  readonly clock: Clock
  /** Reads the headers of remote images, with `fetchImageSizes`. */
  readonly fetch: Fetch | undefined
  readonly stop: AbortSignal | undefined
}

export interface Quoting {
  readonly quoter: Quoter
  /** When the quoter is finished; `state`: the task as it is on disk; `pending`: its requests that would be kept, without an answer. */
  readonly quote: (state: TaskState, pending: number) => Quote
}

/** Makes ready to quote a task that is not opened. `quoter.add` throws `interrupted` when the run is to stop. */
export function openQuoting({ options, clock, emit, fetch, stop }: QuotingOptions): Quoting {
  const settings = requesterSettings(options)
  const images = options.quote && options.fetchImageSizes ? createImageSizes({ fetch }) : undefined
  const valuer = new Valuer({ settings, clock, emit, sizeOf: images?.sizeOf })
  const quoter = new Quoter({
    valuer,
    counts: options.quote,
    prepare: images && ((requests) => images.load(imageUrls(requests))),
    onChunk: async () => {
      await nextTurn()
      if (stop?.aborted) throw new Interrupted()
    },
  })
  const mayHurry = options.deadline !== undefined && !options.forceDirect
  const fetchesImageSizes = images !== undefined
  const facts = { valuer, settings, nowMs: clock.now(), fetchesImageSizes, mayHurry }
  return { quoter, quote: (state, pending) => makeQuote(quoter, { ...facts, state, pending }) }
}

function* imageUrls(requests: readonly PreparedRequest[]): Generator<string> {
  for (const { endpoint, body } of requests) {
    for (const part of promptParts(endpoint, { ...body })) {
      if (part.kind === 'image' && part.url !== undefined) yield part.url
    }
  }
}
