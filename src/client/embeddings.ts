import { OpenAI } from 'openai'
import { z } from 'zod'
import { type Batched, batched, type Completed, completed } from './batched.ts'
import type { Clients } from './clients.ts'

type Params = OpenAI.EmbeddingCreateParams
/** With `encoding_format: 'base64'`: each vector as the base64 text of its 32-bit floats. */
type Base64Response = Omit<OpenAI.CreateEmbeddingResponse, 'data'> & {
  data: (Omit<OpenAI.Embedding, 'embedding'> & { embedding: string })[]
}

/** Embeddings as the server gave them. */
export type CompletedEmbeddings = Completed & OpenAI.CreateEmbeddingResponse
export type CompletedBase64Embeddings = Completed & Base64Response

const isEmbeddings = z.object({ data: z.array(z.object({})) })

/** All but `create`, which gives more than the package's own. */
const PlainEmbeddings: new (client: OpenAI) => Omit<OpenAI.Embeddings, 'create'> = OpenAI.Embeddings

export class BatchedEmbeddings extends PlainEmbeddings {
  readonly #clients: Clients

  constructor(clients: Clients) {
    super(clients.plain)
    this.#clients = clients
  }

  /**
   * Has embeddings made in a batch, and says at once whether they are there: `hasCompleted`. The same body finds the
   * same work again, also from another process.
   */
  create(
    body: Params & { encoding_format: 'base64' },
    options?: OpenAI.RequestOptions,
  ): Promise<Batched<CompletedBase64Embeddings>>
  create(body: Params, options?: OpenAI.RequestOptions): Promise<Batched<CompletedEmbeddings>>
  create(
    body: Params,
    options?: OpenAI.RequestOptions,
  ): Promise<Batched<CompletedEmbeddings | CompletedBase64Embeddings>> {
    const { polling, clock } = this.#clients
    return batched<
      Params,
      OpenAI.CreateEmbeddingResponse | Base64Response,
      CompletedEmbeddings | CompletedBase64Embeddings
    >({
      send: (fixed, again) => polling.embeddings.create(fixed, { ...options, ...again }),
      ...{ body, check: isEmbeddings, complete: completed, clock },
    })
  }
}
