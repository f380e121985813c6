import OpenAI, { APIConnectionError, APIError, APIUserAbortError } from 'openai'
import { chanceOf } from '../../../demos/support/prompt.ts'
import type { Addresses } from './addresses.ts'
import { headersOf } from './fetch-calls.ts'
import type { Got } from './got.ts'
import { type Ask, answerText, promptOf } from './workload.ts'

/**
 * Longer than any answer is under way on a machine that has too much to do: what a caller gives up on at the moment that
 * it comes counts as delivered, and the same call is a new one.
 */
const TIMEOUT_MS = 60_000
/** Some want to be told to come back, and do so by themselves. */
const IMPATIENT = 0.15
const IMPATIENCE = { Prefer: 'wait=2' }
/** A day, as the docs say. */
const MOST_RETRIES = 1440

/** A call as most programs make it: by the `openai` package, which tries again by itself. */
export async function askBySdk(ask: Ask, addresses: Addresses, signal: AbortSignal): Promise<Got> {
  const client = new OpenAI({
    apiKey: 'any',
    baseURL: 'http://gateway/v1',
    maxRetries: MOST_RETRIES,
    fetch: Object.assign(addresses.fetch, { Response }),
  })
  const isImpatient = chanceOf(`patience of ${ask.serial}`) < IMPATIENT
  const headers = { ...headersOf(ask), ...(isImpatient && IMPATIENCE) }
  try {
    // The package tells a server of the timeout of a call, and not of one that a client is made with.
    const text = await answerOf(client, ask, { headers, signal, timeout: TIMEOUT_MS })
    return text === undefined ? { kind: 'broken', why: 'the stream ended early' } : { kind: 'answer', text }
  } catch (error) {
    return gotOf(error)
  }
}

interface CallOptions {
  readonly headers: Record<string, string>
  readonly signal: AbortSignal
  readonly timeout: number
}

/** Undefined for a stream that ends too early. */
async function answerOf(client: OpenAI, ask: Ask, options: CallOptions): Promise<string | undefined> {
  const { model, endpoint, way, serial } = ask
  const prompt = promptOf(ask)
  const messages = [{ role: 'user' as const, content: prompt }]
  switch (endpoint) {
    case '/v1/embeddings': {
      const { data } = await client.embeddings.create({ model, input: prompt }, options)
      return data[0]?.embedding[0] === serial ? answerText(serial) : `vector of ${data[0]?.embedding[0]}`
    }
    case '/v1/responses':
      if (way === 'streamed') return streamedResponse(client, { model, input: prompt }, options)
      return (await client.responses.create({ model, input: prompt }, options)).output_text
    case '/v1/chat/completions': {
      if (way === 'streamed') return streamedChat(client, { model, messages }, options)
      const { choices } = await client.chat.completions.create({ model, messages }, options)
      return choices[0]?.message.content ?? ''
    }
    default:
      return endpoint satisfies never
  }
}

async function streamedChat(
  client: OpenAI,
  body: Omit<OpenAI.ChatCompletionCreateParamsStreaming, 'stream'>,
  options: CallOptions,
): Promise<string | undefined> {
  let text = ''
  let isWhole = false
  for await (const { choices } of await client.chat.completions.create({ ...body, stream: true }, options)) {
    text += choices[0]?.delta.content ?? ''
    isWhole ||= choices[0]?.finish_reason === 'stop'
  }
  return isWhole ? text : undefined
}

async function streamedResponse(
  client: OpenAI,
  body: Omit<OpenAI.Responses.ResponseCreateParamsStreaming, 'stream'>,
  options: CallOptions,
): Promise<string | undefined> {
  let text = ''
  let isWhole = false
  for await (const event of await client.responses.create({ ...body, stream: true }, options)) {
    if (event.type === 'response.output_text.delta') text += event.delta
    isWhole ||= event.type === 'response.completed'
  }
  return isWhole ? text : undefined
}

/** Of what was thrown. A connection that breaks in the midst of an answer is no error of the package's own. */
function gotOf(error: unknown): Got {
  if (
    error instanceof APIUserAbortError ||
    error instanceof APIConnectionError ||
    !(error instanceof APIError)
  )
    return { kind: 'broken', why: String(error) }
  const { status, code, message } = error
  if (code === 'gateway_stopping') return { kind: 'broken', why: message }
  return { kind: 'error', status, message }
}
