import OpenAI from 'openai'
import OpenAI6 from 'openai-6'
import OpenAI4 from '../../support/openai-4.ts'

interface ChatBody {
  readonly model: string
  readonly messages: { readonly role: 'user'; readonly content: string }[]
}

interface Completion {
  readonly choices: readonly { readonly message: { readonly content: string | null } }[]
}

interface Chunk {
  readonly choices: readonly { readonly delta: { readonly content?: string | null | undefined } }[]
  readonly usage?: { readonly total_tokens: number } | null | undefined
}

interface Batch {
  readonly id: string
}

interface CallOptions {
  readonly timeout?: number
  readonly headers?: Readonly<Record<string, string>>
}

interface InputBody {
  readonly model: string
  readonly input: string
}

/** What the versions of the client have in common, as far as it is used here. */
export interface AnyClient {
  readonly chat: {
    readonly completions: {
      create(body: ChatBody & { readonly stream?: false }, options?: CallOptions): PromiseLike<Completion>
      create(
        body: ChatBody & {
          readonly stream: true
          readonly stream_options?: { readonly include_usage: boolean }
        },
        options?: CallOptions,
      ): PromiseLike<AsyncIterable<Chunk>>
    }
  }
  readonly responses: {
    create(
      body: InputBody & { readonly stream?: false },
      options?: CallOptions,
    ): PromiseLike<{ readonly output_text: string }>
    create(
      body: InputBody & { readonly stream: true },
      options?: CallOptions,
    ): PromiseLike<AsyncIterable<{ readonly type: string }>>
  }
  readonly embeddings: {
    create(
      body: InputBody,
      options?: CallOptions,
    ): PromiseLike<{ readonly data: readonly { readonly embedding: readonly number[] }[] }>
  }
  readonly batches: {
    list(query: { readonly limit: number }): AsyncIterable<Batch>
    retrieve(id: string): Promise<Batch>
    cancel(id: string): Promise<Batch>
  }
  get(path: string): PromiseLike<unknown>
}

export const CLIENTS = ['openai 7', 'openai 6', 'openai 4'] as const

/** The clients that programs have, told no more than the gateway's URL. */
export function clientOf(name: (typeof CLIENTS)[number], url: string, maxRetries = 2): AnyClient {
  const options = { apiKey: 'any', baseURL: `${url}/v1`, maxRetries }
  switch (name) {
    case 'openai 7':
      return new OpenAI(options)
    case 'openai 6':
      return new OpenAI6(options)
    case 'openai 4':
      return new OpenAI4(options)
  }
}
