import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Query, readBooks } from '../../support/gateway-books.ts'
import { freePort } from '../../support/gateway-process.ts'
import { type Audit, auditGateways } from './audit.ts'
import { callUntilAnswered, type End } from './callers.ts'
import { type EmulatorProcess, startEmulator } from './emulator.ts'
import type { Report } from './messages.ts'
import { Pace } from './pace.ts'
import { type Place, postgresPlace, sqlitePlace } from './place.ts'
import { Replica } from './replica.ts'
import { Stall } from './stall.ts'
import type { Strike } from './strikes.ts'
import { Striking } from './striking.ts'
import { askOf, isBatched } from './workload.ts'

export interface GatewayCampaign {
  /** Two gateways on a PostgreSQL, or one on SQLite, which cannot be killed by itself. */
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
  NIGHTSHIFT_WINDOW_MS: '1500',
  NIGHTSHIFT_POLL_MIN_MS: '200',
  NIGHTSHIFT_POLL_MAX_MS: '1000',
  NIGHTSHIFT_HEARTBEAT_MS: '1000',
  NIGHTSHIFT_CREATE_GRACE_MS: '1000',
  NIGHTSHIFT_CALL_CONCURRENCY: `${CONCURRENCY}`,
  // A call that several kills in a row cut off has its answer in the end.
  NIGHTSHIFT_MAX_ATTEMPTS: '10',
}
const MOST_AT_ONCE = 200
const PROGRESS_MS = 20_000
/** What is not answered when nothing was for so long never will be. Longer than the leases of what was killed. */
const LONGEST_STALL_MS = 150_000
const CLEAN_MS = 90_000
const LOOK_MS = 250

/** Makes calls while gateways and their database are killed, and looks at what came of it. */
export async function killGateways(campaign: GatewayCampaign): Promise<KilledGateways> {
  const begunMs = performance.now()
  const seconds = () => (performance.now() - begunMs) / 1000
  const { folder, store } = campaign
  const say = (text: string) => campaign.say(`${seconds().toFixed(1)} s: ${text}`)
  await mkdir(join(folder, 'tmp'), { recursive: true })
  await using place = await (store === 'postgres' ? postgresPlace() : sqlitePlace(folder))
  await using emulator = await startEmulator(place.gateways)
  await using gateways = await makeReplicas(folder, place, emulator)
  const { replicas } = gateways
  const world = { campaign, place, emulator, replicas, serials: serialsOf(campaign), say }
  const { ends, striking } = await strikeAndCall(world)
  await untilClean(world)
  const server = await emulator.report()
  const audit = await auditGateways({
    store: place.settings,
    server,
    ends,
    serials: world.serials,
    kills: replicas.map(({ kills }) => kills),
    concurrency: CONCURRENCY,
    crashes: replicas.flatMap(({ crashes }) => crashes),
  })
  await writeTraces(world, server)
  return {
    ...audit,
    store,
    kills: replicas.flatMap(({ kills }) => kills).length,
    aimed: striking.aimed,
    databaseKills: striking.databaseKills,
    seconds: seconds(),
  }
}

interface World {
  readonly campaign: GatewayCampaign
  readonly place: Place
  readonly emulator: EmulatorProcess
  readonly replicas: readonly Replica[]
  readonly serials: readonly number[]
  readonly say: (text: string) => void
}

/** Not started yet. */
async function makeReplicas(folder: string, place: Place, { baseUrls }: EmulatorProcess) {
  const replicas = await Promise.all(
    baseUrls.map(async (baseUrl) => {
      const env = { ...SETTINGS, ...place.env, OPENAI_BASE_URL: baseUrl, TMPDIR: join(folder, 'tmp') }
      return new Replica(await freePort(), env)
    }),
  )
  const end = async () => void (await Promise.all(replicas.map((replica) => replica.end())))
  return { replicas, [Symbol.asyncDispose]: end }
}

function serialsOf({ requests, hasCalls }: GatewayCampaign): readonly number[] {
  const serials: number[] = []
  for (let serial = 1; serials.length < requests; serial++)
    if (hasCalls || isBatched(askOf(serial))) serials.push(serial)
  return serials
}

async function strikeAndCall({ campaign, place, emulator, replicas, serials, say }: World) {
  await Promise.all(replicas.map((replica) => replica.start()))
  const striking = new Striking({ replicas, emulator, database: place.database, say })
  const pace = new Pace({ gapMs: campaign.gapMs, mostAtOnce: MOST_AT_ONCE })
  const urls = replicas.map(({ url }) => url)
  const ends = new Map<number, End>()
  const stall = new Stall(LONGEST_STALL_MS)
  const call = async (serial: number): Promise<void> => {
    const end = await callUntilAnswered(serial, urls, stall.signal)
    stall.goesOn()
    if (end !== undefined) ends.set(serial, end)
  }
  const progress = setInterval(() => say(`${pace.begun} calls, ${ends.size} answered`), PROGRESS_MS)
  try {
    const calls = serials.map((serial) => pace.run(() => call(serial)))
    await Promise.all([striking.run(campaign.strikes, pace), ...calls])
  } finally {
    stall.end()
    clearInterval(progress)
  }
  say(`${ends.size} of ${serials.length} calls have their answers`)
  return { ends, striking }
}

/** A fresh gateway looks for what the killed ones left behind, removes it, and stops. */
async function untilClean({ place, emulator, replicas, say }: World): Promise<void> {
  await Promise.all(replicas.map((replica) => replica.stop()))
  await replicas[0]?.start()
  const untilMs = performance.now() + CLEAN_MS
  let isClean = false
  while (!isClean && performance.now() < untilMs) {
    await sleep(LOOK_MS)
    const open = await readBooks(place.settings, openWork)
    const { files } = await emulator.report()
    isClean = open + files.length === 0
  }
  if (!isClean) say('not all was cleaned up in time')
  await replicas[0]?.stop()
}

async function openWork(query: Query): Promise<number> {
  const batches = await query("select number from batches where phase <> 'done'")
  const requests = await query("select id from requests where state <> 'done'")
  const litter = await query('select file_id from litter')
  return batches.length + requests.length + litter.length
}

const ALL = `select id, mode, idempotency_key, holder, route, created_at, finished_at, delivered_at, answers.body
  from requests join answers on answers.seq = requests.seq order by requests.seq`

/** For whoever looks into what went wrong. */
async function writeTraces({ campaign, place, replicas }: World, server: Report): Promise<void> {
  const { folder } = campaign
  const requests = await readBooks(place.settings, (query) => query(ALL))
  await Promise.all([
    writeFile(join(folder, 'server.json'), JSON.stringify(server)),
    writeFile(join(folder, 'requests.json'), JSON.stringify(requests)),
    ...replicas.map(({ logs }, number) => writeFile(join(folder, `gateway-${number}.log`), logs.join('\n'))),
  ])
}
