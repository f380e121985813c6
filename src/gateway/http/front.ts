import type { Clock } from '../../util/clock.ts'
import type { Engine } from '../engine/engine.ts'
import { publicAddresses } from '../engine/webhooks-address.ts'
import type { Log } from '../log.ts'
import type { GatewaySettings } from '../settings.ts'
import type { GatewayStore, StoreCounts } from '../store/store.ts'
import { StoreError } from '../store/store-error.ts'
import { Gate } from './access/access.ts'
import { createApp } from './app.ts'
import { BodyBudget } from './body-budget.ts'
import { Desk } from './desk.ts'
import type { Phase } from './health.ts'
import { Inference } from './inference/inference.ts'
import type { RouteAdvice } from './inference/make-arrival.ts'
import { type Intake, Taking } from './inference/taking.ts'
import type { Served } from './listen.ts'
import type { Metrics } from './metrics/metrics.ts'
import { Remembered } from './remembered.ts'
import { RequestIds } from './request-id.ts'
import { BatchRoutes } from './routes/batches.ts'
import { PassThrough } from './routes/pass-through.ts'
import { RequestRoutes } from './routes/requests.ts'
import { socketCalls } from './socket-calls.ts'
import { HoldCheck } from './waiting/hold-check.ts'
import { type Release, Releases } from './waiting/releases.ts'
import { WaitingRoom } from './waiting/waiting-room.ts'

/** Puts on record what calls come to, many at once. */
export interface FrontWriter extends Intake {
  letGo(id: string): Promise<void>
  delivered(id: string): Promise<void>
}

export interface FrontParts {
  readonly settings: GatewaySettings
  readonly store: GatewayStore
  readonly writer: FrontWriter
  readonly engine: Engine
  readonly advice: RouteAdvice
  readonly metrics: Metrics
  readonly replica: string
  readonly clock: Clock
  readonly log: Log
}

/** The gateway's HTTP side, without a socket. */
export interface Front extends Served {
  /** From now on calls are served. */
  open(): void
  /** Tells the store what could not be told before. Never throws. */
  catchUp(): Promise<void>
  /** Serves no more calls, and sends away who waits, to come back later. */
  stop(): void
  /** After the last answer: nothing is told to the store any more. */
  close(): Promise<void>
}

/** Answers are looked for, in case the notice of one was lost: on the way from another process that happens. */
const LOOK_MS = { sqlite: 20_000, postgres: 3000 }

export function createFront(parts: FrontParts): Front {
  const { settings, store, engine, metrics, clock, log } = parts
  let phase: Phase = 'starting'
  const waiting = waitingOf(parts)
  const { releases, room, holdCheck } = waiting
  const passThrough = passThroughOf(parts)
  const ids = new RequestIds()
  const phaseNow = () => phase
  const gate = new Gate({ access: settings.access, source: store, clock, log })
  const desk = new Desk({ phase: phaseNow, gate, ids, metrics, clock, log })
  const inference = inferenceOf(parts, ids, waiting)
  const app = createApp({
    desk,
    inference,
    requests: new RequestRoutes({ store, onTaken: (id) => void releases.tell(id, 'delivered') }),
    batches: new BatchRoutes({ store, engine }),
    passThrough,
    metricsText: async () =>
      metrics.text({ counts: await countsOf(store), held: room.held, nowMs: clock.now() }),
    flush: (tenant) => engine.flush(tenant),
    phase: phaseNow,
    askStore: () => store.now(),
    clock,
  })
  return {
    app,
    serve: socketCalls({ desk, inference, log }),
    open: () => {
      phase = 'ready'
      void room.keepLooking()
    },
    stop: () => {
      phase = 'stopping'
      room.close()
    },
    catchUp: () => releases.catchUp(),
    close: async () => {
      releases.close()
      holdCheck.close()
      await passThrough.close()
    },
  }
}

const passThroughOf = ({ settings, metrics, log }: FrontParts): PassThrough =>
  new PassThrough({
    upstream: settings.upstream,
    maxBodyBytes: settings.maxBodyBytes,
    timeoutMs: settings.requestTimeoutMs,
    onCall: (path, result) => metrics.upstreamCall(path, result),
    log,
  })

/** Where calls are held, and what is told to the store of that. */
interface Waiting {
  readonly room: WaitingRoom
  readonly releases: Releases
  readonly holdCheck: HoldCheck
}

function waitingOf({ store, writer, replica, clock, log }: FrontParts): Waiting {
  const tell = (id: string, release: Release): Promise<void> => writer[release](id)
  const releases = new Releases({ tell, clock, log })
  const room = new WaitingRoom({ source: store, releases, clock, log, lookMs: LOOK_MS[store.kind] })
  const holdCheck = new HoldCheck({
    held: () => store.heldBy(replica),
    isAwaited: (id) => room.has(id),
    release: (id) => void releases.tell(id, 'letGo'),
    clock,
    log,
  })
  return { room, releases, holdCheck }
}

function inferenceOf(parts: FrontParts, ids: RequestIds, waiting: Waiting): Inference {
  const { settings, store, clock } = parts
  const { room, releases } = waiting
  return new Inference({
    taking: takingOf(parts, ids, waiting),
    settings,
    room,
    releases,
    answers: (ids) => store.answers(ids),
    clock,
  })
}

/** Bodies in memory at once: as many of the largest, or so many bytes of smaller ones. */
const LARGEST_BODIES = 8
const BODIES_BYTES = 256_000_000

function takingOf(parts: FrontParts, ids: RequestIds, { room, releases, holdCheck }: Waiting): Taking {
  const { settings, store, writer, engine, advice, metrics, replica, clock, log } = parts
  return new Taking({
    settings,
    ids,
    webhooks: {
      isOffered: settings.webhookSecret !== undefined,
      isPublic: settings.isLocal ? undefined : publicAddresses(),
    },
    intake: writer,
    room,
    releases,
    onDoubt: () => holdCheck.doubt(),
    bodies: new BodyBudget(Math.max(BODIES_BYTES, LARGEST_BODIES * settings.maxBodyBytes)),
    refusedModels: new Remembered({ what: 'refused models', read: () => store.refusedModels(), clock, log }),
    advice,
    arrived: (request) => engine.arrived([request]),
    onAccepted: (kind, ms) => metrics.accepted(kind, ms),
    replica,
    clock,
  })
}

/** The page is there to be read when the store is not. */
async function countsOf(store: GatewayStore): Promise<StoreCounts | undefined> {
  try {
    return await store.counts()
  } catch (error) {
    if (error instanceof StoreError) return undefined
    throw error
  }
}
