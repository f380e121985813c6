import { randomUUID } from 'node:crypto'
import type { Hono } from 'hono'
import type { RemoteApi } from '../batch/remote-api.ts'
import { UsageError } from '../errors.ts'
import { OpenAIRemoteApi } from '../openai/remote-api.ts'
import { type Clock, systemClock } from '../util/clock.ts'
import { firstRoute } from './engine/calls/ladder.ts'
import type { Engine } from './engine/engine.ts'
import { createValuer, type Valuer } from './engine/money/valuer.ts'
import { createWholeEngine } from './engine/whole-engine.ts'
import { Heartbeat } from './heartbeat.ts'
import { createFront, type Front } from './http/front.ts'
import type { RouteAdvice } from './http/inference/make-arrival.ts'
import { type Listener, type ListenOptions, listen } from './http/listen.ts'
import { Metrics } from './http/metrics/metrics.ts'
import { observedApi } from './http/metrics/observed-api.ts'
import { observedStore } from './http/metrics/observed-store.ts'
import type { AppEnv } from './http/reply.ts'
import { type Log, silentLog } from './log.ts'
import type { GatewaySettings, StorePlace } from './settings.ts'
import { GroupWriter } from './store/group-writer.ts'
import { openStore, type StoreSettings } from './store/open-store.ts'
import type { GatewayStore } from './store/store.ts'

export interface GatewayDependencies {
  /** @default the system's clock */
  readonly clock?: Clock
  /** @default no log */
  readonly log?: Log
}

/** A running gateway. */
export interface Gateway extends AsyncDisposable {
  /** The app, without a socket: `gateway.app.request('/v1/models')`. */
  readonly app: Hono<AppEnv>
  /** Listens for HTTP or HTTPS; may be called more than once. Throws `UsageError` (`cannot_listen`, `bad_certificate`, `gateway_closed`). */
  listen(options: ListenOptions): Promise<Listener>
  /**
   * Takes no more calls, answers those that are held with a status by which clients come back, lets commits finish, and
   * closes the store. What is at work at the server goes on there, and is taken up by the next gateway.
   */
  close(): Promise<void>
}

/**
 * Opens a gateway: its store, the engine that takes up what an earlier process left, and the HTTP side. Throws
 * `StoreError`, `LockError` for a data folder that another gateway has, and `UsageError` for an upstream that cannot be.
 */
export async function openGateway(
  settings: GatewaySettings,
  dependencies: GatewayDependencies = {},
): Promise<Gateway> {
  const { clock = systemClock, log = silentLog } = dependencies
  const metrics = new Metrics()
  // An upstream that cannot be is found out before anything is opened or made.
  const api = observedApi(remoteApi(settings, clock), (kind, result) => metrics.upstreamCall(kind, result))
  const store = await openStore(storeSettings(settings.store), clock)
  const gateway = new RunningGateway(assemble({ settings, store, api, metrics, clock, log }))
  try {
    await gateway.start()
    return gateway
  } catch (error) {
    await gateway.close()
    throw error
  }
}

interface Assembly {
  readonly settings: GatewaySettings
  readonly store: GatewayStore
  readonly api: RemoteApi
  readonly metrics: Metrics
  readonly clock: Clock
  readonly log: Log
}

/** Puts the parts together. None of them does anything yet. */
function assemble({ settings, store: opened, api, metrics, clock, log }: Assembly): RunningParts {
  const replica = `rep_${randomUUID()}`
  const valuer = createValuer()
  const now = () => clock.now()
  const store = observedStore(opened, { onEnded: (ended) => metrics.ended(ended), valuer, now })
  const engine = createWholeEngine({ settings, store, api, valuer, replica, clock, log })
  const writer = new GroupWriter({ store, replica, limits: { maxQueued: settings.maxQueued } })
  const advice = routeAdvice(valuer)
  const front = createFront({ settings, store, writer, engine, advice, metrics, replica, clock, log })
  const catchUp = () => front.catchUp()
  const heartbeat = new Heartbeat({ store, replica, catchUp, clock, log })
  return { store, engine, writer, front, heartbeat }
}

interface RunningParts {
  readonly store: GatewayStore
  readonly engine: Engine
  readonly writer: GroupWriter
  readonly front: Front
  readonly heartbeat: Heartbeat
}

class RunningGateway implements Gateway {
  readonly app: Hono<AppEnv>
  readonly #parts: RunningParts
  readonly #listeners: Listener[] = []
  #closing: Promise<void> | undefined

  constructor(parts: RunningParts) {
    this.app = parts.front.app
    this.#parts = parts
  }

  async start(): Promise<void> {
    const { engine, front, heartbeat } = this.#parts
    await heartbeat.start()
    await engine.start()
    front.open()
  }

  async listen(options: ListenOptions): Promise<Listener> {
    if (this.#closing !== undefined) throw closed()
    const listener = await listen(this.#parts.front, options)
    this.#listeners.push(listener)
    if (this.#closing === undefined) return listener
    await listener.close()
    throw closed()
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async #close(): Promise<void> {
    const { store, engine, writer, front, heartbeat } = this.#parts
    try {
      front.stop()
      await Promise.all(this.#listeners.map((listener) => listener.close()))
      await engine.close()
      await front.close()
      await writer.idle()
      await heartbeat.close()
    } finally {
      await store.close()
    }
  }
}

const closed = (): UsageError =>
  new UsageError('gateway_closed', 'the gateway is closed and cannot listen any more: open another one')

const storeSettings = (place: StorePlace): StoreSettings =>
  place.kind === 'sqlite'
    ? { kind: 'sqlite', dataDir: place.dataDir, serve: true }
    : { kind: 'postgres', url: place.url.reveal() }

const remoteApi = ({ upstream, requestTimeoutMs }: GatewaySettings, clock: Clock): OpenAIRemoteApi =>
  new OpenAIRemoteApi({
    apiKey: upstream.apiKey.reveal(),
    baseURL: upstream.baseUrl,
    organization: upstream.organization,
    project: upstream.project,
    fetch: upstream.fetch,
    timeoutMs: requestTimeoutMs,
    clock,
  })

const routeAdvice = (valuer: Valuer): RouteAdvice => ({
  route: firstRoute,
  mostNanoUsd: (model, route, forecast, at) => valuer.mostNanoUsd(model, route, forecast, at),
})
