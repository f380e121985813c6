import type { Fetch } from '../../src/util/fetch.ts'
import { type Seen, seenOf } from './task-harness.ts'

/** One HTTP call as its caller saw it. */
export interface Exchange extends Seen {
  /** Undefined while, and when, no answer came. */
  status: number | undefined
  /** The body of the answer; undefined unless all of it arrived. */
  text: string | undefined
  /** How often a caller gave up waiting, or the connection broke, before the answer was whole. */
  lost: boolean
}

/** A `fetch` that notes every call and what came back of it. */
export function tapped(fetch: Fetch, now: () => number): { fetch: Fetch; exchanges: Exchange[] } {
  const exchanges: Exchange[] = []
  const tap: Fetch = async (input, init) => {
    const seen = seenOf(input, init, now())
    if (seen.path.startsWith(DATA_URL)) return fetch(input, init)
    const exchange: Exchange = { ...seen, status: undefined, text: undefined, lost: false }
    exchanges.push(exchange)
    try {
      const response = await fetch(input, init)
      exchange.status = response.status
      return watched(response, exchange)
    } catch (error) {
      exchange.lost = true
      throw error
    }
  }
  return { fetch: tap, exchanges }
}

/** The openai package learns the Response class of a `fetch` by fetching an empty data URL. */
const DATA_URL = ','

/** The same answer, piece by piece as the reader asks for it. */
function watched(response: Response, exchange: Exchange): Response {
  const { status, statusText, headers, body } = response
  if (!body) {
    exchange.text = ''
    return response
  }
  const reader = body.getReader()
  const decoder = new TextDecoder()
  let text = ''
  const pull = async (controller: ReadableStreamDefaultController<Uint8Array>): Promise<void> => {
    try {
      const { done, value } = await reader.read()
      if (!done) {
        text += decoder.decode(value, { stream: true })
        return controller.enqueue(value)
      }
      exchange.text = text + decoder.decode()
      controller.close()
    } catch (error) {
      exchange.lost = true
      throw error
    }
  }
  const cancel = (reason: unknown): Promise<void> => reader.cancel(reason)
  const stream = new ReadableStream({ pull, cancel }, { highWaterMark: 0 })
  return new Response(stream, { status, statusText, headers })
}
