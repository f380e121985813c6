import { type APIPromise, OpenAI } from 'openai'
import type { Stream } from 'openai/core/streaming'
import type { ChatCompletionCreateParamsBase } from 'openai/resources/chat/completions/completions'
import { z } from 'zod'
import { type Batched, batched, type Completed, completed } from './batched.ts'
import type { Clients } from './clients.ts'

/** A chat completion as the server gave it, and its text also as a response has it. */
export type CompletedChat = Completed & OpenAI.ChatCompletion & { readonly output_text: string }

const isChat = z.object({ choices: z.array(z.object({})) })

function completeChat(reply: OpenAI.ChatCompletion, requestId: string | undefined): CompletedChat {
  const outputText = reply.choices[0]?.message?.content ?? ''
  return Object.assign(completed(reply, requestId), { output_text: outputText })
}

/** All but `create`, which gives more than the package's own. */
const PlainCompletions: new (client: OpenAI) => Omit<OpenAI.Chat.Completions, 'create'> =
  OpenAI.Chat.Completions

export class BatchedCompletions extends PlainCompletions {
  readonly #clients: Clients

  constructor(clients: Clients) {
    super(clients.plain)
    this.#clients = clients
  }

  /**
   * Has a chat completion made in a batch, and says at once whether it is there: `hasCompleted`. The same body finds
   * the same work again, also from another process; an `idempotencyKey` of its own makes it another sample. With
   * `stream: true` it is the package's own `create`.
   */
  create(
    body: OpenAI.ChatCompletionCreateParamsNonStreaming,
    options?: OpenAI.RequestOptions,
  ): Promise<Batched<CompletedChat>>
  create(
    body: OpenAI.ChatCompletionCreateParamsStreaming,
    options?: OpenAI.RequestOptions,
  ): APIPromise<Stream<OpenAI.ChatCompletionChunk>>
  create(
    body: ChatCompletionCreateParamsBase,
    options?: OpenAI.RequestOptions,
  ): Promise<Stream<OpenAI.ChatCompletionChunk> | Batched<CompletedChat>>
  create(
    body: OpenAI.ChatCompletionCreateParams,
    options?: OpenAI.RequestOptions,
  ): Promise<Stream<OpenAI.ChatCompletionChunk> | Batched<CompletedChat>> {
    const { plain, polling, clock } = this.#clients
    if (body.stream) return plain.chat.completions.create(body, options)
    return batched({
      send: (fixed, again) => polling.chat.completions.create(fixed, { ...options, ...again }),
      ...{ body, check: isChat, complete: completeChat, clock },
    })
  }
}

const PlainChat: new (client: OpenAI) => Omit<OpenAI.Chat, 'completions'> = OpenAI.Chat

export class BatchedChat extends PlainChat {
  readonly completions: BatchedCompletions

  constructor(clients: Clients) {
    super(clients.plain)
    this.completions = new BatchedCompletions(clients)
  }
}
