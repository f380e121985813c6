/** One POST of JSON text, and what of its answer a direct call needs. */
export interface PostInit {
  readonly headers: Iterable<readonly [string, string]>
  readonly body: string
  readonly signal: AbortSignal
}

export interface PostAnswer {
  readonly status: number
  readonly headers: { get(name: string): string | null }
  text(): Promise<string>
}

export type Post = (url: string, init: PostInit) => Promise<PostAnswer>

/**
 * POST without the 300 seconds after which Node's own `fetch` gives up on an answer: a model that thinks for longer
 * would be paid and not heard. How long to wait is said by the signal alone. Redirects are answers.
 */
export function patientPost(): Post {
  let loaded: ReturnType<typeof loadPatient> | undefined
  return async (url, { headers, body, signal }) => {
    loaded ??= loadPatient(0)
    const { fetch, dispatcher } = await loaded
    const init = { method: 'POST', headers: Object.fromEntries(headers), body, signal, dispatcher }
    return fetch(url, { ...init, redirect: 'manual' })
  }
}

/**
 * A `fetch` that waits as long as it is told for headers and for each piece of a body, where Node's own gives up after
 * 300 seconds. `timeoutMs`: 0 is for ever. It is for the first call to load: it takes 10 MB.
 */
export async function loadPatient(timeoutMs: number) {
  const { Agent, fetch } = await import('undici')
  return { fetch, dispatcher: new Agent({ headersTimeout: timeoutMs, bodyTimeout: timeoutMs }) }
}
