import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http'
import { text } from 'node:stream/consumers'

/** A call as it came in. */
export interface Call {
  readonly method: string
  readonly path: string
  readonly headers: IncomingHttpHeaders
  readonly body: string
}

/** Answers a call, on the wire. */
export type Answer = (response: ServerResponse) => void

export const json =
  (status: number, body: unknown, headers: Readonly<Record<string, string>> = {}): Answer =>
  (response) => {
    response.writeHead(status, { 'content-type': 'application/json', ...headers })
    response.end(JSON.stringify(body))
  }

/** On record, and not answered yet, as a gateway says it to who polls. */
export const pending = (id: string, retryAfter = '1'): Answer =>
  json(
    422,
    {
      error: {
        message: `The request ${id} is on record.`,
        type: 'invalid_request_error',
        param: null,
        code: 'request_pending',
      },
    },
    {
      'x-request-id': id,
      'x-nightshift-request-id': id,
      'retry-after': retryAfter,
      'x-should-retry': 'false',
    },
  )

export const queued = (id: string): Answer =>
  json(202, { id, object: 'request', status: 'queued' }, { location: `/v1/requests/${id}` })

/** An error in OpenAI's form. */
export const failure = (
  status: number,
  code: string,
  headers: Readonly<Record<string, string>> = {},
): Answer =>
  json(
    status,
    { error: { message: `It is ${code}.`, type: 'invalid_request_error', param: null, code } },
    headers,
  )

export const answered = (body: unknown, id = 'req_1'): Answer =>
  json(200, body, { 'x-request-id': 'upstream-1', 'x-nightshift-request-id': id })

/** Says nothing, ever. */
export const silence: Answer = () => {}

/** The connection breaks. */
export const cut: Answer = (response) => void response.destroy()

/** Half of an answer, and then the connection breaks. */
export const half: Answer = (response) => {
  response.writeHead(200, { 'content-type': 'application/json', 'content-length': '1000' })
  response.write('{"object":', () => response.destroy())
}

/** Half of an answer, and then nothing. */
export const stuck: Answer = (response) => {
  response.writeHead(200, { 'content-type': 'application/json', 'content-length': '1000' })
  response.write('{"object":')
}

export interface StandIn extends AsyncDisposable {
  /** Without `/v1`. */
  readonly url: string
  readonly calls: readonly Call[]
}

/** A gateway that gives the answers it is told, one for each call, the last one from then on. */
export async function standIn(...answers: readonly Answer[]): Promise<StandIn> {
  const calls: Call[] = []
  const server = createServer((request, response) => {
    void text(request).then((body) => {
      const { method = '', url: path = '', headers } = request
      calls.push({ method, path, headers, body })
      const answer = answers[calls.length - 1] ?? answers.at(-1)
      if (answer) answer(response)
      else response.writeHead(500).end()
    })
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const address = server.address()
  if (typeof address !== 'object' || address === null) throw new Error('the server has no port')
  return {
    url: `http://127.0.0.1:${address.port}`,
    calls,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

const usage = { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 }

export const chatReply = (content: string) => ({
  id: 'chatcmpl-1',
  object: 'chat.completion',
  created: 1,
  model: 'gpt-5-mini',
  choices: [
    {
      index: 0,
      finish_reason: 'stop',
      logprobs: null,
      message: { role: 'assistant', content, refusal: null },
    },
  ],
  usage,
})

export const responseReply = (text: string) => ({
  id: 'resp_1',
  object: 'response',
  created_at: 1,
  model: 'gpt-5-mini',
  status: 'completed',
  error: null,
  incomplete_details: null,
  output: [
    { type: 'reasoning', id: 'rs_1', summary: [] },
    {
      type: 'message',
      id: 'msg_1',
      role: 'assistant',
      status: 'completed',
      content: [{ type: 'output_text', text, annotations: [] }],
    },
  ],
})

/** Vectors as the base64 text of their 32-bit floats, which the package asks for. */
export const embeddingsReply = (...vectors: readonly (readonly number[])[]) => ({
  object: 'list',
  model: 'text-embedding-3-small',
  data: vectors.map((vector, index) => ({
    object: 'embedding',
    index,
    embedding: Buffer.from(new Float32Array(vector).buffer).toString('base64'),
  })),
  usage: { prompt_tokens: 3, total_tokens: 3 },
})
