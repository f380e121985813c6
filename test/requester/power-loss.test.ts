import { describe, expect, test } from 'vitest'
import { accept, reject, retry, type Verdict } from '../../src/batch/verdict.ts'
import { TaskManager, type TaskManagerOptions } from '../../src/task/task-manager.ts'
import type { TaskResponse } from '../../src/task/task-types.ts'
import { figuresOnDisk, lastFigures, soundRows, withoutLive } from '../support/history.ts'
import { machine, type Uploads } from '../support/power-cut.ts'
import type { Disk, PowerLossFs, Random } from '../support/power-loss-fs.ts'
import { ask, type Harness, harness, type LedgerStep, NAME, names } from '../support/task-harness.ts'

/** Of all pairs of an operation and a way to survive, one in so many is tried. 1: all, which takes a minute. */
const SAMPLE = 5

const KEYS = names(14)
const REFUSED = 'k-3'
const SECOND_TRY = ['k-1', 'k-9']

/** Two batches, a remnant that goes directly, two answers that are asked for again, and one that fails for good. */
class Mixed extends TaskManager {
  *generateRequests() {
    for (const key of KEYS) yield { key, body: ask(key), meta: { of: key } }
  }

  processResponse({ key, attempt }: TaskResponse): Verdict {
    if (key === REFUSED) return reject('not wanted')
    if (SECOND_TRY.includes(key) && attempt === 1) return retry('once more')
    return accept({ key })
  }
}

const CONCURRENCY = 3
const OVER: Partial<TaskManagerOptions> = {
  minBatchRequests: 6,
  maxBatchRequests: 6,
  directConcurrency: CONCURRENCY,
  createGraceMs: 2_000,
}

/** A number generator that gives the same numbers for the same seed. */
function seeded(seed: number): Random {
  let state = Math.imul(seed + 1, 2654435761) >>> 0
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 2 ** 32
  }
}

/** How what was not fsynced survives: all of it, none of it, some of it. */
const SURVIVALS: readonly ((seed: number) => Random)[] = [() => () => 0, () => () => 0.99, seeded, seeded]

interface World {
  readonly rig: Harness
  readonly uploads: Uploads
  readonly answered: { batch: string[]; direct: string[] }
}

function world(): World {
  const answered: World['answered'] = { batch: [], direct: [] }
  const rig = harness({
    answer: ({ via, body }) => {
      answered[via].push(JSON.stringify(body))
      return 'fine'
    },
    latency: { validateMs: 100, runMs: 100, perRequestMs: 1, finalizeMs: 100 },
  })
  return { rig, uploads: new Map(), answered }
}

/** Runs on a disk until the end or the cut; gives the disk, and the number of operations that were carried out. */
async function runOn({ rig, uploads }: World, disk: Disk, cutAt?: number) {
  const host = machine(rig, { disk, uploads, over: OVER, ...(cutAt !== undefined && { cutAt }) })
  const run = new Mixed(host.options).run()
  if (cutAt === undefined)
    expect(await run).toMatchObject({ complete: true, requests: KEYS.length, failed: 1 })
  else await Promise.allSettled([run])
  return host
}

const textOf = ({ dir }: Harness, disk: Disk, suffix: string): string =>
  disk.get(`${dir}/${NAME}${suffix}`)?.toString() ?? ''

const linesOf = <Line>(text: string): Line[] =>
  text
    .split('\n')
    .filter((line) => line !== '')
    .map((line): Line => JSON.parse(line))

const stepsOn = (rig: Harness, disk: Disk): LedgerStep[] =>
  linesOf<{ steps: LedgerStep[] }>(textOf(rig, disk, '_ledger.jsonl')).flatMap(({ steps }) => steps)

async function remote({ emulator }: Harness, path: string): Promise<{ metadata: Record<string, string> }[]> {
  const response = await emulator.fetch(`http://console.test${path}`)
  return JSON.parse(await response.text()).data
}

/** The task is complete, each key once, nothing was sent twice or left behind. */
async function expectWhole({ rig, uploads, answered }: World, fs: PowerLossFs, cuts: number) {
  const { disk } = fs
  const output = linesOf<{ key: string }>(textOf(rig, disk, '_output.jsonl')).map(({ key }) => key)
  expect(output.sort()).toEqual(KEYS.filter((key) => key !== REFUSED).sort())
  const failed = linesOf<{ key: string }>(textOf(rig, disk, '_failed.jsonl')).map(({ key }) => key)
  expect(failed).toEqual([REFUSED])
  const left = [...disk.keys()].map((path) => path.slice(rig.dir.length + 1)).sort()
  expect(left).toEqual(
    ['failed.jsonl', 'ledger.jsonl', 'output.jsonl', 'progress.jsonl', 'state.json'].map(
      (end) => `${NAME}_${end}`,
    ),
  )

  const rows = soundRows(textOf(rig, disk, '_progress.jsonl'))
  expect(rows.at(-1)).toMatchObject({ 'Event/kind': 'run-finished', 'Event/outcome': 'complete' })
  expect(withoutLive(lastFigures(rows))).toEqual(await figuresOnDisk(fs, rig.dir))

  expect(await remote(rig, '/v1/files')).toEqual([])
  const tags = (await remote(rig, '/v1/batches?limit=100')).map(({ metadata }) => metadata.nightshift_tag)
  const ids = tags.flatMap((tag) =>
    linesOf<{ custom_id: string }>(uploads.get(`nightshift-${tag}.jsonl`) ?? '').map(
      ({ custom_id }) => custom_id,
    ),
  )
  expect(ids.length).toBeGreaterThanOrEqual(8)
  expect(new Set(ids).size, 'a line that is in two batches').toBe(ids.length)
  expect(answered.batch).toHaveLength(ids.length)

  const uncertain = stepsOn(rig, disk)
    .filter(({ kind }) => kind === 'uncertain')
    .flatMap(({ requests }) => requests)
  const again = answered.batch.length + answered.direct.length - (KEYS.length + SECOND_TRY.length)
  expect(again).toBeLessThanOrEqual(uncertain.length)
  expect(uncertain.length).toBeLessThanOrEqual(CONCURRENCY * cuts)
}

describe('a machine that loses its power during a whole run', () => {
  test('without it comes to the end that is expected', async () => {
    const one = world()
    const { fs } = await runOn(one, new Map())
    await expectWhole(one, fs, 0)
    expect(one.answered.direct.length).toBeGreaterThanOrEqual(2)
    expect(fs.ops).toBeGreaterThan(80)
  })

  test('goes on with whatever its disk has kept, and does nothing twice', async () => {
    const { fs } = await runOn(world(), new Map())
    const pairs = fs.ops * SURVIVALS.length
    let tried = 0
    for (let pair = 0; pair < pairs; pair += SAMPLE) {
      const survival = SURVIVALS[pair % SURVIVALS.length] ?? seeded
      await expectSurvival(Math.floor(pair / SURVIVALS.length), survival(pair), seeded(pair))
      tried++
    }
    expect(tried).toBeGreaterThan(20)
  }, 120_000)
})

/** Cuts the power after `cutAt` operations, and once more while the next run finds its way. */
async function expectSurvival(cutAt: number, survival: Random, random: Random) {
  const one = world()
  const first = await runOn(one, new Map(), cutAt)
  const second = await runOn(one, first.fs.diskAfter(cutAt, survival), Math.floor(random() * 40))
  const third = await runOn(one, second.fs.diskAfter(second.fs.ops, random))
  await expectWhole(one, third.fs, 2)
}

/** Operations of a run after which it is in the middle of something: queueing, sending, taking answers, judging. */
const MOMENTS = [12, 35, 50, 62, 74, 84]

type Files = Readonly<Record<string, string | undefined>>

/** A disk on which some files, by suffix, hold something else; undefined: they are gone. */
function changed({ dir }: Harness, disk: Disk, files: Files): Disk {
  const after = new Map(disk)
  for (const [suffix, text] of Object.entries(files)) {
    if (text === undefined) after.delete(`${dir}/${NAME}${suffix}`)
    else after.set(`${dir}/${NAME}${suffix}`, Buffer.from(text))
  }
  return after
}

const suffixes = ({ dir }: Harness, disk: Disk): string[] =>
  [...disk.keys()].map((path) => path.slice(`${dir}/${NAME}`.length))

const eachSideFile = (rig: Harness, disk: Disk, change: (text: string) => string): Files =>
  Object.fromEntries(
    suffixes(rig, disk)
      .filter((suffix) => /^_(batch|output|failed|replies)/.test(suffix))
      .map((suffix) => [suffix, change(textOf(rig, disk, suffix))]),
  )

const lastLine = (text: string): string => text.trimEnd().split('\n').at(-1) ?? ''

const remains: readonly (readonly [string, (rig: Harness, disk: Disk) => Files])[] = [
  [
    'half a line at the end of the ledger',
    (rig, disk) => {
      const ledger = textOf(rig, disk, '_ledger.jsonl')
      return { '_ledger.jsonl': ledger + lastLine(ledger).slice(0, 40) }
    },
  ],
  [
    'zeros at the end of the ledger',
    (rig, disk) => ({ '_ledger.jsonl': textOf(rig, disk, '_ledger.jsonl') + '\0'.repeat(4096) }),
  ],
  ['side files that are longer', (rig, disk) => eachSideFile(rig, disk, (text) => `${text}{"half a`)],
  [
    'side files with zeros behind them',
    (rig, disk) => eachSideFile(rig, disk, (text) => text + '\0'.repeat(512)),
  ],
  ['no state file', () => ({ '_state.json': undefined })],
  [
    'files of commits and downloads that never came to an end',
    () => ({
      '_batch77.jsonl': '{"custom_id":',
      '_batch78_result.jsonl': '{"id":"x"}\n',
      '_replies79.jsonl': '',
      '_batch1_result.jsonl.tmp-4711-0123456789abcdef': 'some of it',
      '_state.json.tmp-4711-0123456789abcdef': '{',
    }),
  ],
]

describe('a disk on which the power loss left', () => {
  test.each(remains)('%s, at any time, is gone on with', async (_, change) => {
    for (const cutAt of MOMENTS) {
      const one = world()
      const { fs } = await runOn(one, new Map(), cutAt)
      const { fs: after } = await runOn(one, changed(one.rig, fs.disk, change(one.rig, fs.disk)))
      await expectWhole(one, after, 1)
    }
  })

  test('less of a side file than is committed stops the run, names the file, and changes nothing', async () => {
    const one = world()
    const { fs } = await runOn(one, new Map(), 50)
    const suffix = suffixes(one.rig, fs.disk).find((name) => /^_batch\d+\.jsonl$/.test(name)) ?? ''
    const shorter = changed(one.rig, fs.disk, { [suffix]: textOf(one.rig, fs.disk, suffix).slice(0, -1) })
    const host = machine(one.rig, { disk: shorter, uploads: one.uploads, over: OVER })
    const sent = one.answered.batch.length + one.answered.direct.length
    await expect(new Mixed(host.options).run()).rejects.toMatchObject({
      code: 'file_shortened',
      message: expect.stringContaining(`${NAME}${suffix}`),
    })
    expect(host.fs.disk).toEqual(shorter)
    expect(one.answered.batch.length + one.answered.direct.length).toBe(sent)
  })
})
