import type { OpenAI } from 'openai'
import type { Stream } from 'openai/core/streaming'
import { describe, expectTypeOf, test } from 'vitest'
import type { CompletedChat, CompletedEmbeddings, CompletedResponse, Pending } from '../src/client/index.ts'
import { OpenAIBatching, type OpenAIBatchingOptions } from '../src/client/index.ts'

const client = new OpenAIBatching({ batchServerUrl: 'http://127.0.0.1:1' })
/** Calls that are looked at for their types, and never made. */
const calls = {
  chat: () => client.chat.completions.create({ model: 'm', messages: [] }),
  response: () => client.responses.create({ model: 'm', input: 'a' }),
  byMessages: () => client.responses.create({ model: 'm', messages: [{ role: 'user', content: 'a' }] }),
  embeddings: () => client.embeddings.create({ model: 'm', input: 'a' }),
  base64: () => client.embeddings.create({ model: 'm', input: 'a', encoding_format: 'base64' }),
  stream: () => client.chat.completions.create({ model: 'm', messages: [], stream: true }),
  events: () => client.responses.create({ model: 'm', messages: [], stream: true }),
  parse: () => client.chat.completions.parse({ model: 'm', messages: [] }),
  /** What is told of the result before anybody looks at `hasCompleted`. */
  early: async () => {
    const result = await calls.response()
    // @ts-expect-error: there may be no text
    return result.output_text
  },
}
type Of<Call extends keyof typeof calls> = Awaited<ReturnType<(typeof calls)[Call]>>

describe('what a create comes to', () => {
  test('is an answer or one that is pending, and hasCompleted tells which', () => {
    expectTypeOf<Of<'chat'>>().toEqualTypeOf<CompletedChat | Pending<CompletedChat>>()
    expectTypeOf<Of<'response'>>().toEqualTypeOf<CompletedResponse | Pending<CompletedResponse>>()
    expectTypeOf<Of<'byMessages'>>().toEqualTypeOf<Of<'response'>>()
    expectTypeOf<Of<'embeddings'>>().toEqualTypeOf<CompletedEmbeddings | Pending<CompletedEmbeddings>>()
    expectTypeOf<Extract<Of<'response'>, { hasCompleted: true }>>().toEqualTypeOf<CompletedResponse>()
    expectTypeOf<Extract<Of<'response'>, { hasCompleted: false }>>().toEqualTypeOf<
      Pending<CompletedResponse>
    >()
    expectTypeOf<Pending<CompletedChat>['retryAfterMs']>().toBeNumber()
    expectTypeOf<Pending<CompletedChat>['requestId']>().toBeString()
  })

  test('has no answer to read before that is looked at', () => {
    expectTypeOf<Of<'response'>>().not.toHaveProperty('output_text')
    expectTypeOf<Of<'chat'>>().not.toHaveProperty('choices')
    expectTypeOf<Of<'chat'>>().toHaveProperty('wait')
  })

  test('is the whole reply once it has completed', () => {
    expectTypeOf<CompletedChat>().toExtend<OpenAI.ChatCompletion>()
    expectTypeOf<CompletedResponse>().toExtend<OpenAI.Responses.Response>()
    expectTypeOf<CompletedEmbeddings>().toExtend<OpenAI.CreateEmbeddingResponse>()
    expectTypeOf<CompletedResponse['choices'][0]['message']['content']>().toEqualTypeOf<string | null>()
    expectTypeOf<CompletedChat['output_text']>().toBeString()
    expectTypeOf<Extract<Of<'base64'>, { hasCompleted: true }>['data'][0]['embedding']>().toBeString()
    expectTypeOf<CompletedEmbeddings['data'][0]['embedding']>().toEqualTypeOf<number[]>()
  })

  test('is waited for in the same way, whatever it is', async () => {
    const wait = async () => (await calls.response()).wait({ timeoutMs: 1 })
    expectTypeOf(wait).returns.resolves.toEqualTypeOf<CompletedResponse>()
  })

  test('is as in the package for streams and its helpers', () => {
    expectTypeOf<Of<'stream'>>().toExtend<Stream<OpenAI.ChatCompletionChunk>>()
    expectTypeOf<Of<'events'>>().toExtend<Stream<OpenAI.Responses.ResponseStreamEvent>>()
    expectTypeOf<Of<'parse'>>().toExtend<OpenAI.ChatCompletion>()
  })
})

describe('the client', () => {
  test('is none where a plain client is asked for: its create may come back without an answer', () => {
    expectTypeOf<OpenAIBatching>().not.toExtend<OpenAI>()
    expectTypeOf<OpenAIBatching['batches']>().toEqualTypeOf<OpenAI['batches']>()
    expectTypeOf<OpenAIBatching['models']>().toEqualTypeOf<OpenAI['models']>()
    expectTypeOf<OpenAIBatching['responses']['retrieve']>().toEqualTypeOf<OpenAI['responses']['retrieve']>()
    expectTypeOf<(typeof OpenAIBatching)['RateLimitError']>().toEqualTypeOf<
      (typeof OpenAI)['RateLimitError']
    >()
    expectTypeOf(client.withOptions).returns.toEqualTypeOf<OpenAIBatching>()
  })

  test('needs a URL, and takes what the package takes but for whom it calls and as whom', () => {
    expectTypeOf<{ batchServerUrl: string }>().toExtend<OpenAIBatchingOptions>()
    expectTypeOf<{ batchServerApiKey: string }>().not.toExtend<OpenAIBatchingOptions>()
    expectTypeOf<OpenAIBatchingOptions>().not.toHaveProperty('apiKey')
    expectTypeOf<OpenAIBatchingOptions>().not.toHaveProperty('baseURL')
    expectTypeOf<OpenAIBatchingOptions['maxRetries']>().toEqualTypeOf<number | undefined>()
  })

  test('takes input or messages, and exactly what the package takes beside them', () => {
    type Body = Parameters<typeof client.responses.create>[0]
    expectTypeOf<{ model: 'm'; input: 'a' }>().toExtend<Body>()
    expectTypeOf<{ model: 'm'; messages: [{ role: 'user'; content: 'a' }] }>().toExtend<Body>()
    expectTypeOf<{ model: 'm'; messages: [{ role: 'poet'; content: 'a' }] }>().not.toExtend<Body>()
    expectTypeOf<{ model: 'm'; messages: []; input: 'a' }>().not.toExtend<Body>()
    expectTypeOf<{ model: 'm'; messages: []; temperature: 'hot' }>().not.toExtend<Body>()
    expectTypeOf<{ model: 'm'; messages: []; temperature: 0 }>().toExtend<Body>()
  })
})
