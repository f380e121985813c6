import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { systemCode } from '../../src/util/system-code.ts'
import type { Report } from '../support/emulator-messages.ts'
import { type LedgerFacts, readLedgerFacts } from './ledger-facts.ts'
import { type Expected, expectedOf, keyOf } from './workload.ts'

/** What a finished job is judged by. All but the first of a group must be 0. */
export interface Figures {
  readonly keysExpected: number
  readonly keysInOutput: number
  readonly keysTwice: number
  readonly keysMissing: number
  readonly keysWrong: number
  readonly failedExpected: number
  readonly failedWrong: number
  readonly batchesCreated: number
  readonly batchesTwice: number
  readonly batchesNotCompleted: number
  readonly linesAnswered: number
  /** Answers of batches that were paid and are not what an attempt was judged by. */
  readonly paidAndUnused: number
  readonly directAnswers: number
  /** Direct calls that the ledger calls uncertain, and so were sent again. */
  readonly sentAgain: number
  /** The most that may be sent again. */
  readonly sentAgainBound: number
  readonly sentAgainSilently: number
  readonly judgedUnanswered: number
  readonly localFilesLeft: number
  readonly remoteFilesLeft: number
  readonly strays: number
}

export interface Audit {
  readonly figures: Figures
  /** What must not be, in words. */
  readonly violations: readonly string[]
}

export interface AuditInput {
  readonly taskDir: string
  readonly samples: number
  readonly server: Report
  /** How many processes were killed, and how many calls each had on the wire at most. */
  readonly kills: number
  readonly concurrency: number
}

const Entry = z.object({ key: z.string(), label: z.string().optional() })
const EXPECTED_FILES = ['failed', 'ledger', 'output', 'progress'].map((name) => `job_${name}.jsonl`)

/** Compares what a job left on disk and at the server with what must have come of it. */
export async function auditJob(input: AuditInput): Promise<Audit> {
  const { taskDir, samples, server } = input
  const expected = expectedOf(samples)
  const output = await entriesOf(join(taskDir, 'job_output.jsonl'))
  const failed = await entriesOf(join(taskDir, 'job_failed.jsonl'))
  const ledger = await readLedgerFacts(join(taskDir, 'job_ledger.jsonl'))
  const files = (await readdir(taskDir)).filter((name) => !isExpectedFile(name))
  const complaints = new Complaints()
  const figures: Figures = {
    ...judgeOutput(expected, output, complaints),
    ...judgeFailed(expected, failed, complaints),
    ...judgeBatches(server, complaints),
    ...judgeAnswers(expected, server, ledger, complaints),
    sentAgainBound: input.concurrency * input.kills,
    localFilesLeft: complaints.each('left in the folder', files),
    remoteFilesLeft: complaints.each('left at the server', server.files),
    strays: complaints.each('a stray batch', ledger.strays),
  }
  if (figures.sentAgain > figures.sentAgainBound) {
    complaints.each('sent again beyond the bound', [`${figures.sentAgain} of ${figures.sentAgainBound}`])
  }
  return { figures, violations: complaints.all }
}

const isExpectedFile = (name: string): boolean => EXPECTED_FILES.includes(name) || name === 'job_state.json'

/** A line that cannot be read counts as an entry that should not be there. */
async function entriesOf(path: string): Promise<Entries> {
  const text = await readFile(path, 'utf8').catch((error: unknown) => {
    if (systemCode(error) === 'ENOENT') return ''
    throw error
  })
  const lines = text.split('\n').filter((line) => line !== '')
  return lines.map((line, index) => entryOf(line) ?? { key: `line ${index + 1}, which cannot be read` })
}

function entryOf(line: string): Entries[number] | undefined {
  try {
    return Entry.parse(JSON.parse(line))
  } catch {
    // A torn line is what is looked for here; the caller counts it.
    return undefined
  }
}

/** Collects what is wrong. */
class Complaints {
  readonly all: string[] = []

  /** Returns how many there are. */
  each(what: string, names: Iterable<string>): number {
    const all = [...names]
    const more = all.length > SHOWN ? `, and ${all.length - SHOWN} more` : ''
    if (all.length > 0) this.all.push(`${what}: ${all.slice(0, SHOWN).join(', ')}${more}`)
    return all.length
  }
}
const SHOWN = 5

type Entries = readonly z.output<typeof Entry>[]
type Expectations = ReadonlyMap<string, Expected>

function judgeOutput(expected: Expectations, output: Entries, complaints: Complaints) {
  const wanted = [...expected].filter(([, { label }]) => label !== undefined).map(([key]) => key)
  const labels = new Map(output.map(({ key, label }) => [key, label]))
  const missing = wanted.filter((key) => !labels.has(key))
  const wrong = [...labels]
    .filter(([key, label]) => label === undefined || label !== expected.get(key)?.label)
    .map(([key]) => key)
  return {
    keysExpected: wanted.length,
    keysInOutput: labels.size,
    keysTwice: complaints.each('in the output twice', repeated(output.map(({ key }) => key))),
    keysMissing: complaints.each('not in the output', missing),
    keysWrong: complaints.each('wrong in the output', wrong),
  }
}

function judgeFailed(expected: Expectations, failed: Entries, complaints: Complaints) {
  const wanted = [...expected].filter(([, { label }]) => label === undefined).map(([key]) => key)
  const found = failed.map(({ key }) => key)
  const odd = [
    ...repeated(found),
    ...wanted.filter((key) => !found.includes(key)),
    ...found.filter((key) => !wanted.includes(key)),
  ]
  return {
    failedExpected: wanted.length,
    failedWrong: complaints.each('wrong among the failed', odd),
  }
}

/** A queue file becomes one batch: one tag, one input, and no other batch has the same. */
function judgeBatches({ batches }: Report, complaints: Complaints) {
  const names = (['tag', 'file', 'input'] as const).flatMap((by) =>
    repeated(batches.map((batch) => batch[by])),
  )
  const unfinished = batches.filter(({ status }) => status !== 'completed')
  return {
    batchesCreated: batches.length,
    batchesTwice: complaints.each('batches created twice (tag, queue file or input)', names),
    batchesNotCompleted: complaints.each(
      'batches not completed',
      unfinished.map(({ file, status }) => `${file} is ${status}`),
    ),
  }
}

function judgeAnswers(expected: Expectations, server: Report, ledger: LedgerFacts, complaints: Complaints) {
  const { lines, inBatches, directly } = server
  const inBatch = byKey(inBatches)
  const direct = byKey(directly)
  const answers = (key: string): number => (inBatch.get(key) ?? 0) + (direct.get(key) ?? 0)
  const uncertain = (key: string): number => ledger.uncertain.get(key) ?? 0
  const keys = [...expected.keys()]
  const repeatedLines = Object.entries(lines).filter(([, times]) => times > 1)
  const unused = keys.filter((key) => answers(key) > (expected.get(key)?.answers ?? 0) + uncertain(key))
  const tooFew = keys.filter((key) => answers(key) < (expected.get(key)?.answers ?? 0))
  const silent = [...direct].filter(
    ([key, times]) => times > (ledger.received.get(key) ?? 0) + uncertain(key),
  )
  return {
    linesAnswered: sum(Object.values(lines)),
    paidAndUnused:
      complaints.each(
        'answered in two batches',
        repeatedLines.map(([line]) => line),
      ) + complaints.each('asked more often than needed', unused),
    directAnswers: sum(Object.values(directly)),
    sentAgain: sum(ledger.uncertain.values()),
    judgedUnanswered: complaints.each('judged with too few answers', tooFew),
    sentAgainSilently: complaints.each(
      'sent again without a word in the ledger',
      silent.map(([key]) => key),
    ),
  }
}

const byKey = (counts: Readonly<Record<string, number>>): Map<string, number> =>
  new Map(Object.entries(counts).map(([message, times]) => [keyOf(message), times]))

const sum = (numbers: Iterable<number>): number => [...numbers].reduce((total, one) => total + one, 0)

function repeated(names: readonly string[]): string[] {
  const seen = new Set<string>()
  return names.filter((name) => seen.size === seen.add(name).size)
}
