import type { ClientOptions, OpenAI } from 'openai'
import { type Clock, systemClock } from '../util/clock.ts'
import { BatchedChat } from './chat.ts'
import type { Clients } from './clients.ts'
import { BatchedEmbeddings } from './embeddings.ts'
import { GatewayClient, PollingClient } from './gateway-client.ts'
import { BatchedResponses } from './responses.ts'
import { apiUrl } from './server-url.ts'

/** Options of the `openai` client that say where it leads and as whom: here that is the gateway's to know. */
type Elsewhere =
  | 'apiKey'
  | 'adminAPIKey'
  | 'baseURL'
  | 'dataResidency'
  | 'provider'
  | 'workloadIdentity'
  | 'x509Transport'
  | 'credential'

export interface OpenAIBatchingOptions extends Omit<ClientOptions, Elsewhere> {
  /** Where the gateway is, with or without `/v1`: `http://127.0.0.1:9487`. */
  readonly batchServerUrl: string
  /** The gateway's key, not OpenAI's. Default: none, for a gateway that takes any caller. */
  readonly batchServerApiKey?: string | undefined
  /** By which `wait` waits. Default: the system's. */
  readonly clock?: Clock | undefined
}

/** What differs from the package's own client. */
type Batching = 'responses' | 'chat' | 'embeddings' | 'withOptions'

interface PlainClient extends Omit<typeof OpenAI, 'prototype'> {
  new (options: ClientOptions): Omit<OpenAI, Batching>
}
/**
 * The package's class without what differs, so that the type says so: where a plain client is asked for, one whose
 * `create` may come back without an answer would not do.
 */
const PlainClient: PlainClient = GatewayClient

/**
 * The `openai` client of a gateway. `responses.create`, `chat.completions.create` and `embeddings.create` come back
 * at once and say by `hasCompleted` whether the answer is there; `wait()` waits for it:
 *
 *     const client = new OpenAIBatching({ batchServerUrl: 'http://127.0.0.1:9487', batchServerApiKey })
 *     const result = await client.responses.create({ model: 'gpt-5-mini', messages: [{ role: 'user', content: 'Hi' }] })
 *     const answer = await result.wait()
 *     console.log(answer.choices[0].message.content)
 *
 * Which request it is, its body says (and an `idempotencyKey`, where there is one): the same call, made again by this
 * program or by another run of it, finds the work where it is and its answer when that is there. All else (streams,
 * `parse`, `batches`, `models`, errors) is as in the package, of whose client it is an instance.
 *
 * Reads no key from the environment: OpenAI's must not go to a gateway. Throws `UsageError` (`bad_server_url`).
 */
export class OpenAIBatching extends PlainClient {
  readonly responses: BatchedResponses
  readonly chat: BatchedChat
  readonly embeddings: BatchedEmbeddings
  readonly #given: OpenAIBatchingOptions

  constructor(given: OpenAIBatchingOptions) {
    const { batchServerUrl, batchServerApiKey, clock = systemClock, ...rest } = given
    const options = clientOptions(batchServerUrl, batchServerApiKey, rest)
    super(options)
    this.#given = given
    const clients: Clients = { plain: new GatewayClient(options), polling: new PollingClient(options), clock }
    this.responses = new BatchedResponses(clients)
    this.chat = new BatchedChat(clients)
    this.embeddings = new BatchedEmbeddings(clients)
  }

  /** Another client with the same options but for those given. */
  withOptions(options: Partial<OpenAIBatchingOptions>): OpenAIBatching {
    return new OpenAIBatching({ ...this.#given, ...options })
  }
}

/** The package wants a key, and a gateway that asks for none takes any. */
const NO_KEY = 'none'

/** All that the package would otherwise take from the environment for OpenAI is given, if only as `null`. */
const clientOptions = (url: string, apiKey: string | undefined, rest: ClientOptions): ClientOptions => ({
  organization: null,
  project: null,
  ...rest,
  apiKey: apiKey || NO_KEY,
  adminAPIKey: null,
  baseURL: apiUrl(url),
})
