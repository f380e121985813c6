/**
 * What Nightshift costs, beside the least that the same work can cost:
 *
 *     npm run bench -- [--path batch|direct|start|progress|gateway] [--sizes 10000,100000] [--rounds 3] [--json] [--profile DIR]
 *
 * Exit code 1 when a figure is over its budget.
 */
import { availableParallelism, cpus } from 'node:os'
import { parseArgs } from 'node:util'
import { z } from 'zod'
import { type BenchOptions, benchBatches } from './batch-path.ts'
import { benchDirectCalls } from './direct-path.ts'
import { type Findings, isWithin } from './figures.ts'
import { benchGateway } from './gateway-path.ts'
import { benchProgress } from './progress-path.ts'
import { benchStarts } from './start-path.ts'
import { renderFindings } from './table.ts'

const PATHS = {
  batch: { bench: benchBatches, sizes: [10_000, 100_000] },
  direct: { bench: benchDirectCalls, sizes: [10_000] },
  start: { bench: benchStarts, sizes: [100_000] },
  progress: { bench: benchProgress, sizes: [10_000, 100_000] },
  gateway: { bench: benchGateway, sizes: [20_000] },
} as const

const { values } = parseArgs({
  options: {
    path: { type: 'string', default: 'batch' },
    sizes: { type: 'string' },
    rounds: { type: 'string', default: '3' },
    json: { type: 'boolean', default: false },
    profile: { type: 'string' },
  },
})
const size = z.coerce.number().int().positive()
const path = z.enum(['batch', 'direct', 'start', 'progress', 'gateway']).parse(values.path)
const options: BenchOptions = {
  sizes:
    values.sizes === undefined ? PATHS[path].sizes : values.sizes.split(',').map((one) => size.parse(one)),
  rounds: size.parse(values.rounds),
  profile: values.profile,
  say: (text) => void process.stderr.write(`${text}\n`),
}

function report(all: readonly Findings[]): void {
  const machine = `node ${process.versions.node}, ${availableParallelism()} x ${cpus()[0]?.model ?? 'CPU'}`
  if (values.json) process.stdout.write(`${JSON.stringify({ machine, findings: all }, undefined, 2)}\n`)
  else process.stdout.write(`${machine}\n\n${all.map(renderFindings).join('')}`)
  if (!all.every(({ verdicts }) => verdicts.every(isWithin))) process.exitCode = 1
}

report([await PATHS[path].bench(options)].flat())
