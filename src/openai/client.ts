import { createHash } from 'node:crypto'
import type OpenAI from 'openai'
import { UsageError } from '../errors.ts'
import type { Clock } from '../util/clock.ts'
import type { Fetch } from '../util/fetch.ts'

export interface OpenAIRemoteApiOptions {
  readonly apiKey: string
  /** Where the API lives, version included. Default: `https://api.openai.com/v1`. */
  readonly baseURL?: string | undefined
  readonly organization?: string | undefined
  readonly project?: string | undefined
  /** Sends the requests. Default: the global `fetch`. */
  readonly fetch?: Fetch | undefined
  /**
   * How long a call may take, in milliseconds. An upload gets more by its size, a download may pause this long
   * between two pieces, and `call` has a time of its own.
   */
  readonly timeoutMs: number
  /** Default: the system's. */
  readonly clock?: Clock | undefined
}

const DEFAULT_BASE_URL = 'https://api.openai.com/v1'

/** A client and what tells its account apart. */
export interface Connection {
  /** The same one each time. It is loaded when it is asked for first: it takes 15 MB and a tenth of a second. */
  readonly client: () => Promise<OpenAI>
  readonly fingerprint: string
}

/** Throws `UsageError`: `missing_api_key`, `bad_base_url`. Opens nothing. */
export function connect(options: OpenAIRemoteApiOptions): Connection {
  if (options.apiKey === '')
    throw new UsageError('missing_api_key', 'the API key is empty; set OPENAI_API_KEY')
  const baseURL = normalBaseUrl(options.baseURL ?? DEFAULT_BASE_URL)
  const send: Fetch = options.fetch ?? ((input, init) => fetch(input, init))
  let client: Promise<OpenAI> | undefined
  return {
    client: () => {
      client ??= makeClient(baseURL, options, send)
      return client
    },
    fingerprint: fingerprintOf(baseURL, options),
  }
}

/** Everything the SDK would otherwise take from the environment is given: one place reads the environment. */
async function makeClient(baseURL: string, options: OpenAIRemoteApiOptions, send: Fetch): Promise<OpenAI> {
  const { default: Client } = await import('openai')
  return new Client({
    apiKey: options.apiKey,
    adminAPIKey: null,
    webhookSecret: null,
    baseURL,
    organization: options.organization ?? null,
    project: options.project ?? null,
    logLevel: 'off',
    // With its own `Response` beside it, the SDK need not send a probe to learn whether forms are understood.
    fetch: Object.assign((input: string | URL | Request, init?: RequestInit) => send(input, init), {
      Response,
    }),
  })
}

/** One spelling for one place, so that a trailing slash is not another account. */
function normalBaseUrl(text: string): string {
  const url = URL.parse(text)
  if (!url || !/^https?:$/.test(url.protocol))
    throw new UsageError('bad_base_url', `the base URL "${text}" is not an http or https address`)
  if (url.username || url.password)
    throw new UsageError(
      'bad_base_url',
      `the base URL of ${url.host} holds a user or password; only a key is used`,
    )
  return `${url.origin}${url.pathname.replace(/\/+$/, '')}`
}

function fingerprintOf(baseURL: string, { apiKey, organization, project }: OpenAIRemoteApiOptions): string {
  const parts = [baseURL, organization ?? '', project ?? '', sha256(apiKey)]
  return sha256(JSON.stringify(parts)).slice(0, 16)
}

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex')
