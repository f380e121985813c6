import { type BenchOptions, runnerOptions } from './batch-path.ts'
import { count, cpuOf, type Findings, median, microseconds, seconds, type Verdict } from './figures.ts'
import type { Measured } from './measured.ts'
import { newFolder, runMeasured, startServer } from './processes.ts'
import type { RunnerOrder } from './programs/runner.ts'

/** Of the CPU time of a run, that of its figures and its history. */
const MOST_SHARE = 0.05
const PER_REQUESTS = 10_000

interface Pair {
  readonly requests: number
  readonly withHistory: readonly Measured[]
  readonly without: readonly Measured[]
}

/** What it costs a run to tell of itself: figures once a second, events, and the history file, over the batch path. */
export async function benchProgress(options: BenchOptions): Promise<Findings> {
  const pairs: Pair[] = []
  for (const requests of options.sizes) pairs.push(await measurePair(requests, options))
  return {
    title: 'Figures and history, over the batch path',
    columns: [
      'requests',
      'CPU without',
      'CPU with',
      'difference',
      `for ${count(PER_REQUESTS)} requests`,
      'share',
    ],
    rows: pairs.map(rowOf),
    verdicts: pairs.map(verdictOf),
    measured: Object.fromEntries(
      pairs.flatMap(({ requests, withHistory, without }) => [
        [`with ${requests}`, withHistory],
        [`without ${requests}`, without],
      ]),
    ),
  }
}

async function measurePair(requests: number, options: BenchOptions): Promise<Pair> {
  const withHistory: Measured[] = []
  const without: Measured[] = []
  for (let round = 1; round <= options.rounds; round++) {
    options.say(`progress, ${count(requests)} requests, round ${round} of ${options.rounds}`)
    without.push(await run(requests, { ...options, withoutHistory: true }))
    withHistory.push(await run(requests, { ...options, withoutHistory: false }))
  }
  return { requests, withHistory, without }
}

interface RunOptions extends Pick<BenchOptions, 'profile'> {
  readonly withoutHistory: boolean
}

async function run(requests: number, { profile, withoutHistory }: RunOptions): Promise<Measured> {
  await using folder = await newFolder()
  await using server = await startServer('emulator-server', [`${folder.path}/emulator`])
  const order: RunnerOrder = { requests, options: runnerOptions(folder.path), withoutHistory }
  const flags = profile && !withoutHistory ? ['--cpu-prof', `--cpu-prof-dir=${profile}`] : []
  return await runMeasured({ program: 'runner', order, server, requests, flags })
}

/** Runs that followed each other are compared with each other: a machine is not as fast at all times. */
const differenceOf = ({ withHistory, without }: Pair): number =>
  median(withHistory.map(({ cpuSeconds }, round) => cpuSeconds - (without[round]?.cpuSeconds ?? Number.NaN)))

const rowOf = (pair: Pair): string[] => [
  count(pair.requests),
  seconds(cpuOf(pair.without)),
  seconds(cpuOf(pair.withHistory)),
  microseconds(differenceOf(pair)),
  microseconds((differenceOf(pair) * PER_REQUESTS) / pair.requests),
  `${((100 * differenceOf(pair)) / cpuOf(pair.without)).toFixed(1)} %`,
]

const verdictOf = (pair: Pair): Verdict => ({
  what: `share of the CPU at ${count(pair.requests)}`,
  value: differenceOf(pair) / cpuOf(pair.without),
  budget: MOST_SHARE,
  unit: '',
})
