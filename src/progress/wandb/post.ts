import { errorText } from '../../errors.ts'
import type { Fetch } from '../../util/fetch.ts'
import type { Secret } from '../../util/secret.ts'
import { VERSION } from '../../util/version.ts'

export interface PostOptions {
  /** Of the API, without a path: `https://api.wandb.ai`. */
  readonly baseUrl: string
  readonly key: Secret
  readonly fetch: Fetch
  readonly timeoutMs: number
  /** Ends the call that is under way. */
  readonly signal?: AbortSignal | undefined
}

export type PostOutcome =
  | { readonly kind: 'answered'; readonly status: number; readonly headers: Headers; readonly text: string }
  /** Nobody knows what became of it. `why`: fit to be shown. */
  | { readonly kind: 'lost'; readonly timedOut: boolean; readonly why: string; readonly cause: unknown }

/** One POST of JSON text to W&B's API. The key is in nothing that comes back, even when the server repeats it. */
export async function post(
  { baseUrl, key, fetch, timeoutMs, signal }: PostOptions,
  path: string,
  body: string,
): Promise<PostOutcome> {
  const timeout = AbortSignal.timeout(timeoutMs)
  const credentials = Buffer.from(`api:${key.reveal()}`).toString('base64')
  const shown = (text: string): string =>
    text.replaceAll(key.reveal(), '[key]').replaceAll(credentials, '[key]')
  try {
    const response = await fetch(`${baseUrl}${path}`, {
      method: 'POST',
      headers: {
        authorization: `Basic ${credentials}`,
        'content-type': 'application/json',
        'user-agent': `nightshift/${VERSION}`,
      },
      body,
      // The key is for this host only.
      redirect: 'manual',
      signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
    })
    const { status, headers } = response
    return { kind: 'answered', status, headers, text: shown(await response.text()) }
  } catch (cause) {
    return { kind: 'lost', timedOut: timeout.aborted, why: shown(causeText(cause)), cause }
  }
}

/** What fetch throws says "fetch failed"; what happened is in its cause. */
const causeText = (error: unknown): string =>
  error instanceof Error && error.cause !== undefined
    ? errorText(error.cause) || errorText(error)
    : errorText(error)
