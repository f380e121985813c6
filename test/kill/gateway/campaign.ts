import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { StoreSettings } from '../../../src/gateway/store/open-store.ts'
import { readBooks } from '../../support/gateway-books.ts'
import { freePort } from '../../support/gateway-process.ts'
import { startPostgres } from '../../support/postgres.ts'
import { type Audit, auditGateways } from './audit.ts'
import { callUntilAnswered, type End } from './callers.ts'
import { type EmulatorProcess, startEmulator } from './emulator.ts'
import { Pace } from './pace.ts'
import { Replica } from './replica.ts'
import { Stall } from './stall.ts'
import type { Strike } from './strikes.ts'
import { type MortalDatabase, Striking } from './striking.ts'
import { askOf, isBatched } from './workload.ts'

export interface GatewayCampaign {
  /** Two gateways on a PostgreSQL, or one on SQLite, whose file nobody kills. */
  readonly store: 'postgres' | 'sqlite'
  /** An empty folder. */
  readonly folder: string
  readonly requests: number
  readonly strikes: readonly Strike[]
  /** Some go by flex and direct calls. */
  readonly hasCalls: boolean
  /** Between the beginnings of two calls, in milliseconds. */
  readonly gapMs: number
  readonly say: (text: string) => void
}

export interface KilledGateways extends Audit {
  readonly store: GatewayCampaign['store']
  readonly kills: number
  /** Of these, kills at a call that they were aimed at. */
  readonly aimed: number
  readonly databaseKills: number
  readonly seconds: number
}

const CONCURRENCY = 16
/** Everything goes faster than by default, so that much is under way at any moment. */
const SETTINGS = {
  NIGHTSHIFT_WINDOW_MS: '800',
  NIGHTSHIFT_POLL_MIN_MS: '200',
  NIGHTSHIFT_POLL_MAX_MS: '1000',
  NIGHTSHIFT_HEARTBEAT_MS: '1000',
  NIGHTSHIFT_CREATE_GRACE_MS: '1000',
  NIGHTSHIFT_CALL_CONCURRENCY: `${CONCURRENCY}`,
  // A call that several kills in a row cut off has its answer in the end.
  NIGHTSHIFT_MAX_ATTEMPTS: '10',
}
const REPLICAS = { postgres: 2, sqlite: 1 } as const
const MOST_AT_ONCE = 200
const PROGRESS_MS = 20_000
/** What is not answered when nothing was for so long never will be. Longer than the leases of what was killed. */
const LONGEST_STALL_MS = 150_000
const CLEAN_MS = 90_000
const LOOK_MS = 250

/** Makes calls while gateways and their database are killed, and looks at what came of it. */
export async function killGateways(given: GatewayCampaign): Promise<KilledGateways> {
  const begunMs = performance.now()
  const { folder, store } = given
  const campaign = {
    ...given,
    say: (text: string) => given.say(`${((performance.now() - begunMs) / 1000).toFixed(1)} s: ${text}`),
  }
  await mkdir(join(folder, 'tmp'), { recursive: true })
  await using place = await (store === 'postgres' ? postgresPlace() : sqlitePlace(folder))
  await using emulator = await startEmulator(REPLICAS[store])
  const replicas = await Promise.all(
    emulator.baseUrls.map(async (baseUrl) => {
      const env = { ...SETTINGS, ...place.env, OPENAI_BASE_URL: baseUrl, TMPDIR: join(folder, 'tmp') }
      return new Replica({ port: await freePort(), args: [], env })
    }),
  )
  await using _ = { [Symbol.asyncDispose]: () => end(replicas) }
  const serials = serialsOf(campaign)
  const world = { campaign, place, emulator, replicas, serials }
  const { ends, striking } = await strikeAndCall(world)
  await untilClean(world)
  await Promise.all(replicas.map((replica) => replica.stop()))
  const server = await emulator.report()
  const audit = await auditGateways({
    store: place.settings,
    server,
    ends,
    serials,
    kills: replicas.map(({ kills }) => kills),
    concurrency: CONCURRENCY,
    crashes: replicas.flatMap(({ crashes }) => crashes),
  })
  await Promise.all([
    writeFile(join(folder, 'server.json'), JSON.stringify(server)),
    writeFile(
      join(folder, 'requests.json'),
      JSON.stringify(await readBooks(place.settings, (query) => query(ALL))),
    ),
    ...replicas.map(({ logs }, number) => writeFile(join(folder, `gateway-${number}.log`), logs.join('\n'))),
  ])
  return {
    ...audit,
    store,
    kills: replicas.flatMap(({ kills }) => kills).length,
    aimed: striking.aimed,
    databaseKills: striking.databaseKills,
    seconds: (performance.now() - begunMs) / 1000,
  }
}

/** Where the gateways' data are. */
interface Place extends AsyncDisposable {
  readonly settings: StoreSettings
  readonly env: Readonly<Record<string, string>>
  readonly database: MortalDatabase | undefined
}

async function postgresPlace(): Promise<Place> {
  const server = await startPostgres()
  const { url, kill } = server
  return {
    settings: { kind: 'postgres', url },
    env: { NIGHTSHIFT_POSTGRES: url },
    database: kill && { kill },
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  }
}

function sqlitePlace(folder: string): Place {
  const dataDir = join(folder, 'data')
  return {
    settings: { kind: 'sqlite', dataDir, serve: false },
    env: { NIGHTSHIFT_DATA_DIR: dataDir },
    database: undefined,
    [Symbol.asyncDispose]: () => Promise.resolve(),
  }
}

interface World {
  readonly campaign: GatewayCampaign
  readonly place: Place
  readonly emulator: EmulatorProcess
  readonly replicas: readonly Replica[]
  readonly serials: readonly number[]
}

function serialsOf({ requests, hasCalls }: GatewayCampaign): readonly number[] {
  const serials: number[] = []
  for (let serial = 1; serials.length < requests; serial++)
    if (hasCalls || isBatched(askOf(serial))) serials.push(serial)
  return serials
}

async function strikeAndCall({ campaign, place, emulator, replicas, serials }: World) {
  const { strikes, gapMs, say } = campaign
  await Promise.all(replicas.map((replica) => replica.start()))
  const striking = new Striking({ replicas, emulator, database: place.database, say })
  const pace = new Pace({ gapMs, mostAtOnce: MOST_AT_ONCE })
  const urls = replicas.map(({ url }) => url)
  const ends = new Map<number, End>()
  const stall = new Stall(LONGEST_STALL_MS)
  const call = async (serial: number): Promise<void> => {
    const end = await callUntilAnswered(serial, urls, stall.signal).catch((error: unknown) => {
      if (!stall.signal.aborted) throw error
      return undefined
    })
    stall.goesOn()
    if (end !== undefined) ends.set(serial, end)
  }
  const calls = serials.map((serial) => pace.run(() => call(serial)))
  const progress = setInterval(() => say(`${pace.begun} calls, ${ends.size} answered`), PROGRESS_MS)
  await Promise.all([striking.run(strikes, pace), ...calls])
  stall.end()
  clearInterval(progress)
  say(`${ends.size} of ${serials.length} calls have their answers`)
  return { ends, striking }
}

/** Fresh gateways look for what the killed ones left behind, and remove it. */
async function untilClean({ campaign, place, emulator, replicas }: World): Promise<void> {
  await Promise.all(replicas.map((replica) => replica.stop()))
  await Promise.all(replicas.map((replica) => replica.start()))
  const untilMs = performance.now() + CLEAN_MS
  while (performance.now() < untilMs) {
    const open = await readBooks(place.settings, openWork)
    const { files } = await emulator.report()
    if (open + files.length === 0) return
    await sleep(LOOK_MS)
  }
  campaign.say('not all was cleaned up in time')
}

/** For whoever looks into what went wrong. */
const ALL = `select id, mode, idempotency_key, holder, route, created_at, finished_at, delivered_at, answers.body
  from requests join answers on answers.seq = requests.seq order by requests.seq`

const openWork = async (query: (sql: string) => Promise<readonly unknown[]>): Promise<number> => {
  const queries = [
    "select number from batches where phase <> 'done'",
    "select id from requests where state <> 'done'",
    'select file_id from litter',
  ]
  let open = 0
  for (const sql of queries) open += (await query(sql)).length
  return open
}

async function end(replicas: readonly Replica[]): Promise<void> {
  await Promise.all(replicas.map((replica) => replica.kill()))
}
