import type { BenchOptions } from './batch-path.ts'
import {
  count,
  cpuOf,
  type Findings,
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
import type { DirectFloorOrder } from './programs/direct-floor.ts'
import type { RunnerOrder } from './programs/runner.ts'

const CONCURRENCY = 64
const MOST_CPU = 1.4

interface Pair {
  readonly requests: number
  readonly floor: readonly Measured[]
  readonly runner: readonly Measured[]
}

/** Direct calls to a server that answers at once: the runner against a loop over the SDK. */
export async function benchDirectCalls(options: BenchOptions): Promise<Findings> {
  const idle = await measurePair(0, options)
  const pairs: Pair[] = []
  for (const requests of options.sizes) pairs.push(await measurePair(requests, options))
  return {
    title: `Direct path, 1 KB requests, ${CONCURRENCY} at a time`,
    columns: ['calls', 'floor CPU/call', 'runner CPU/call', 'ratio', 'peak RSS', 'floor wall', 'runner wall'],
    rows: pairs.map((pair) => rowOf(pair, idle)),
    verdicts: pairs.map((pair) => verdictOf(pair, idle)),
    measured: Object.fromEntries(
      [idle, ...pairs].flatMap(({ requests, floor, runner }) => [
        [`floor ${requests}`, floor],
        [`runner ${requests}`, runner],
      ]),
    ),
  }
}

async function measurePair(requests: number, options: BenchOptions): Promise<Pair> {
  await using server = await startServer('echo-server')
  const floor: Measured[] = []
  const runner: Measured[] = []
  for (let round = 1; round <= options.rounds; round++) {
    options.say(`direct path, ${count(requests)} calls, round ${round} of ${options.rounds}`)
    await using folder = await newFolder()
    const order: DirectFloorOrder = { requests, concurrency: CONCURRENCY, folder: folder.path }
    floor.push(await runMeasured({ program: 'direct-floor', order, server, requests }))
    const own = { order: runnerOrder(requests, folder.path), flags: profiling(requests, options) }
    runner.push(await runMeasured({ program: 'runner', server, requests, ...own }))
  }
  return { requests, floor, runner }
}

const runnerOrder = (requests: number, taskDir: string): RunnerOrder => ({
  requests,
  options: { name: 'bench', taskDir, forceDirect: true, directConcurrency: CONCURRENCY },
})

const profiling = (requests: number, { profile }: BenchOptions): string[] =>
  profile && requests > 0 ? ['--cpu-prof', `--cpu-prof-dir=${profile}`] : []

/** Without what a process costs that does nothing: a call is compared with a call. */
const perCall = (runs: readonly Measured[], idle: readonly Measured[], calls: number): number =>
  (cpuOf(runs) - cpuOf(idle)) / calls

const ratioOf = ({ floor, runner, requests }: Pair, idle: Pair): number =>
  perCall(runner, idle.runner, requests) / perCall(floor, idle.floor, requests)

const rowOf = (pair: Pair, idle: Pair): string[] => [
  count(pair.requests),
  microseconds(perCall(pair.floor, idle.floor, pair.requests)),
  microseconds(perCall(pair.runner, idle.runner, pair.requests)),
  times(ratioOf(pair, idle)),
  megabytes(peakOf(pair.runner)),
  seconds(wallOf(pair.floor)),
  seconds(wallOf(pair.runner)),
]

const verdictOf = (pair: Pair, idle: Pair): Verdict => ({
  what: `runner to floor, CPU per call at ${count(pair.requests)}`,
  value: ratioOf(pair, idle),
  budget: MOST_CPU,
  unit: 'x',
})
