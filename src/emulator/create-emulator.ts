import { Hono } from 'hono'
import { errorText } from '../errors.ts'
import { createAnswering, modelCheck } from './answering.ts'
import { ApiError } from './api-error.ts'
import { AttemptBook } from './attempts.ts'
import { addBatchRoutes } from './batch-routes.ts'
import { Batches } from './batches.ts'
import type { Layer } from './call-faults.ts'
import { ConnectionLost } from './connection-lost.ts'
import { addDirectRoutes, addModelRoutes } from './direct-routes.ts'
import { DiskStorage } from './disk-storage.ts'
import { addFileRoutes } from './file-routes.ts'
import { Files } from './files.ts'
import { errorResponse } from './http.ts'
import { requestId } from './ids.ts'
import { MemoryStorage } from './memory-storage.ts'
import { type EmulatorOptions, type ResolvedOptions, resolveEmulatorOptions } from './options.ts'
import { addRateLimitRoutes } from './rate-limit-routes.ts'
import { runScenario } from './scenario-run.ts'
import type { Storage } from './storage.ts'
import { createUpstream, type Upstream } from './upstream.ts'

/** A running OpenAI API of one's own: files, batches, models, and the direct endpoints. */
export interface Emulator {
  /** The app, without a socket: `app.request('/v1/models')`. */
  readonly app: Hono
  /** Reaches the app without a socket, whatever the host: `new OpenAI({ fetch: emulator.fetch })`. */
  readonly fetch: typeof globalThis.fetch
  /** Ends the work in the background. With a `dataDir`, a later emulator goes on with it. */
  close(): Promise<void>
}

/** Answers that wait inside one batch at once, where they come from an answer function. */
const FUNCTION_CONCURRENCY = 100

/**
 * Starts an emulator, and the unfinished batches of its `dataDir`. Throws `UsageError` for impossible options,
 * `StateError` for a `dataDir` that holds something else, and `LockError` for one that another emulator uses.
 */
export function createEmulator(options: EmulatorOptions = {}): Emulator {
  const resolved = resolveEmulatorOptions(options)
  const ending = new AbortController()
  const server = assembleOn(openStorage(resolved), resolved, ending.signal)
  const app = layered(createApi(resolved, server), [resolved.intercept, server.scenario.layer])
  let closing: Promise<void> | undefined
  const close = async (): Promise<void> => {
    try {
      await server.ready
      const ended = server.batches.close()
      ending.abort()
      await ended
      await server.attempts.flush()
    } finally {
      server.storage.close()
    }
  }
  return {
    app,
    fetch: inProcessFetch(app),
    close: () => {
      closing ??= close()
      return closing
    },
  }
}

type Server = ReturnType<typeof assemble>

const openStorage = ({ dataDir }: ResolvedOptions): Storage =>
  dataDir === undefined ? new MemoryStorage() : new DiskStorage(dataDir)

/** Lets go of the storage when it cannot be used. */
function assembleOn(storage: Storage, options: ResolvedOptions, signal: AbortSignal): Server {
  try {
    return assemble(storage, options, signal)
  } catch (error) {
    storage.close()
    throw error
  }
}

function assemble(storage: Storage, options: ResolvedOptions, signal: AbortSignal) {
  const { clock, latency, limits } = options
  const files = new Files(storage, clock)
  const attempts = new AttemptBook(storage)
  const upstream: Upstream | undefined =
    options.upstream && createUpstream(options.upstream, { clock, signal })
  const scenario = runScenario(options.scenario, { clock, signal, startMs: clock.now() })
  const { replies: faults, listings } = scenario
  const answering = createAnswering(options, { attempts, upstream, faults })
  const batches = new Batches({
    storage,
    files,
    clock,
    attempts,
    answering,
    latency,
    limits,
    knows: modelCheck(options),
    outside: upstream !== undefined,
    concurrency: upstream?.concurrency ?? FUNCTION_CONCURRENCY,
    faults: scenario.batches,
    listings,
    marksLines: faults?.marksLines ?? false,
  })
  const open = async (): Promise<void> => {
    await attempts.open()
    await files.removeOrphans()
    batches.resume()
  }
  const ready = open()
  // Each request waits for `ready` and reports what went wrong; without one there is nobody to tell.
  ready.catch(() => undefined)
  return { storage, files, attempts, upstream, answering, batches, scenario, signal, ready }
}

function createApi(options: ResolvedOptions, server: Server): Hono {
  const app = new Hono()
  app.use(async (context, next) => {
    await next()
    if (!context.res.headers.has('x-request-id')) context.header('x-request-id', requestId())
  })
  app.get('/healthz', (context) => context.json({ status: 'ok' }))
  app.use(async (context, next) => {
    if (server.signal.aborted) throw new ApiError(503, 'The emulator is closed.')
    authorize(options.apiKey, context.req.header('authorization'))
    await server.ready
    await next()
  })
  addFileRoutes(app, {
    files: server.files,
    clock: options.clock,
    maxBatchFileBytes: options.limits.maxFileBytes,
    advance: () => server.batches.advance(),
    listings: server.scenario.listings,
  })
  addBatchRoutes(app, server.batches)
  const direct = { options, ...server }
  addDirectRoutes(app, direct)
  addModelRoutes(app, direct)
  addRateLimitRoutes(app, direct)
  app.notFound(({ req, json }) => {
    const error = new ApiError(404, `Invalid URL (${req.method} ${req.path})`, { code: 'unknown_url' })
    return json(error.body, 404)
  })
  app.onError((error, context) => {
    if (error instanceof ConnectionLost) throw error
    return errorResponse(context, asApiError(error))
  })
  return app
}

const asApiError = (error: unknown): ApiError =>
  error instanceof ApiError
    ? error
    : new ApiError(500, `The emulator failed: ${errorText(error)}`, { code: 'emulator_failed', cause: error })

/** The key given is never repeated in the answer. */
function authorize(expected: string | undefined, header: string | undefined): void {
  if (expected === undefined || header === `Bearer ${expected}`) return
  if (header === undefined) {
    throw new ApiError(401, "You didn't provide an API key: send it as 'Authorization: Bearer YOUR_KEY'.")
  }
  throw new ApiError(401, 'Incorrect API key provided.', { code: 'invalid_api_key' })
}

/** An app around the app, the first layer outermost: what a layer throws leaves it as it is, unlike an error of ours. */
function layered(api: Hono, [outer, ...inner]: readonly (Layer | undefined)[]): Hono {
  const below = inner.length > 0 ? layered(api, inner) : api
  if (!outer) return below
  const app = new Hono()
  app.all('*', ({ req, env }) => outer(req.raw, async (request = req.raw) => below.fetch(request, env)))
  app.onError((error) => {
    throw error
  })
  return app
}

function inProcessFetch(app: Hono): typeof globalThis.fetch {
  return async (input, init) => {
    const request = new Request(input, init)
    // The openai package learns the Response class of a `fetch` by fetching an empty data URL.
    if (request.url.startsWith('data:')) return globalThis.fetch(request)
    const { signal } = request
    signal.throwIfAborted()
    const aborted = Promise.withResolvers<never>()
    const onAbort = (): void => aborted.reject(signal.reason)
    signal.addEventListener('abort', onAbort, { once: true })
    try {
      return await Promise.race([app.fetch(request), aborted.promise])
    } finally {
      signal.removeEventListener('abort', onAbort)
    }
  }
}
