import { randomUUID } from 'node:crypto'
import { beforeAll, describe } from 'vitest'
import type { AcceptLimits, Arrival } from '../../src/gateway/domain/arrival.ts'
import type { CutLimits, GatewayBatch } from '../../src/gateway/domain/batch.ts'
import type { Outcome, QueueGroup } from '../../src/gateway/domain/request.ts'
import { openStore, type StoreSettings } from '../../src/gateway/store/open-store.ts'
import type { ClaimedBatch, GatewayStore } from '../../src/gateway/store/store.ts'
import { type Clock, systemClock } from '../../src/util/clock.ts'
import { temporaryFolder } from './folder.ts'
import { startPostgres, type TestPostgres, temporarySchema } from './postgres.ts'

/** A database that is gone when it is disposed of, with all stores that were opened on it. */
export interface StoreWorld {
  readonly settings: StoreSettings
  /** The first one serves; those after it are other replicas (PostgreSQL), or commands beside it (SQLite). */
  open(clock?: Clock): Promise<GatewayStore>
  [Symbol.asyncDispose](): Promise<void>
}

export interface StoreRig {
  readonly kind: 'sqlite' | 'postgres'
  newWorld(): Promise<StoreWorld>
  /** A store of its own, alone in its world. */
  newStore(): Promise<GatewayStore & AsyncDisposable>
  /** The server, of PostgreSQL. */
  server(): TestPostgres
}

/** Runs the same tests on SQLite and on a real PostgreSQL. */
export function describeStores(title: string, tests: (rig: StoreRig) => void): void {
  describe(`${title}, SQLite`, () => tests(rigOf('sqlite', noServer)))
  describe(`${title}, PostgreSQL`, () => {
    let server: TestPostgres | undefined
    beforeAll(async () => {
      server = await startPostgres()
    }, 120_000)
    tests(rigOf('postgres', () => server ?? noServer()))
  })
}

function noServer(): never {
  throw new Error('there is no PostgreSQL server')
}

function rigOf(kind: 'sqlite' | 'postgres', server: () => TestPostgres): StoreRig {
  const newWorld = () => (kind === 'sqlite' ? sqliteWorld() : postgresWorld(server()))
  const newStore = async () => {
    const world = await newWorld()
    return { ...(await world.open()), [Symbol.asyncDispose]: () => world[Symbol.asyncDispose]() }
  }
  return { kind, newWorld, newStore, server }
}

async function sqliteWorld(): Promise<StoreWorld> {
  const folder = await temporaryFolder()
  const stores: GatewayStore[] = []
  const settings = { kind: 'sqlite', dataDir: folder.path, serve: true } as const
  const open = async (clock: Clock = systemClock) => {
    const store = await openStore({ ...settings, serve: stores.length === 0 }, clock)
    stores.push(store)
    return store
  }
  const dispose = async () => {
    for (const store of stores) await store.close()
    await folder[Symbol.asyncDispose]()
  }
  return { settings, open, [Symbol.asyncDispose]: dispose }
}

async function postgresWorld(server: TestPostgres): Promise<StoreWorld> {
  const schema = await temporarySchema(server)
  const stores: GatewayStore[] = []
  const settings = { kind: 'postgres', url: server.url, schema: schema.name } as const
  const open = async (clock: Clock = systemClock) => {
    const store = await openStore(settings, clock)
    stores.push(store)
    return store
  }
  const dispose = async () => {
    for (const store of stores) await store.close()
    await schema[Symbol.asyncDispose]()
  }
  return { settings, open, [Symbol.asyncDispose]: dispose }
}

export const GROUP: QueueGroup = {
  tenant: 'default',
  endpoint: '/v1/chat/completions',
  model: 'gpt-5-mini',
  hasDeadline: false,
}

export const NO_LIMITS: AcceptLimits = { maxQueued: 1_000_000 }
export const ANY_SIZE: CutLimits = { requests: 50_000, bytes: 1e9, tokens: 1e9, inputs: 1e9 }
export const LONG_MS = 3_600_000

/** A call of its own kind that nobody waits for: what a test is about is said in `parts`. */
export function arrivalOf(parts: Partial<Arrival> = {}): Arrival {
  const id = parts.id ?? `req_${randomUUID()}`
  return {
    ...GROUP,
    id,
    fingerprint: `print of ${id}`,
    bodyText: `{"model":"gpt-5-mini","messages":[{"role":"user","content":"${id}"}]}`,
    lineBytes: 200,
    tokens: { requests: 1, input: 20, output: 50, mostInput: 40, mostOutput: 100, longest: 40, unbounded: 0 },
    mostNanoUsd: 1000,
    idempotencyKey: undefined,
    mode: 'async',
    priority: 'normal',
    route: 'batch',
    deadlineAt: undefined,
    maxNanoUsd: undefined,
    webhook: undefined,
    holder: undefined,
    cacheMs: 0,
    claimMs: LONG_MS,
    ...parts,
  }
}

/** Accepts new requests and gives their ids. */
export async function accepted(
  store: GatewayStore,
  ...arrivals: readonly Partial<Arrival>[]
): Promise<string[]> {
  const acceptances = await store.accept(arrivals.map(arrivalOf), NO_LIMITS)
  return acceptances.map((acceptance) => {
    if (acceptance.kind !== 'new') throw new Error(`not new: ${JSON.stringify(acceptance)}`)
    return acceptance.id
  })
}

/** Makes a batch of all that waits in the group, claimed. */
export async function claimedBatch(
  store: GatewayStore,
  group: QueueGroup = GROUP,
): Promise<ClaimedBatch & { readonly number: number }> {
  const batch = await store.cut(group, ANY_SIZE)
  const claim = batch && (await store.claim(batch.number, 'rep_1', LONG_MS))
  if (!claim) throw new Error('nothing to claim')
  return { ...claim, number: claim.batch.number }
}

/** A good answer, or whatever `parts` say. */
export const endOf = (id: string, parts: Partial<Extract<Outcome, { kind: 'ended' }>> = {}): Outcome => ({
  kind: 'ended',
  id,
  ending: 'succeeded',
  status: 200,
  body: `{"id":"answer to ${id}"}`,
  costNanoUsd: 100,
  route: 'batch',
  ...parts,
})

/** Comes back to be sent once more, or whatever `parts` say. */
export const againOf = (id: string, parts: Partial<Extract<Outcome, { kind: 'again' }>> = {}): Outcome => ({
  kind: 'again',
  id,
  uses: 'attempt',
  readyAt: 0,
  route: 'batch',
  ...parts,
})

/** Money of the only tenant. */
export async function moneyOf(store: GatewayStore, name = 'default') {
  const tenant = (await store.tenants()).find((one) => one.name === name)
  return { spent: tenant?.spentNanoUsd ?? 0, reserved: tenant?.reservedNanoUsd ?? 0 }
}

export async function allOf<Item>(items: AsyncIterable<Item>): Promise<Item[]> {
  const all: Item[] = []
  for await (const item of items) all.push(item)
  return all
}

export const batchNumber = (batch: GatewayBatch | undefined): number => batch?.number ?? 0
