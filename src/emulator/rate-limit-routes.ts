import type { Context, Hono } from 'hono'
import { ApiError } from './api-error.ts'
import { page } from './batch-view.ts'
import type { Batches } from './batches.ts'
import { integerParam } from './http.ts'
import type { JsonObject } from './json.ts'
import type { ResolvedOptions } from './options.ts'

export interface RateLimitRouteParts {
  readonly options: ResolvedOptions
  readonly batches: Batches
}

interface RateLimit {
  readonly id: string
  readonly model: string
}

const PAGE = { min: 1, max: 100, default: 100 }
/** Nothing is counted by the minute here; the API always names figures. */
const UNLIMITED = { max_requests_per_1_minute: 1_000_000, max_tokens_per_1_minute: 1_000_000_000 }

/** The limits of a project, as the holder of an admin key may read them. Every project has the same. */
export function addRateLimitRoutes(app: Hono, { options, batches }: RateLimitRouteParts): void {
  const { enqueuedTokens } = options.limits
  const view = ({ id, model }: RateLimit): JsonObject => ({
    object: 'project.rate_limit',
    id,
    model,
    ...UNLIMITED,
    ...(enqueuedTokens < Infinity && { batch_1_day_max_input_tokens: enqueuedTokens }),
  })
  app.get('/v1/organization/projects/:project/rate_limits', async (context) => {
    await batches.advance()
    const models = new Set([...(options.models ?? []), ...batches.models])
    const limits = [...models].map((model) => ({ id: `rl-${model}`, model }))
    const limit = integerParam(context, 'limit', PAGE)
    return context.json(page(limits, { start: startOf(context, limits), limit }, view))
  })
}

function startOf(context: Context, limits: readonly RateLimit[]): number {
  const after = context.req.query('after')
  if (after === undefined) return 0
  const at = limits.findIndex(({ id }) => id === after)
  if (at < 0) throw new ApiError(404, `No rate limit found with id '${after}'.`, { param: 'after' })
  return at + 1
}
