import { type BenchOptions, runnerOptions } from './batch-path.ts'
import { count, cpuOf, type Findings, megabytes, peakOf, seconds, type Verdict, wallOf } from './figures.ts'
import type { Measured } from './measured.ts'
import { newFolder, runMeasured, startServer } from './processes.ts'
import type { RunnerOrder } from './programs/runner.ts'

/** At a million requests; a smaller task has its share of it, and the start of the process. */
const MOST_SECONDS = 10
const FULL_SIZE = 1_000_000
const PROCESS_SECONDS = 1

interface Starts {
  readonly requests: number
  /** The task is only opened. */
  readonly opened: readonly Measured[]
  /** The task is run again, and its generator yields all that is committed already. */
  readonly again: readonly Measured[]
}

/** A finished task, opened once more: its ledger is read from beginning to end. */
export async function benchStarts(options: BenchOptions): Promise<Findings> {
  const starts: Starts[] = []
  for (const requests of options.sizes) starts.push(await measureStarts(requests, options))
  return {
    title: 'Start of a task whose requests are all committed',
    columns: ['requests', 'open, wall', 'open, CPU', 'open, peak RSS', 'run again, wall', 'run again, CPU'],
    rows: starts.map(({ requests, opened, again }) => [
      count(requests),
      seconds(wallOf(opened)),
      seconds(cpuOf(opened)),
      megabytes(peakOf(opened)),
      seconds(wallOf(again)),
      seconds(cpuOf(again)),
    ]),
    verdicts: starts.map(verdictOf),
    measured: Object.fromEntries(
      starts.flatMap(({ requests, opened, again }) => [
        [`open ${requests}`, opened],
        [`again ${requests}`, again],
      ]),
    ),
  }
}

async function measureStarts(requests: number, options: BenchOptions): Promise<Starts> {
  await using folder = await newFolder()
  await using server = await startServer('emulator-server', [`${folder.path}/emulator`])
  const order: RunnerOrder = { requests, options: runnerOptions(folder.path) }
  options.say(`start, making a task of ${count(requests)} requests`)
  await runMeasured({ program: 'runner', order, server, requests })
  const onlyOpened: RunnerOrder = { requests, options: { ...order.options, run: false } }
  const opened: Measured[] = []
  const again: Measured[] = []
  for (let round = 1; round <= options.rounds; round++) {
    options.say(`start, ${count(requests)} requests, round ${round} of ${options.rounds}`)
    const flags = options.profile ? ['--cpu-prof', `--cpu-prof-dir=${options.profile}`] : []
    opened.push(await runMeasured({ program: 'runner', order: onlyOpened, server, requests, flags }))
    again.push(await runMeasured({ program: 'runner', order, server, requests }))
  }
  return { requests, opened, again }
}

const verdictOf = ({ requests, opened }: Starts): Verdict => ({
  what: `opening a task of ${count(requests)}`,
  value: wallOf(opened),
  budget: Math.min(MOST_SECONDS, PROCESS_SECONDS + (MOST_SECONDS * requests) / FULL_SIZE),
  unit: ' s',
})
