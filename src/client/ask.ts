import { APIError, type APIPromise } from 'openai'
import { z } from 'zod'
import { errorText, RemoteError } from '../errors.ts'

/** What a gateway said of a request: its answer, or that it is on record and not answered yet. */
export type Asked<Reply> =
  | { readonly kind: 'answered'; readonly reply: Reply; readonly requestId: string | undefined }
  | { readonly kind: 'pending'; readonly requestId: string; readonly retryAfterMs: number }

type Pending = Extract<Asked<never>, { readonly kind: 'pending' }>

/** What an answer must at least have to be one of its endpoint: a page of some proxy is none. */
export type ReplyCheck = z.ZodType<object>

/**
 * Waits for what a call came to. Throws what the `openai` package throws for a request that failed or could not be
 * sent, and `RemoteError` (`bad_reply`) for an answer that cannot be read or is none of its endpoint.
 */
export async function ask<Reply extends object>(
  call: APIPromise<Reply>,
  check: ReplyCheck,
): Promise<Asked<Reply>> {
  try {
    const response = await call.asResponse()
    if (response.status === 202) return await queued(response)
    const reply = await dataOf(call, response)
    if (!check.safeParse(reply).success) throw badReply(response, 'it is no answer of this endpoint')
    return { kind: 'answered', reply, requestId: idIn(response.headers) }
  } catch (error) {
    const pending = pendingIn(error)
    if (pending) return pending
    throw error
  }
}

/** The connection may be lost, or the text be none of JSON, when the status is long known. */
async function dataOf<Reply>(call: APIPromise<Reply>, response: Response): Promise<Reply> {
  try {
    return (await call.withResponse()).data
  } catch (error) {
    // Its caller ended it, or its time was up: that says nothing of the answer.
    if (error instanceof APIError) throw error
    throw badReply(response, errorText(error), error)
  }
}

const badReply = ({ status, url }: Response, why: string, cause?: unknown): RemoteError =>
  new RemoteError(
    'bad_reply',
    `${url} answered with status ${status}, and its answer cannot be used: ${why}. Is this the address of a gateway?`,
    { status, retryable: true, cause },
  )

const queuedSchema = z.object({ id: z.string() })

/** Mode `async`. */
async function queued(response: Response): Promise<Pending> {
  const body = queuedSchema.safeParse(await jsonOf(response))
  if (!body.success) throw badReply(response, 'it names no request', body.error)
  return { kind: 'pending', requestId: body.data.id, retryAfterMs: retryAfterMs(response.headers) }
}

async function jsonOf(response: Response): Promise<unknown> {
  try {
    return await response.json()
  } catch (error) {
    throw badReply(response, errorText(error), error)
  }
}

const PENDING_CODE = 'request_pending'

function pendingIn(error: unknown): Pending | undefined {
  if (!(error instanceof APIError) || error.status !== 422 || error.code !== PENDING_CODE) return undefined
  const { headers } = error
  const requestId = headers && idIn(headers)
  if (!headers || requestId === undefined) return undefined
  return { kind: 'pending', requestId, retryAfterMs: retryAfterMs(headers) }
}

const idIn = (headers: Headers): string | undefined =>
  headers.get('x-nightshift-request-id') ?? headers.get('x-request-id') ?? undefined

const [LEAST_MS, UNSAID_MS, MOST_MS] = [250, 5000, 60_000]

/** When to ask again, in milliseconds from now; 5 seconds where nothing is said. */
export function retryAfterMs(headers: Headers): number {
  const text = headers.get('retry-after')
  const ms = text !== null && /^\d+(\.\d+)?$/.test(text) ? Number(text) * 1000 : UNSAID_MS
  return Math.min(MOST_MS, Math.max(LEAST_MS, ms))
}
