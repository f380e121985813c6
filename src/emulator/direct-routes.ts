import type { Hono } from 'hono'
import { ENDPOINTS } from '../openai/wire.ts'
import type { Answering } from './answering.ts'
import { ApiError } from './api-error.ts'
import type { AttemptBook } from './attempts.ts'
import { asksForFlex } from './flex.ts'
import { jsonBody, replyResponse } from './http.ts'
import type { ResolvedOptions } from './options.ts'
import type { Upstream } from './upstream.ts'

export interface DirectRouteParts {
  readonly options: ResolvedOptions
  readonly answering: Answering
  readonly attempts: AttemptBook
  readonly upstream: Upstream | undefined
}

export function addDirectRoutes(app: Hono, { options, answering, attempts }: DirectRouteParts): void {
  const { directMs, flexMs } = options.latency
  for (const endpoint of ENDPOINTS) {
    app.post(endpoint, async (context) => {
      const body = await jsonBody(context.req.raw)
      if (body.stream === true) {
        throw new ApiError(400, 'The emulator does not stream: leave out stream.', { param: 'stream' })
      }
      const latencyMs = asksForFlex(body) ? flexMs : directMs
      if (latencyMs > 0) await options.clock.sleep(latencyMs, context.req.raw.signal)
      const reply = await answering({ endpoint, body, via: 'direct' })
      await attempts.flush()
      return replyResponse(context, reply)
    })
  }
}

export function addModelRoutes(app: Hono, { options, upstream }: DirectRouteParts): void {
  const created = Math.floor(options.clock.now() / 1000)
  const view = (id: string) => ({ id, object: 'model', created, owned_by: 'emulator' })
  app.get('/v1/models', async (context) => {
    if (upstream && !options.models) return replyResponse(context, await upstream.models())
    return context.json({ object: 'list', data: (options.models ?? []).map(view) })
  })
  app.get('/v1/models/:id{.+}', (context) => {
    const id = context.req.param('id')
    if (options.models?.includes(id)) return context.json(view(id))
    throw new ApiError(404, `The model '${id}' does not exist.`, { param: 'model', code: 'model_not_found' })
  })
}
