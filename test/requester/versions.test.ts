import { appendFileSync, cpSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { applyStep } from '../../src/batch/apply-step.ts'
import { LEDGER_FORMAT } from '../../src/batch/ledger-format.ts'
import { RequestIndex } from '../../src/batch/request-index.ts'
import type { Step } from '../../src/batch/steps.ts'
import { initialState } from '../../src/batch/task-state.ts'
import { readTask } from '../../src/requester/read-only-view.ts'
import { stateFileSchema } from '../../src/requester/state-file.ts'
import { nodeFileSystem } from '../../src/state/file-system.ts'
import { encodeLine } from '../../src/state/ledger-line.ts'
import { VERSION } from '../../src/util/version.ts'
import { cases } from '../fixtures/cases.ts'
import { complete, countersOf, EXPECTED, type Expected, RELEASES } from '../fixtures/folder.ts'
import { Ten } from '../fixtures/tasks.ts'
import { contentsOf } from '../support/folder.ts'
import { lives, type Move, stepsOf } from '../support/step-walk.ts'
import {
  type Harness,
  harness,
  ledgerSteps,
  NAME,
  readTaskFile,
  taskLines,
  temporaryFolder,
} from '../support/task-harness.ts'

const manifest = JSON.parse(readFileSync(join(import.meta.dirname, '../../package.json'), 'utf8'))

test('the version is that of the package', () => {
  expect(VERSION).toBe(manifest.version)
})

const released = readdirSync(RELEASES).flatMap((version) =>
  readdirSync(join(RELEASES, version)).map((name) => ({ version, name })),
)

/** A copy to work on, and what is known of it. */
function fixture(version: string, name: string) {
  const folder = temporaryFolder()
  cpSync(join(RELEASES, version, name), folder, { recursive: true })
  const one = cases[name]
  if (!one) throw new Error(`the case ${name} of release ${version} is gone from test/fixtures/cases.ts`)
  const expected: Expected = JSON.parse(readFileSync(join(folder, EXPECTED), 'utf8'))
  return { folder, last: one.last, expected }
}

const LASTING =
  /^(expected\.json|\.emulator|task_(ledger|output|output_part\d+|failed|progress)\.jsonl|task_(state|output)\.json)$/

/** Kinds of all steps, also of those in a line that was cut short. */
const kindsIn = (folder: string): string[] =>
  [...readTaskFile(folder, '_ledger.jsonl').matchAll(/\{"kind":"([a-z-]+)"/g)].map(([, kind = '']) => kind)

const formats = (folder: string) => ledgerSteps(folder).filter(({ kind }) => kind === 'format')

describe('files of released versions', () => {
  test('are there for every release so far', () => {
    expect(new Set(released.map(({ version }) => version))).toContain('0.1.0')
    expect(released.length).toBeGreaterThanOrEqual(35)
  })

  test('hold every kind of step that 0.1.0 knew', () => {
    const kinds = new Set(
      released.flatMap(({ version, name }) =>
        version === '0.1.0' ? kindsIn(join(RELEASES, version, name)) : [],
      ),
    )
    expect([...kinds].sort()).toEqual(KINDS_OF_0_1_0)
  })

  test.each(released)('$version $name: is read as it is', async ({ version, name }) => {
    const { folder, expected } = fixture(version, name)
    const before = await contentsOf(folder)
    expect(await countersOf(folder)).toEqual(expected.found)
    expect(await contentsOf(folder)).toEqual(before)
  })

  test.each(released)('$version $name: is completed', async ({ version, name }) => {
    const { folder, last, expected } = fixture(version, name)
    const { batches, calls, ...completed } = await complete(folder, last)
    const { batches: most, calls: mostCalls, ...known } = expected.completed
    expect(completed).toEqual(known)
    expect(new Set(completed.output).size).toBe(completed.output.length)
    expect(batches).toBeLessThanOrEqual(most)
    expect(calls).toBeLessThanOrEqual(mostCalls)
    expect(readdirSync(folder).filter((file) => !LASTING.test(file))).toEqual([])
    expect(formats(folder).at(-1)).toEqual({ kind: 'format', ...LEDGER_FORMAT })
  })

  test('name the new format before anything else is added, once', async () => {
    const { folder, last } = fixture('0.1.0', 'uploaded')
    const before = taskLines(folder, '_ledger.jsonl').length
    await complete(folder, last)
    await complete(folder, last)
    expect(taskLines(folder, '_ledger.jsonl')[before]).toMatchObject({
      steps: [{ kind: 'format', ...LEDGER_FORMAT }],
    })
    expect(formats(folder)).toHaveLength(1)
  })
})

const KINDS_OF_0_1_0 = [
  ...[
    'abandoned',
    'accepted',
    'account',
    'add',
    'breaker',
    'cleaned',
    'created',
    'doubt',
    'drift',
    'dropped',
  ],
  ...[
    'ended',
    'fenced',
    'intent',
    'open',
    'params',
    'received',
    'rejected',
    'remembered',
    'remote',
    'requeue',
  ],
  ...['restored', 'seal', 'sent', 'stray', 'task', 'uncertain', 'uploaded', 'wipe', 'wiped'],
]

/** Steps that a task may have gone through, as lines of one to three. */
function ledgerOf(moves: readonly Move[], perLine: number): Step[][] {
  const requests = new RequestIndex()
  const steps: Step[] = [
    { kind: 'format', ...LEDGER_FORMAT },
    { kind: 'task', version: 1, taskId: 'id', className: 'Ten', endpoint: '', schema: '', params: {} },
  ]
  let state = steps.reduce((before, step) => applyStep(before, requests, step), initialState)
  for (const move of moves) {
    for (const step of stepsOf({ state, requests }, move)) {
      steps.push(step)
      state = applyStep(state, requests, step)
    }
  }
  return steps.flatMap((_, at) => (at % perLine === 0 ? [steps.slice(at, at + perLine)] : []))
}

function writeLedger(dir: string, lines: readonly (readonly unknown[])[], torn = ''): void {
  const bytes = lines.map((steps, index) => encodeLine({ seq: index + 1, at: 1, files: {}, gone: [], steps }))
  writeFileSync(join(dir, `${NAME}_ledger.jsonl`), Buffer.concat([...bytes, Buffer.from(torn)]))
}

/** Tries to run the task and to read it. Nothing may come of that but the error. */
async function refusals(rig: Harness): Promise<readonly unknown[]> {
  const before = await contentsOf(rig.dir)
  const told = (error: unknown): unknown => error
  const errors = [
    await new Ten(rig.options()).run().catch(told),
    await new Ten(rig.options({ dryRun: true })).run().catch(told),
    await readTask(nodeFileSystem, rig.dir, NAME).catch(told),
  ]
  expect(await contentsOf(rig.dir)).toEqual(before)
  expect(rig.seen).toEqual([])
  return errors
}

const refusal = (...parts: readonly string[]) =>
  parts.map((part) => ({ name: 'StateError', code: 'newer_version', message: expect.stringContaining(part) }))

describe('files of newer versions', () => {
  test('a ledger is refused with its place, its format and the version it needs', async () => {
    const rig = harness()
    await new Ten(rig.options()).run()
    const seq = taskLines(rig.dir, '_ledger.jsonl').length + 1
    const version = LEDGER_FORMAT.version + 1
    const steps = [{ kind: 'format', version, needs: '9.3.0', why: 'progress' }, { kind: 'teleport' }]
    const line = encodeLine({ seq, at: 1, files: {}, gone: [], steps })
    appendFileSync(join(rig.dir, `${NAME}_ledger.jsonl`), line)
    rig.seen.length = 0
    for (const error of await refusals(rig)) {
      expect(error).toMatchObject({
        name: 'StateError',
        code: 'newer_version',
        message: expect.stringMatching(
          new RegExp(
            `task_ledger\\.jsonl, line \\d+: its format is ${version}, which needs Nightshift 9\\.3\\.0 or later; this is \\d+\\.\\d+\\.\\d+\\. Nothing was changed`,
          ),
        ),
      })
      expect(error).toMatchObject({ message: expect.stringContaining(`line ${seq}:`) })
    }
  })

  test('any ledger of this version is refused, untouched, once its format is raised or it holds an unknown step', async () => {
    const change = fc.oneof(
      fc.record({
        kind: fc.constant('format'),
        version: fc.integer({ min: LEDGER_FORMAT.version + 1 }),
        needs: fc.constantFrom('8.3.0', '9.0.0'),
      }),
      fc.record({
        kind: fc.stringMatching(/^[a-z]{3,9}-new$/),
        file: fc.nat(),
      }),
    )
    await fc.assert(
      fc.asyncProperty(
        lives(30),
        change,
        fc.integer({ min: 1, max: 3 }),
        fc.nat(),
        fc.constantFrom('', '{"crc":"00'),
        async (moves, newStep, perLine, pick, torn) => {
          const rig = harness()
          const lines = ledgerOf(moves, perLine)
          // Where the format is raised nothing after it counts; an unknown step can only be the last that is known.
          const at = 'version' in newStep ? pick % (lines.length + 1) : lines.length
          writeLedger(rig.dir, [...lines.slice(0, at), [newStep], ...lines.slice(at)], torn)
          writeFileSync(join(rig.dir, `${NAME}_state.json.tmp-1-0123456789abcdef`), 'half')
          writeFileSync(join(rig.dir, `${NAME}_batch99.jsonl`), '{}\n')
          const named = 'needs' in newStep ? `needs Nightshift ${newStep.needs}` : `"${newStep.kind}"`
          expect(await refusals(rig)).toMatchObject(refusal(named, named, named))
        },
      ),
      { numRuns: 40 },
    )
  })

  test('the same ledgers without that step are read', async () => {
    await fc.assert(
      fc.asyncProperty(lives(30), fc.integer({ min: 1, max: 3 }), async (moves, perLine) => {
        const dir = temporaryFolder()
        writeLedger(dir, ledgerOf(moves, perLine))
        expect((await readTask(nodeFileSystem, dir, NAME)).state.format).toBe(LEDGER_FORMAT.version)
      }),
      { numRuns: 20 },
    )
  })

  test('a state file is refused with the version that wrote it, and nothing is sent', async () => {
    const rig = harness()
    const path = join(rig.dir, `${NAME}_state.json`)
    mkdirSync(rig.dir, { recursive: true })
    writeFileSync(path, JSON.stringify({ version: 2, nightshift: '9.0.0', seq: 1 }))
    const before = await contentsOf(rig.dir)
    const named = `${path} has version 2, which needs Nightshift 9.0.0 or later; this is ${VERSION}.`
    await expect(new Ten(rig.options()).run()).rejects.toMatchObject(refusal(named)[0] ?? {})
    writeFileSync(path, JSON.stringify({ version: 2 }))
    await expect(new Ten(rig.options()).run()).rejects.toMatchObject(
      refusal('needs a newer Nightshift')[0] ?? {},
    )
    writeFileSync(path, JSON.stringify({ version: 2, nightshift: '9.0.0', seq: 1 }))
    expect(await contentsOf(rig.dir)).toEqual(before)
    expect(rig.seen).toEqual([])
  })
})

describe('files of this version', () => {
  test('name their format and their writer', async () => {
    const { dir, options } = harness()
    await new Ten(options()).run()
    expect(ledgerSteps(dir)[0]).toEqual({ kind: 'format', ...LEDGER_FORMAT })
    expect(stateFileSchema.parse(JSON.parse(readTaskFile(dir, '_state.json'))).nightshift).toBe(VERSION)
  })

  test('are not written to by a look', async () => {
    const { folder } = fixture('0.1.0', 'half-judged')
    const before = await contentsOf(folder)
    const { options } = harness()
    await new Ten(options({ taskDir: folder, dryRun: true })).run()
    expect(await contentsOf(folder)).toEqual(before)
  })
})
