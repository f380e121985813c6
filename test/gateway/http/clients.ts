import OpenAI from 'openai'
import OpenAI4 from 'openai-4'
import OpenAI6 from 'openai-6'

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

/** What the versions of the client have in common, as far as it is used here. */
export interface AnyClient {
  readonly chat: {
    readonly completions: {
      create(body: ChatBody & { readonly stream?: false }): PromiseLike<Completion>
      create(
        body: ChatBody & {
          readonly stream: true
          readonly stream_options?: { readonly include_usage: boolean }
        },
        options?: { readonly timeout: number },
      ): PromiseLike<AsyncIterable<Chunk>>
    }
  }
  readonly responses: {
    create(body: {
      readonly model: string
      readonly input: string
    }): PromiseLike<{ readonly output_text: string }>
  }
  readonly embeddings: {
    create(body: {
      readonly model: string
      readonly input: string
    }): PromiseLike<{ readonly data: readonly { readonly embedding: readonly number[] }[] }>
  }
  readonly batches: {
    list(query: { readonly limit: number }): AsyncIterable<Batch>
    retrieve(id: string): Promise<Batch>
    cancel(id: string): Promise<Batch>
  }
}

export const CLIENTS = ['openai 7', 'openai 6', 'openai 4'] as const

/** The clients that programs have, told no more than the gateway's URL. Version 4 brings its own `fetch`. */
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
