import { z } from 'zod'
import { type RemoteError, UsageError } from '../errors.ts'
import { systemClock } from '../util/clock.ts'
import { connect, type OpenAIRemoteApiOptions } from './client.ts'
import { timerMs } from './deadline.ts'
import { badReplyError, type FailedCall, toRemoteError } from './error-mapping.ts'

export interface BatchLimitsOptions extends Omit<OpenAIRemoteApiOptions, 'apiKey' | 'project'> {
  /** A key that may read the organization's settings: not the one that batches are made with. */
  readonly adminKey: string
  /** Id of the project whose limits are meant: `proj_...`. */
  readonly project: string
}

const PAGE_SIZE = 100
/** More than any account has models for; a server that always names another page is not followed for ever. */
const MOST_PAGES = 50
const RETRIES = 2

const pageSchema = z.object({
  data: z.array(
    z.object({
      id: z.string(),
      model: z.string(),
      batch_1_day_max_input_tokens: z.number().nullish(),
    }),
  ),
  last_id: z.string().nullish(),
  has_more: z.boolean().nullish(),
})
type LimitsPage = z.infer<typeof pageSchema>

/**
 * Prompt tokens that each model of a project may have enqueued in batches; models without such a limit, or with none
 * above 0, are left out: whether they take batches at all the server says when it is given one.
 * Throws `UsageError` (`missing_admin_key`, `bad_project`, `bad_base_url`) and `RemoteError`; the key stands in none.
 */
export async function fetchBatchLimits(
  options: BatchLimitsOptions,
  signal?: AbortSignal,
): Promise<ReadonlyMap<string, number>> {
  const ask = asker(options, signal)
  const limits = new Map<string, number>()
  let after: string | undefined
  for (let pages = 0; pages < MOST_PAGES; pages++) {
    const { data, ...page } = await ask(after)
    for (const { model, batch_1_day_max_input_tokens: tokens } of data)
      if (typeof tokens === 'number' && tokens > 0) limits.set(model, tokens)
    after = page.last_id ?? data.at(-1)?.id
    if (!page.has_more || after === undefined) break
  }
  return limits
}

/** The SDK's own method for this takes an answer that is no list for an empty one, so it is asked for plainly. */
function asker(options: BatchLimitsOptions, signal?: AbortSignal): (after?: string) => Promise<LimitsPage> {
  const { adminKey, project, clock = systemClock } = options
  checkGiven(options)
  const { client } = connect({ ...options, apiKey: adminKey, project: undefined })
  const path = `/organization/projects/${project}/rate_limits`
  const patience = { signal, timeout: timerMs(options.timeoutMs), maxRetries: RETRIES }
  return async (after) => {
    const query = { limit: PAGE_SIZE, ...(after !== undefined && { after }) }
    const failed = { what: `GET ${path}`, signal, secrets: [adminKey], nowMs: clock.now() }
    const sdk = await client()
    const reply = await sdk.get(path, { query, ...patience }).catch((error: unknown): never => {
      throw toRemoteError(error, failed)
    })
    const parsed = pageSchema.safeParse(reply)
    if (!parsed.success) throw noList(parsed.error, failed)
    return parsed.data
  }
}

const noList = (error: z.ZodError, failed: FailedCall): RemoteError =>
  badReplyError(`no list of rate limits (${z.prettifyError(error)})`, failed, false)

function checkGiven({ adminKey, project }: BatchLimitsOptions): void {
  if (adminKey === '')
    throw new UsageError('missing_admin_key', 'the admin key is empty; set OPENAI_ADMIN_KEY')
  if (/^[\w-]+$/.test(project)) return
  const message = `the project "${project}" is no id; give one such as proj_abc123 (--openai-project)`
  throw new UsageError('bad_project', message)
}
