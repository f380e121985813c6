import { Hono } from 'hono'
import { ENDPOINTS } from '../../openai/wire.ts'
import type { Clock } from '../../util/clock.ts'
import type { Caller } from './access/access.ts'
import { askedOf } from './app-call.ts'
import type { Desk, Enter, Entrance } from './desk.ts'
import { type HealthFacts, healthReply, type Phase } from './health.ts'
import { HttpError } from './http-error.ts'
import type { Inference } from './inference/inference.ts'
import { type AppEnv, type Call, headersOf, jsonReply, type Reply } from './reply.ts'
import type { BatchRoutes } from './routes/batches.ts'
import type { PassThrough } from './routes/pass-through.ts'
import { PASSED_ROUTES } from './routes/passed-routes.ts'
import type { RequestRoutes } from './routes/requests.ts'

export interface AppParts {
  readonly desk: Desk
  readonly inference: Inference
  readonly requests: RequestRoutes
  readonly batches: BatchRoutes
  readonly passThrough: PassThrough
  /** The page of metrics. */
  readonly metricsText: () => Promise<string>
  /** Cuts what waits, of one tenant or of all; gives how many batches. */
  readonly flush: (tenant: string | undefined) => Promise<number>
  readonly phase: () => Phase
  readonly askStore: HealthFacts['askStore']
  readonly clock: Clock
}

type Handler = (call: Call, enter: Enter) => Promise<Reply>
type Method = 'GET' | 'POST' | 'DELETE'

/** One way to call the gateway. */
interface Route {
  readonly method: Method
  readonly path: string
  readonly handler: Handler
  readonly isProbe?: boolean
}

/** The gateway's HTTP side, without a socket: `app.request('/v1/models')`. */
export function createApp(parts: AppParts): Hono<AppEnv> {
  const app = new Hono<AppEnv>()
  const routes = [...openRoutes(parts), ...apiRoutes(parts).flatMap(bothPrefixes), ...operatorRoutes(parts)]
  for (const route of routes) app.on(route.method, route.path, served(parts, route))
  // Handlers for all other methods would be looked at with every call: whoever goes wrong can wait for the search.
  app.notFound(served(parts, { path: 'unknown', handler: unknownUrl(routes) }))
  return app
}

/** Both spellings that clients use: base URLs with and without `/v1`. */
const bothPrefixes = ({ method, path, handler }: Route): Route[] => [
  { method, path: `/v1${path}`, handler },
  { method, path, handler },
]

/** What anybody may ask. */
const openRoutes = ({ phase, askStore, clock }: AppParts): Route[] => [
  {
    method: 'GET',
    path: '/healthz',
    handler: () => healthReply({ phase: phase(), askStore, clock }),
    isProbe: true,
  },
  { method: 'GET', path: '/healthcheck', handler: async () => plainHealth(phase()), isProbe: true },
]

const plainHealth = (phase: Phase): Reply => ({
  status: phase === 'ready' ? 200 : 503,
  headers: { 'content-type': 'text/plain; charset=utf-8' },
  body: phase === 'ready' ? 'OK' : phase,
})

function apiRoutes(parts: AppParts): Route[] {
  const { inference, batches, requests, passThrough } = parts
  const id = (call: Call): string => call.req.param('id') ?? ''
  return [
    ...ENDPOINTS.map((endpoint) => ({
      method: 'POST' as const,
      path: endpoint.slice('/v1'.length),
      handler: entered((call, entrance) => inference.serve(askedOf(call), endpoint, entrance), true),
    })),
    ...PASSED_ROUTES.map((route) => ({
      ...route,
      handler: entered((call, { caller }) => passThrough.serve(call, route, caller), true),
    })),
    {
      method: 'GET',
      path: '/batches',
      handler: entered((call, { caller }) => batches.list((name) => call.req.query(name), caller)),
    },
    {
      method: 'GET',
      path: '/batches/:id',
      handler: entered((call, { caller }) => batches.get(id(call), caller)),
    },
    {
      method: 'POST',
      path: '/batches/:id/cancel',
      handler: entered((call, { caller }) => batches.cancel(id(call), caller)),
    },
    {
      method: 'GET',
      path: '/requests/:id',
      handler: entered((call, { caller }) => requests.get(id(call), caller)),
    },
    {
      method: 'DELETE',
      path: '/requests/:id',
      handler: entered((call, { caller }) => requests.cancel(id(call), caller)),
    },
  ]
}

function operatorRoutes(parts: AppParts): Route[] {
  const { metricsText, flush } = parts
  return [
    {
      method: 'GET',
      path: '/metrics',
      handler: entered(async (_, { caller }) => {
        if (!caller.seesAll) throw notForTenants()
        return metricsReply(await metricsText())
      }),
      isProbe: true,
    },
    {
      method: 'POST',
      path: '/admin/flush',
      handler: entered(async (_, { caller }) => flushed(await flush(scopeOf(caller)))),
    },
  ]
}

/** Who holds the gateway's own key flushes for all; others for themselves. */
const scopeOf = ({ tenant, isOperator }: Caller): string | undefined => (isOperator ? undefined : tenant)

const flushed = (batches: number): Reply => jsonReply(200, JSON.stringify({ object: 'flush', batches }))

const notForTenants = (): HttpError =>
  new HttpError(
    403,
    'operators_only',
    'The metrics are of all tenants: ask for them with the key of the gateway itself.',
  )

const metricsReply = (body: string): Reply => ({
  status: 200,
  headers: { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' },
  body,
})

/** `isCounted`: it is one of the calls that a tenant may make in a minute. */
const entered =
  (serve: (call: Call, entrance: Entrance) => Promise<Reply>, isCounted = false): Handler =>
  async (call, enter) =>
    serve(call, await enter(headersOf(call), isCounted))

const served =
  ({ desk }: AppParts, { path: route, handler, isProbe }: Omit<Route, 'method'>) =>
  async (call: Call): Promise<Response> => {
    const asked = { method: call.req.method, route, ...(isProbe && { isProbe }) }
    const { status, headers, body } = await desk.answer(asked, (enter) => handler(call, enter))
    return new Response(body, { status, headers })
  }

/** A path that is there has other methods (405); all else is not served (404). */
function unknownUrl(routes: readonly Route[]): Handler {
  const known = routes.map(({ method, path }) => ({ method, pattern: patternOf(path) }))
  return async ({ req: { method, path } }) => {
    const methods = known.filter(({ pattern }) => pattern.test(path)).map((route) => route.method)
    if (methods.length === 0) throw new HttpError(404, 'unknown_url', `Invalid URL (${method} ${path})`)
    const allow = methods.join(', ')
    throw new HttpError(405, 'method_not_allowed', `${method} is not allowed for ${path}, but ${allow} is.`, {
      headers: { allow },
    })
  }
}

const patternOf = (path: string): RegExp => new RegExp(`^${path.replace(/:\w+/g, '[^/]+')}$`)
