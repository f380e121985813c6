import OpenAI from 'openai'
import OpenAI6 from 'openai-6'
import OpenAI4 from '../../support/openai-4.ts'

/** What the helpers of one version of the client make of a stream. */
export interface SdkStreams {
  readonly version: number
  /** `finalChatCompletion()`. `params`: of the call, beside model and messages. */
  chat(events: Iterable<string>, params?: object): Promise<object>
  /** `finalResponse()`. */
  response(events: Iterable<string>): Promise<object>
  /** All chunks as they come. */
  chunks(events: Iterable<string>): Promise<object[]>
  /** All events as they come. */
  events(events: Iterable<string>): Promise<object[]>
}

const CALL = { model: 'gpt-5-mini', messages: [{ role: 'user', content: 'Hello' }] } as const
const ASK = { model: 'gpt-5-mini', input: 'Hello' } as const

/** Answers any call with these events, in packets that end anywhere. */
function answering(events: Iterable<string>, packetBytes = 7000) {
  const bytes = new TextEncoder().encode([...events].join(''))
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      for (let at = 0; at < bytes.length; at += packetBytes)
        controller.enqueue(bytes.slice(at, at + packetBytes))
      controller.close()
    },
  })
  const reply = new Response(body, { headers: { 'content-type': 'text/event-stream' } })
  return {
    apiKey: 'key',
    baseURL: 'http://localhost/v1',
    maxRetries: 0,
    fetch: () => Promise.resolve(reply),
  }
}

async function all(stream: AsyncIterable<object>): Promise<object[]> {
  const items: object[] = []
  for await (const item of stream) items.push(item)
  return items
}

const sdk7: SdkStreams = {
  version: 7,
  chat: (events, params) =>
    new OpenAI(answering(events)).chat.completions
      .stream({ ...params, ...CALL, messages: [...CALL.messages] })
      .finalChatCompletion(),
  response: (events) => new OpenAI(answering(events)).responses.stream(ASK).finalResponse(),
  chunks: async (events) =>
    all(
      await new OpenAI(answering(events)).chat.completions.create({
        ...CALL,
        messages: [...CALL.messages],
        stream: true,
      }),
    ),
  events: async (events) =>
    all(await new OpenAI(answering(events)).responses.create({ ...ASK, stream: true })),
}

const sdk6: SdkStreams = {
  version: 6,
  chat: (events, params) =>
    new OpenAI6(answering(events)).chat.completions
      .stream({ ...params, ...CALL, messages: [...CALL.messages] })
      .finalChatCompletion(),
  response: (events) => new OpenAI6(answering(events)).responses.stream(ASK).finalResponse(),
  chunks: async (events) =>
    all(
      await new OpenAI6(answering(events)).chat.completions.create({
        ...CALL,
        messages: [...CALL.messages],
        stream: true,
      }),
    ),
  events: async (events) =>
    all(await new OpenAI6(answering(events)).responses.create({ ...ASK, stream: true })),
}

const sdk4: SdkStreams = {
  version: 4,
  chat: (events, params) =>
    new OpenAI4(answering(events)).beta.chat.completions
      .stream({ ...params, ...CALL, messages: [...CALL.messages] })
      .finalChatCompletion(),
  response: (events) => new OpenAI4(answering(events)).responses.stream(ASK).finalResponse(),
  chunks: async (events) =>
    all(
      await new OpenAI4(answering(events)).chat.completions.create({
        ...CALL,
        messages: [...CALL.messages],
        stream: true,
      }),
    ),
  events: async (events) =>
    all(await new OpenAI4(answering(events)).responses.create({ ...ASK, stream: true })),
}

export const SDKS: readonly SdkStreams[] = [sdk7, sdk6, sdk4]
