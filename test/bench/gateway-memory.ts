import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { BenchOptions } from './batch-path.ts'
import { count, type Findings, megabytes, noteOnLoad, seconds, type Verdict } from './figures.ts'
import { startGateway } from './gateway-server.ts'
import type { ProbedServer } from './probed-server.ts'
import { newFolder, runMeasured, startServer } from './processes.ts'
import type { HeldOrder } from './programs/held-client.ts'

const CALLS = 10_000
const MOST_IDLE_MB = 120
const MOST_ABOVE_MB = 300
/** Until what is left over from the work before is gone. */
const SETTLE_MS = 3000
const LOOK_MS = 100
/** Besides the calls: files, the database, and connections to the server. */
const OTHER_FILES = 200
/** A batch is made when it is asked for, and looked at often. */
const FLAGS = ['--window-ms', '3600000', '--poll-min-ms', '200', '--poll-max-ms', '200']

/** One gateway, from its start until all calls that it held have their answers. Memory in MB, times in seconds. */
interface Held {
  readonly idleMb: number
  readonly heldMb: number
  readonly peakMb: number
  /** From the first call until all are held. */
  readonly takeSeconds: number
  /** From the making of the batch until the last answer is there. */
  readonly answerSeconds: number
  readonly cpuSeconds: number
}

/** What a gateway holds in memory when it does nothing, and while it holds calls until their batch is done. */
export async function benchHolding(options: BenchOptions): Promise<Findings> {
  mustHaveFiles(CALLS + OTHER_FILES)
  await startOnce()
  const rounds: Held[] = []
  for (let round = 1; round <= options.rounds; round++) {
    options.say(`gateway, ${count(CALLS)} held calls, round ${round} of ${options.rounds}`)
    rounds.push(await measure(options))
  }
  return {
    title: `Gateway on SQLite: ${count(CALLS)} calls held at once, each given its own answer`,
    notes: [noteOnLoad()],
    columns: [
      'round',
      'idle RSS',
      'held RSS',
      'peak RSS',
      'peak above idle',
      'CPU',
      'until held',
      'until answered',
    ],
    rows: rounds.map(rowOf),
    verdicts: verdictsOf(rounds),
    measured: { held: rounds },
  }
}

/** Throws where a process may not have as many connections open. */
function mustHaveFiles(files: number): void {
  const most = execFileSync('sh', ['-c', 'ulimit -Hn'], { encoding: 'utf8' }).trim()
  if (most !== 'unlimited' && Number(most) < files)
    throw new Error(`${count(files)} open files are needed, and "ulimit -Hn" allows a process ${most}`)
}

/** Whatever Node has to compile is compiled, and kept for those that are measured. */
async function startOnce(): Promise<void> {
  await using folder = await newFolder()
  await using upstream = await startServer('emulator-server', [join(folder.path, 'emulator')])
  await using _ = await startGateway({ folder: folder.path, upstream, flags: FLAGS })
}

async function measure({ profile }: BenchOptions): Promise<Held> {
  await using folder = await newFolder()
  await using upstream = await startServer('emulator-server', [join(folder.path, 'emulator'), 'own'])
  await using server = await startGateway({ folder: folder.path, upstream, flags: FLAGS, profile })
  await sleep(SETTLE_MS)
  const idle = await server.used()
  const startedAt = performance.now()
  const order: HeldOrder = { url: server.url, calls: CALLS }
  const calling = runMeasured({ program: 'held-client', order, server: undefined, requests: CALLS })
  await Promise.race([allHeld(server), failing(calling)])
  const heldAt = performance.now()
  await sleep(SETTLE_MS)
  const held = await server.used()
  const flushedAt = performance.now()
  await flush(server)
  await calling
  const answeredAt = performance.now()
  const { peakMb, cpuSeconds } = await server.used()
  return {
    idleMb: idle.rssMb,
    heldMb: held.rssMb,
    peakMb,
    takeSeconds: (heldAt - startedAt) / 1000,
    answerSeconds: (answeredAt - flushedAt) / 1000,
    cpuSeconds: cpuSeconds - idle.cpuSeconds,
  }
}

/** No answer can be there yet: whatever ends the calls is a failure. */
async function failing(calling: Promise<unknown>): Promise<never> {
  await calling
  throw new Error('calls were answered before their batch was made')
}

async function allHeld({ url }: ProbedServer): Promise<void> {
  for (;;) {
    const page = await (await fetch(`${url}/metrics`)).text()
    if (page.includes(`nightshift_held_calls ${CALLS}\n`)) return
    await sleep(LOOK_MS)
  }
}

async function flush({ url }: ProbedServer): Promise<void> {
  const response = await fetch(`${url}/admin/flush`, { method: 'POST' })
  if (!response.ok) throw new Error(`the batch was not made: ${response.status} ${await response.text()}`)
}

const rowOf = (held: Held, index: number): string[] => [
  String(index + 1),
  megabytes(held.idleMb),
  megabytes(held.heldMb),
  megabytes(held.peakMb),
  megabytes(held.peakMb - held.idleMb),
  seconds(held.cpuSeconds),
  seconds(held.takeSeconds),
  seconds(held.answerSeconds),
]

/** Bounds hold in every round. */
function verdictsOf(rounds: readonly Held[]): Verdict[] {
  const most = (of: (held: Held) => number): number => Math.max(...rounds.map(of))
  const above = `above it with ${count(CALLS)} calls held`
  return [
    { what: 'idle memory', value: most(({ idleMb }) => idleMb), budget: MOST_IDLE_MB, unit: ' MB' },
    {
      what: `memory ${above}`,
      value: most(({ heldMb, idleMb }) => heldMb - idleMb),
      budget: MOST_ABOVE_MB,
      unit: ' MB',
    },
    {
      what: `peak memory ${above}, until all are answered`,
      value: most(({ peakMb, idleMb }) => peakMb - idleMb),
      budget: MOST_ABOVE_MB,
      unit: ' MB',
    },
  ]
}
