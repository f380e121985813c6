import { type APIPromise, OpenAI } from 'openai'
import type { Stream } from 'openai/core/streaming'
import type { ResponseCreateParamsBase } from 'openai/resources/responses/responses'
import { z } from 'zod'
import { UsageError } from '../errors.ts'
import { type Batched, batched, type Completed, completed } from './batched.ts'
import type { Clients } from './clients.ts'
import { inputOfMessages } from './input-of-messages.ts'
import { choicesOf } from './response-choices.ts'

type Response = OpenAI.Responses.Response
type Events = Stream<OpenAI.Responses.ResponseStreamEvent>

/** A response as the server gave it, and its text also as a chat completion has it: always one choice. */
export type CompletedResponse = Completed &
  Response & { readonly choices: readonly [OpenAI.ChatCompletion.Choice] }

/** `Params` with the messages of a chat in the place of `input`. */
export type WithMessages<Params> = Omit<Params, 'input'> & {
  readonly input?: never
  readonly messages: readonly OpenAI.ChatCompletionMessageParam[]
}
/** `input`, or else `messages`. */
export type InputOrMessages<Params> = (Params & { readonly messages?: never }) | WithMessages<Params>

type Params = OpenAI.Responses.ResponseCreateParams
type NonStreaming = OpenAI.Responses.ResponseCreateParamsNonStreaming
type Streaming = OpenAI.Responses.ResponseCreateParamsStreaming

const isResponse = z.object({ output: z.array(z.object({})) })

const completeResponse = (reply: Response, requestId: string | undefined): CompletedResponse =>
  Object.assign(completed(reply, requestId), { choices: choicesOf(reply) })

/** All but `create`, which takes and gives more than the package's own. */
const PlainResponses: new (client: OpenAI) => Omit<OpenAI.Responses, 'create'> = OpenAI.Responses

export class BatchedResponses extends PlainResponses {
  readonly #clients: Clients

  constructor(clients: Clients) {
    super(clients.plain)
    this.#clients = clients
  }

  /**
   * Has a response made in a batch, and says at once whether it is there: `hasCompleted`. Takes `messages` as a chat
   * completion does, or `input`. The same body finds the same work again, also from another process; an
   * `idempotencyKey` of its own makes it another sample. With `stream: true` it is the package's own `create`.
   *
   * Throws `UsageError`: `bad_messages`, for both at once and for messages that a response has no form for.
   */
  create(
    body: InputOrMessages<NonStreaming>,
    options?: OpenAI.RequestOptions,
  ): Promise<Batched<CompletedResponse>>
  create(body: InputOrMessages<Streaming>, options?: OpenAI.RequestOptions): APIPromise<Events>
  create(
    body: InputOrMessages<ResponseCreateParamsBase>,
    options?: OpenAI.RequestOptions,
  ): Promise<Events | Batched<CompletedResponse>>
  create(
    body: InputOrMessages<NonStreaming> | InputOrMessages<Streaming>,
    options?: OpenAI.RequestOptions,
  ): Promise<Events | Batched<CompletedResponse>> {
    const { plain, polling, clock } = this.#clients
    const params = withInput(body)
    if (params.stream) return plain.responses.create(params, options)
    return batched({
      send: (fixed, again) => polling.responses.create(fixed, { ...options, ...again }),
      ...{ body: params, check: isResponse, complete: completeResponse, clock },
    })
  }
}

function withInput(body: InputOrMessages<NonStreaming> | InputOrMessages<Streaming>): Params {
  const { messages, ...params } = body
  if (messages === undefined) return params
  if (body.input !== undefined)
    throw new UsageError('bad_messages', 'responses.create was given input and messages: give one of them')
  return { ...params, input: inputOfMessages(messages) }
}
