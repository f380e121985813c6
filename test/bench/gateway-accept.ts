import { join } from 'node:path'
import { temporaryDatabase } from '../support/postgres.ts'
import type { BenchOptions } from './batch-path.ts'
import { noteOnDisk } from './disk.ts'
import { count, type Findings, median, microseconds, noteOnLoad, times, type Verdict } from './figures.ts'
import { startBare, startGateway } from './gateway-server.ts'
import { startDurablePostgres } from './postgres-server.ts'
import type { ProbedServer } from './probed-server.ts'
import { newFolder, runMeasured, startServer } from './processes.ts'
import type { AcceptOrder } from './programs/accept-client.ts'

/** Half of the bare server's rate is twice its time for each call. */
const MOST_TIMES = 2
const CONNECTIONS = [64, 256]
/** Until both servers are compiled. */
const WARM_UP_CALLS = 5000
/** Rates of the same server that differ by more than this say more of the machine than of the server. */
const MOST_SPREAD = 1.25
const LEAST_ROUNDS = 3
/** No batch is made meanwhile. */
const FLAGS = ['--mode', 'async', '--window-ms', '3600000']

interface Setting {
  readonly connections: number
  readonly calls: number
  /** The database server; undefined: SQLite. */
  readonly postgres: string | undefined
}

/** What one server used for the calls of one round, in seconds. */
interface Taken {
  readonly cpu: number
  readonly wall: number
}

interface Round {
  readonly bare: Taken
  readonly gateway: Taken
}

interface Measurement {
  readonly setting: Setting
  readonly rounds: readonly Round[]
}

/** Calls that are durable before they are answered, against a bare server that parses and answers them. */
export async function benchAccepting(options: BenchOptions): Promise<Findings> {
  const note = await noteOnDisk()
  const measurements = await measureAll(undefined, options)
  return {
    ...findingsOf(measurements),
    title: 'Gateway on SQLite: 1 KB calls, each durable before it is answered 202',
    notes: [note, noteOnLoad()],
    verdicts: measurements.flatMap(verdictsOf),
  }
}

/** The same with PostgreSQL on the same machine, whose own work is in the rate, but not in the CPU time. */
export async function benchAcceptingOnPostgres(options: BenchOptions): Promise<Findings> {
  await using server = await startDurablePostgres()
  const measurements = await measureAll(server.url, options)
  return {
    ...findingsOf(measurements),
    title: 'The same on PostgreSQL; CPU of the gateway alone',
    notes: [noteOnLoad()],
    verdicts: [],
  }
}

async function measureAll(postgres: string | undefined, options: BenchOptions): Promise<Measurement[]> {
  const measurements: Measurement[] = []
  for (const connections of CONNECTIONS)
    for (const calls of options.sizes)
      measurements.push(await measure({ connections, calls, postgres }, options))
  return measurements
}

/** Rounds by turns: what else the machine does meets both. Each has a new gateway, with nothing in its store. */
async function measure(setting: Setting, options: BenchOptions): Promise<Measurement> {
  const rounds: Round[] = []
  for (let round = 1; round <= options.rounds; round++) {
    const { connections, calls, postgres } = setting
    const store = postgres === undefined ? 'SQLite' : 'PostgreSQL'
    options.say(
      `gateway on ${store}, ${count(calls)} calls on ${connections} connections, round ${round} of ${options.rounds}`,
    )
    rounds.push({ bare: await runBare(setting), gateway: await runGateway(setting, options) })
  }
  return { setting, rounds }
}

async function runBare(setting: Setting): Promise<Taken> {
  await using server = await startBare()
  return await callAll(server, setting)
}

async function runGateway(setting: Setting, { profile }: BenchOptions): Promise<Taken> {
  await using folder = await newFolder()
  await using upstream = await startServer('emulator-server', [join(folder.path, 'emulator')])
  await using database =
    setting.postgres === undefined ? undefined : await temporaryDatabase({ url: setting.postgres })
  const order = { folder: folder.path, upstream, flags: FLAGS, postgres: database?.url, profile }
  await using server = await startGateway(order)
  return await callAll(server, setting)
}

async function callAll(server: ProbedServer, { connections, calls }: Setting): Promise<Taken> {
  await makeCalls({ url: server.url, connections, first: 0, calls: WARM_UP_CALLS })
  const before = await server.used()
  const { work } = await makeCalls({ url: server.url, connections, first: WARM_UP_CALLS, calls })
  const after = await server.used()
  return { cpu: after.cpuSeconds - before.cpuSeconds, wall: work.wallSeconds }
}

const makeCalls = (order: AcceptOrder) =>
  runMeasured({ program: 'accept-client', order, server: undefined, requests: order.calls })

/** Of what each round found, the median: its two servers ran right after each other. */
const timesOf = (rounds: readonly Round[], what: keyof Taken): number =>
  median(rounds.map(({ bare, gateway }) => gateway[what] / bare[what]))

const takenBy = (rounds: readonly Round[], who: keyof Round, what: keyof Taken): number =>
  median(rounds.map((round) => round[who][what]))

function spreadOf(rounds: readonly Round[], who: keyof Round): number {
  const walls = rounds.map((round) => round[who].wall)
  return Math.max(...walls) / Math.min(...walls)
}

const isNoise = (rounds: readonly Round[]): boolean =>
  rounds.length < LEAST_ROUNDS ||
  Math.max(spreadOf(rounds, 'bare'), spreadOf(rounds, 'gateway')) > MOST_SPREAD

const findingsOf = (
  measurements: readonly Measurement[],
): Pick<Findings, 'columns' | 'rows' | 'measured'> => ({
  columns: [
    'calls',
    'connections',
    'bare CPU/call',
    'gateway CPU/call',
    'ratio',
    'bare calls/s',
    'gateway calls/s',
    'ratio',
    'spread',
  ],
  rows: measurements.map(rowOf),
  measured: Object.fromEntries(
    measurements.map(({ setting: { calls, connections }, rounds }) => [
      `${calls} calls on ${connections} connections`,
      rounds,
    ]),
  ),
})

function rowOf({ setting: { calls, connections }, rounds }: Measurement): string[] {
  const perCall = (who: keyof Round) => microseconds(takenBy(rounds, who, 'cpu') / calls)
  const rate = (who: keyof Round) => count(Math.round(calls / takenBy(rounds, who, 'wall')))
  return [
    count(calls),
    count(connections),
    perCall('bare'),
    perCall('gateway'),
    times(timesOf(rounds, 'cpu')),
    rate('bare'),
    rate('gateway'),
    times(timesOf(rounds, 'wall')),
    `${times(spreadOf(rounds, 'bare'))}, ${times(spreadOf(rounds, 'gateway'))}`,
  ]
}

function verdictsOf({ setting, rounds }: Measurement): Verdict[] {
  const at = `at ${count(setting.calls)} calls on ${setting.connections} connections`
  const verdict = (what: string, value: number) => ({ what, value, budget: MOST_TIMES, unit: 'x' })
  const cpu = verdict(`gateway to bare server, CPU ${at}`, timesOf(rounds, 'cpu'))
  if (isNoise(rounds)) return [cpu]
  return [cpu, verdict(`gateway to bare server, time ${at}`, timesOf(rounds, 'wall'))]
}
