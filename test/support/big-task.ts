import { appendFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Step } from '../../src/batch/steps.ts'
import { encodeLine } from '../../src/state/ledger-line.ts'
import { between, randomFrom } from './random.ts'
import { NAME } from './task-harness.ts'

export interface BigTask {
  readonly batches: number
  readonly requestsPerBatch: number
}

interface Commit {
  readonly at: number
  readonly steps: readonly Step[]
}

const START = Date.UTC(2026, 0, 5)
const MINUTE = 60_000
const WORDS = ['refused', 'cut off', 'not in the list', 'too long', 'of no known form']
/** Batches at the server at one time. */
const LANES = 15

/**
 * Writes the files of a task that ran for weeks: a ledger with batches of all fates, and a history with a row a minute.
 * Returns when it ended.
 */
export function writeBigTask(directory: string, { batches, requestsPerBatch }: BigTask): number {
  const random = randomFrom(5)
  const commits: Commit[] = [{ at: START, steps: [TASK] }]
  const free = Array<number>(LANES).fill(START)
  let [failedSoFar, before] = [0, START]
  for (let file = 1; file <= batches; file++) {
    const lane = free.indexOf(Math.min(...free))
    // Files are opened in the order of their numbers, and so are requests.
    const at = Math.max(before + 1000, (free[lane] ?? START) + MINUTE * between(random, 1, 5))
    before = at
    const took = MINUTE * (20 + Math.round(600 * random() ** 4))
    free[lane] = at + took + 2 * MINUTE
    const failed = Array.from(
      { length: between(random, 0, 3) },
      () => `${WORDS[between(random, 0, 4)]}: ${failedSoFar++}`,
    )
    commits.push(...batchCommits({ file, at, took, failed, requestsPerBatch }))
  }
  commits.sort((a, b) => a.at - b.at)
  writeLedger(directory, commits)
  const end = commits.at(-1)?.at ?? START
  writeHistory(directory, end)
  return end
}

const TASK: Step = {
  kind: 'task',
  version: 1,
  taskId: 'big',
  className: 'Big',
  endpoint: '/v1/chat/completions',
  schema: '',
  params: {},
}

interface BigBatch {
  readonly file: number
  readonly at: number
  readonly took: number
  readonly failed: readonly string[]
  readonly requestsPerBatch: number
}

function batchCommits({ file, at, took, failed, requestsPerBatch: count }: BigBatch): Commit[] {
  const first = (file - 1) * count + 1
  const requests = Array.from({ length: count }, (_, index) => first + index)
  const [good, bad] = [requests.slice(failed.length), requests.slice(0, failed.length)]
  const [tag, batchId, inputFileId] = [`big-${file}`, `batch_${file}`, `file-${file}`]
  const cost = count * 150_000
  const status = file % 97 === 0 ? 'expired' : 'completed'
  const usage = {
    input: 400 * count,
    cachedInput: 100 * count,
    cacheWrite: 0,
    output: 90 * count,
    reasoning: 40 * count,
  }
  return [
    {
      at: at - MINUTE / 2,
      steps: [
        { kind: 'open', file, endpoint: '/v1/chat/completions', model: 'gpt-5-mini' },
        {
          kind: 'add',
          file,
          first,
          keys: requests.map((one) => `k${one}`),
          hashes: requests.map((one) => `h${one}`),
          bytes: 900 * count,
        },
        { kind: 'seal', file, as: 'batch' },
        { kind: 'intent', file, tag, at, expectedNanoUsd: Math.round(cost * 1.2) },
      ],
    },
    { at: at - MINUTE / 4, steps: [{ kind: 'uploaded', file, inputFileId }] },
    { at, steps: [{ kind: 'created', file, batchId, inputFileId }] },
    {
      at: at + took,
      steps: [{ kind: 'ended', file, status, outputFileId: `out-${file}`, tookMs: took - 1000 }],
    },
    {
      at: at + took + MINUTE / 4,
      steps: [
        {
          kind: 'received',
          file,
          usage,
          costNanoUsd: cost,
          listNanoUsd: 2 * cost,
          expected: { input: 380 * count, output: 110 * count, costNanoUsd: Math.round(cost * 1.2) },
          answers: count,
        },
      ],
    },
    {
      at: at + took + MINUTE / 2,
      steps: [
        { kind: 'accepted', requests: good, lines: 0, part: 1 },
        ...bad.map((request, index) => ({ kind: 'rejected' as const, request, reason: failed[index] ?? '' })),
        { kind: 'dropped', file },
      ],
    },
  ]
}

function writeLedger(directory: string, commits: readonly Commit[]): void {
  const path = join(directory, `${NAME}_ledger.jsonl`)
  const failedPath = join(directory, `${NAME}_failed.jsonl`)
  let [written, lines, failedBytes]: [number, Buffer[], number] = [0, [], 0]
  for (const [index, { at, steps }] of commits.entries()) {
    const failed = steps
      .filter((step) => step.kind === 'rejected')
      .map(
        ({ request, reason }) =>
          `${JSON.stringify({ key: `k${request}`, sample: `k${request}`, reason, attempts: 1, reply: { id: request } })}\n`,
      )
      .join('')
    failedBytes += Buffer.byteLength(failed)
    if (failed !== '') appendFileSync(failedPath, failed)
    const files = failed === '' ? {} : { '_failed.jsonl': failedBytes }
    lines.push(encodeLine({ seq: index + 1, at, files, gone: [], steps }))
    written++
    if (written % 500 === 0) lines = flush(path, lines)
  }
  flush(path, lines)
}

function flush(path: string, lines: readonly Buffer[]): Buffer[] {
  appendFileSync(path, Buffer.concat(lines))
  return []
}

const NIGHT = 8 * 60 * MINUTE

/** Two runs, with a night between them. */
function writeHistory(directory: string, end: number): void {
  const rows: Record<string, number | string>[] = []
  const middle = START + (end - START) * 0.6
  let idle = 0
  const add = (at: number, fields: Record<string, number | string>) =>
    rows.push({ _step: rows.length, _timestamp: at / 1000, _runtime: (at - START - idle) / 1000, ...fields })
  add(START, { 'Event/kind': 'run-started', 'Event/task': NAME })
  for (let at = START + MINUTE; at < end; at += MINUTE) {
    if (at >= middle && at < middle + MINUTE) {
      add(at, { 'Event/kind': 'run-finished', 'Event/outcome': 'interrupted' })
      idle = NIGHT
      at += NIGHT
      add(at, { 'Event/kind': 'run-started', 'Event/task': NAME })
    }
    add(at, { 'Requests/succeeded': at % 1000, 'Cost/spent_usd': 1.5 })
    if (rows.length % 997 === 0)
      add(at, {
        'Event/kind': 'warning',
        'Event/code': 'slow',
        'Event/message': `the server is slow: ${rows.length}`,
      })
  }
  add(end, { 'Event/kind': 'run-finished', 'Event/outcome': 'complete' })
  appendFileSync(
    join(directory, `${NAME}_progress.jsonl`),
    rows.map((row) => `${JSON.stringify(row)}\n`).join(''),
  )
}
