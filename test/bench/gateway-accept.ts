import { join } from 'node:path'
import { startOwnPostgres, temporaryDatabase } from '../support/postgres.ts'
import { type AcceptClient, startAcceptClient } from './accept-client.ts'
import type { BenchOptions } from './batch-path.ts'
import { noteOnDisk } from './disk.ts'
import { count, type Findings, median, microseconds, noteOnLoad, times, type Verdict } from './figures.ts'
import { startBare, startGateway } from './gateway-server.ts'
import type { ProbedServer } from './probed-server.ts'
import { newFolder, startServer } from './processes.ts'

/** Half of the bare server's rate is twice its time for each call. */
const MOST_TIMES = 2
const CONNECTIONS = [64, 256]
/** Until what is called often is compiled, in both servers and in the client. */
const WARM_UP_CALLS = 15_000
const CALLS_AT_A_TURN = 2000
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
  await using server = await startOwnPostgres({ isDurable: true })
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

async function measure(setting: Setting, options: BenchOptions): Promise<Measurement> {
  const rounds: Round[] = []
  for (let round = 1; round <= options.rounds; round++) {
    const { connections, calls, postgres } = setting
    const store = postgres === undefined ? 'SQLite' : 'PostgreSQL'
    options.say(
      `gateway on ${store}, ${count(calls)} calls on ${connections} connections, round ${round} of ${options.rounds}`,
    )
    rounds.push(await measureRound(setting, options))
  }
  return { setting, rounds }
}

/** Both servers anew, the gateway with nothing in its store, called by turns: what else the machine does meets both. */
async function measureRound(setting: Setting, { profile }: BenchOptions): Promise<Round> {
  await using folder = await newFolder()
  await using upstream = await startServer('emulator-server', [join(folder.path, 'emulator')])
  await using database =
    setting.postgres === undefined ? undefined : await temporaryDatabase({ url: setting.postgres })
  const order = { folder: folder.path, upstream, flags: FLAGS, postgres: database?.url, profile }
  await using bare = await startBare()
  await using gateway = await startGateway(order)
  await using client = startAcceptClient()
  const turns = new Turns(client, setting.connections)
  await turns.take({ bare, gateway }, WARM_UP_CALLS)
  return await turns.take({ bare, gateway }, setting.calls)
}

interface Servers {
  readonly bare: ProbedServer
  readonly gateway: ProbedServer
}

class Turns {
  readonly #client: AcceptClient
  readonly #connections: number
  #first = 0

  constructor(client: AcceptClient, connections: number) {
    this.#client = client
    this.#connections = connections
  }

  /** Calls each of both so often, in turns, and gives what it took in all. */
  async take({ bare, gateway }: Servers, calls: number): Promise<Round> {
    let round: Round = { bare: NOTHING, gateway: NOTHING }
    for (let left = calls; left > 0; left -= CALLS_AT_A_TURN) {
      const turn = Math.min(left, CALLS_AT_A_TURN)
      round = {
        bare: sum(round.bare, await this.#call(bare, turn)),
        gateway: sum(round.gateway, await this.#call(gateway, turn)),
      }
    }
    return round
  }

  async #call(server: ProbedServer, calls: number): Promise<Taken> {
    const before = await server.used()
    const order = { url: server.url, connections: this.#connections, calls, first: this.#first }
    this.#first += calls
    const wall = await this.#client.call(order)
    return { cpu: (await server.used()).cpuSeconds - before.cpuSeconds, wall }
  }
}

const NOTHING: Taken = { cpu: 0, wall: 0 }
const sum = (one: Taken, other: Taken): Taken => ({ cpu: one.cpu + other.cpu, wall: one.wall + other.wall })

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
