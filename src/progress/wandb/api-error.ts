import { RemoteError, type RemoteErrorOptions } from '../../errors.ts'
import { cutText, oneLine } from '../../util/text.ts'

/** An answer that is no success. */
export interface Refused {
  readonly baseUrl: string
  readonly status: number
  readonly headers?: Headers
  /** What the server said, in words. */
  readonly text: string
  /** Time of the answer, for a `Retry-After` that is a date. */
  readonly nowMs?: number
}

/** No server may make us wait longer at a time. */
const LONGEST_WAIT_MS = 5 * 60_000
const SHOWN_CHARACTERS = 200
const DELETED = /previously created and deleted/i

/**
 * What an answer means:
 * - `wandb_unauthorized` (401, 403): the key is wrong or may not write there.
 * - `wandb_not_found` (404): no such entity or project, or the run is gone.
 * - `wandb_run_deleted` (409 or 400 that says so): the id was used by a run that was deleted, and cannot be used again.
 * - `wandb_conflict` (409, 410, 412): the server and we do not agree on what it has.
 * - `wandb_too_large` (413): it is more than the server takes at a time.
 * - `wandb_busy` (429), `wandb_server_error` (408, 425, 5xx, GraphQL errors): try again later.
 * - `wandb_refused` (any other): what was sent is wrong in the eyes of the server.
 */
export function refusal({ baseUrl, status, headers, text, nowMs = 0 }: Refused): RemoteError {
  const said = cutText(oneLine(text), SHOWN_CHARACTERS)
  const what = `W&B at ${baseUrl} answered ${status}${said ? `: ${said}` : ''}`
  const error = (code: string, advice: string, options: RemoteErrorOptions = {}) =>
    new RemoteError(code, advice ? `${what}; ${advice}` : what, { status, ...options })
  if (DELETED.test(text)) return error('wandb_run_deleted', '')
  if (status === 401 || status === 403)
    return error(
      'wandb_unauthorized',
      'check WANDB_API_KEY or the netrc entry of that host, and that its owner may write to the entity',
    )
  if (status === 404) return error('wandb_not_found', 'check --wandb-entity and --wandb-project')
  if (status === 409 || status === 410 || status === 412)
    return error('wandb_conflict', '', { retryable: true })
  if (status === 413) return error('wandb_too_large', '')
  const wait = headers && waitMs(headers, nowMs)
  if (status === 429) return error('wandb_busy', '', { retryable: true, retryAfterMs: wait })
  if (status === 200 || status === 408 || status === 425 || status >= 500)
    return error('wandb_server_error', '', { retryable: true, retryAfterMs: wait })
  if (status >= 300 && status < 400)
    return error('wandb_refused', 'it leads elsewhere: set WANDB_BASE_URL to where the API is')
  return error('wandb_refused', '')
}

/** An answer with a good status that W&B cannot have given whole. */
export function unreadable(text: string, { baseUrl }: Pick<Refused, 'baseUrl'>): RemoteError {
  const shown = cutText(oneLine(text), SHOWN_CHARACTERS)
  const message = `W&B at ${baseUrl} gave an answer that cannot be understood: ${shown || 'nothing at all'}`
  return new RemoteError('wandb_bad_reply', message, { retryable: true })
}

/** How long the server asks us to wait, in milliseconds; undefined when it does not say. */
export function waitMs(headers: Headers, nowMs: number): number | undefined {
  const asked = headers.get('retry-after') ?? usedUp(headers)
  if (asked === null || asked.trim() === '') return undefined
  const seconds = Number(asked)
  const ms = Number.isFinite(seconds) ? seconds * 1000 : Date.parse(asked) - nowMs
  return Number.isFinite(ms) ? Math.min(LONGEST_WAIT_MS, Math.max(0, ms)) : undefined
}

const usedUp = (headers: Headers): string | null =>
  headers.get('ratelimit-remaining') === '0' ? headers.get('ratelimit-reset') : null
