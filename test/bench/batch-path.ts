import {
  count,
  cpuOf,
  type Findings,
  growth,
  megabytes,
  microseconds,
  peakOf,
  seconds,
  times,
  type Verdict,
  wallOf,
} from './figures.ts'
import type { Measured } from './measured.ts'
import { newFolder, runMeasured, startServer } from './processes.ts'
import type { FloorOrder } from './programs/batch-floor.ts'
import type { RunnerOrder } from './programs/runner.ts'
import { BATCH_REQUESTS, POLL_SECONDS } from './workload.ts'

export interface BenchOptions {
  readonly sizes: readonly number[]
  readonly rounds: number
  /** Where profiles of the runner go; undefined: none. */
  readonly profile: string | undefined
  readonly say: (text: string) => void
}

const MOST_CPU = 2.5
const MOST_GROWTH = 1.1
const MOST_MB = 512

interface Pair {
  readonly requests: number
  readonly floor: readonly Measured[]
  readonly runner: readonly Measured[]
}

/** From generated requests to written outputs, by batches: the runner against the floor, one after the other. */
export async function benchBatches(options: BenchOptions): Promise<Findings> {
  const idle = await measurePair(0, options)
  const pairs: Pair[] = []
  for (const requests of options.sizes) pairs.push(await measurePair(requests, options))
  return {
    title: 'Batch path, 1 KB requests',
    columns: [
      'requests',
      'floor CPU',
      'runner CPU',
      'ratio',
      'CPU/request',
      'growth',
      'peak RSS',
      'floor wall',
      'runner wall',
    ],
    rows: pairs.map((pair, index) => rowOf(pair, pairs[index - 1], idle)),
    verdicts: pairs.flatMap((pair, index) => verdictsOf(pair, pairs[index - 1], idle)),
    measured: Object.fromEntries(
      [idle, ...pairs].flatMap(({ requests, floor, runner }) => [
        [`floor ${requests}`, floor],
        [`runner ${requests}`, runner],
      ]),
    ),
  }
}

async function measurePair(requests: number, options: BenchOptions): Promise<Pair> {
  const floor: Measured[] = []
  const runner: Measured[] = []
  for (let round = 1; round <= options.rounds; round++) {
    options.say(`batch path, ${count(requests)} requests, round ${round} of ${options.rounds}`)
    floor.push(await runFloor(requests))
    runner.push(await runRunner(requests, options))
  }
  return { requests, floor, runner }
}

async function runFloor(requests: number): Promise<Measured> {
  await using folder = await newFolder()
  await using server = await startServer('emulator-server', [`${folder.path}/emulator`])
  const order: FloorOrder = { requests, folder: folder.path }
  return await runMeasured({ program: 'batch-floor', order, server, requests })
}

async function runRunner(requests: number, { profile }: BenchOptions): Promise<Measured> {
  await using folder = await newFolder()
  await using server = await startServer('emulator-server', [`${folder.path}/emulator`])
  const order: RunnerOrder = { requests, options: runnerOptions(folder.path) }
  const flags = profile && requests > 0 ? ['--cpu-prof', `--cpu-prof-dir=${profile}`] : []
  return await runMeasured({ program: 'runner', order, server, requests, flags })
}

/** The defaults, but for what the floor has to do alike. */
export const runnerOptions = (taskDir: string): RunnerOrder['options'] => ({
  name: 'bench',
  taskDir,
  maxBatchRequests: BATCH_REQUESTS,
  minBatchRequests: 1,
  remoteUpdateInterval: POLL_SECONDS,
})

/** Without what a process costs that does nothing. */
const ownCpu = (pair: Pair, idle: Pair): number => cpuOf(pair.runner) - cpuOf(idle.runner)

const ratioOf = ({ floor, runner }: Pair): number => cpuOf(runner) / cpuOf(floor)

const growthOf = (pair: Pair, before: Pair, idle: Pair): number =>
  growth(ownCpu(pair, idle), ownCpu(before, idle), pair.requests, before.requests)

const rowOf = (pair: Pair, before: Pair | undefined, idle: Pair): string[] => [
  count(pair.requests),
  seconds(cpuOf(pair.floor)),
  seconds(cpuOf(pair.runner)),
  times(ratioOf(pair)),
  microseconds(ownCpu(pair, idle) / pair.requests),
  before ? growthOf(pair, before, idle).toFixed(2) : '',
  megabytes(peakOf(pair.runner)),
  seconds(wallOf(pair.floor)),
  seconds(wallOf(pair.runner)),
]

function verdictsOf(pair: Pair, before: Pair | undefined, idle: Pair): Verdict[] {
  const at = `at ${count(pair.requests)}`
  const verdicts = [
    { what: `runner to floor, CPU ${at}`, value: ratioOf(pair), budget: MOST_CPU, unit: 'x' },
    { what: `peak memory ${at}`, value: peakOf(pair.runner), budget: MOST_MB, unit: ' MB' },
  ]
  if (!before) return verdicts
  const value = growthOf(pair, before, idle)
  return [...verdicts, { what: `growth exponent ${at}`, value, budget: MOST_GROWTH, unit: '' }]
}
