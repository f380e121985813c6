import { expect, test } from 'vitest'
import { accept, reject, retry, type Verdict } from '../../src/batch/verdict.ts'
import { TaskManager, type TaskManagerOptions } from '../../src/task/task-manager.ts'
import type { TaskResponse } from '../../src/task/task-types.ts'
import { machine, type Uploads } from '../support/power-cut.ts'
import type { Disk, Random } from '../support/power-loss-fs.ts'
import {
  ask,
  type Harness,
  harness,
  type LedgerStep,
  NAME,
  names,
  questionOf,
  temporaryFolder,
} from '../support/task-harness.ts'

/** Of all operations of a run, the power is cut after one in so many. 1: all, which takes some minutes. */
const SAMPLE = 9

const KEYS = names(28)
/** Seven questions, four times each. The first two are in the cache before the task begins. */
const question = (index: number): string => `question ${index % 7}`
const KNOWN = ['question 0', 'question 1']
/** These ask something that another waits for; so does the third, which is asked with another body next. */
const REFUSED = 'k-2'
const REPAIRED = 'k-3'
const SECOND_TRY = 'k-4'
/** The answer that is kept for it does not do. */
const CHOOSY = 'k-7'

class Asking extends TaskManager {
  *generateRequests() {
    for (const [index, key] of KEYS.entries()) yield { key, body: ask(question(index)), meta: { of: key } }
  }

  processResponse({ key, text, body }: TaskResponse): Verdict {
    if (key === REFUSED) return reject('not wanted')
    const asked = questionOf({ body: { ...body } })
    if (key === REPAIRED && !asked.endsWith('!')) return retry('better', { body: ask(`${asked}!`) })
    if (key === SECOND_TRY && text.endsWith('(1)')) return retry('once more')
    if (key === CHOOSY && text.endsWith('(1)')) return retry('not this one')
    return accept({ key, text })
  }
}

class Known extends TaskManager {
  *generateRequests() {
    for (const text of KNOWN) yield { key: text, body: ask(text) }
  }

  processResponse({ text }: TaskResponse) {
    return accept(text)
  }
}

interface World {
  readonly rig: Harness
  readonly uploads: Uploads
  /** How often each question was asked. */
  readonly asked: Map<string, number>
  readonly over: Partial<TaskManagerOptions>
}

async function world(cached: boolean): Promise<World> {
  const asked = new Map<string, number>()
  const rig = harness({
    answer: (request) => {
      const text = questionOf(request)
      const times = (asked.get(text) ?? 0) + 1
      asked.set(text, times)
      return `${text} (${times})`
    },
    latency: { validateMs: 100, runMs: 100, perRequestMs: 1, finalizeMs: 100 },
  })
  const cache = cached ? temporaryFolder() : undefined
  if (cache) await new Known(rig.options({ cache, taskDir: temporaryFolder() })).run()
  const over = { dedupe: true, cache, maxBatchRequests: 4, minBatchRequests: 2, createGraceMs: 2_000 }
  return { rig, uploads: new Map(), asked, over }
}

async function runOn({ rig, uploads, over }: World, disk: Disk, cutAt?: number) {
  const host = machine(rig, { disk, uploads, over, ...(cutAt !== undefined && { cutAt }) })
  const run = new Asking(host.options).run()
  if (cutAt === undefined) expect(await run).toMatchObject({ complete: true, succeeded: 27, failed: 1 })
  else await Promise.allSettled([run])
  return host
}

const linesOf = <Line>({ dir }: Harness, disk: Disk, suffix: string): Line[] =>
  (disk.get(`${dir}/${NAME}${suffix}`)?.toString() ?? '')
    .split('\n')
    .filter((line) => line !== '')
    .map((line): Line => JSON.parse(line))

/** The task is complete, each key once, and nothing was asked more often than it may be. */
function expectWhole({ rig, asked }: World, disk: Disk, most: ReadonlyMap<string, number>) {
  const output = linesOf<{ key: string }>(rig, disk, '_output.jsonl').map(({ key }) => key)
  expect(output.sort()).toEqual(KEYS.filter((key) => key !== REFUSED).sort())
  const failed = linesOf<{ key: string }>(rig, disk, '_failed.jsonl').map(({ key }) => key)
  expect(failed).toEqual([REFUSED])
  const left = [...disk.keys()].map((path) => path.slice(rig.dir.length + 1)).sort()
  expect(left).toEqual(
    ['failed.jsonl', 'ledger.jsonl', 'output.jsonl', 'progress.jsonl', 'state.json'].map(
      (end) => `${NAME}_${end}`,
    ),
  )
  const calls = linesOf<{ steps: LedgerStep[] }>(rig, disk, '_ledger.jsonl')
    .flatMap(({ steps }) => steps)
    .filter(({ kind }) => kind === 'uncertain')
  const uncertain = calls.reduce((sum, { requests }) => sum + [requests].flat().length, 0)
  let again = 0
  for (const [text, times] of asked) again += Math.max(0, times - (most.get(text) ?? 0))
  expect(again, `asked again: ${JSON.stringify([...asked])}`).toBeLessThanOrEqual(uncertain)
}

/** A number generator that gives the same numbers for the same seed. */
function seeded(seed: number): Random {
  let state = Math.imul(seed + 1, 2654435761) >>> 0
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 2 ** 32
  }
}

const SURVIVALS: readonly ((seed: number) => Random)[] = [() => () => 0, () => () => 0.99, seeded]

test.each([
  ['without a cache', false],
  ['with a cache', true],
] as const)(
  'a loss of power at any time loses no request that waits, and asks nothing twice, %s',
  async (_, cached) => {
    const whole = await world(cached)
    const { fs } = await runOn(whole, new Map())
    expectWhole(whole, fs.disk, whole.asked)
    expect(whole.asked.get('question 6')).toBe(1)
    expect(whole.asked.get('question 2')).toBe(4)
    expect(whole.asked.get('question 0')).toBe(2)
    for (let cutAt = 0; cutAt < fs.ops; cutAt += SAMPLE) {
      const one = await world(cached)
      const first = await runOn(one, new Map(), cutAt)
      const survival = (SURVIVALS[cutAt % SURVIVALS.length] ?? seeded)(cutAt)
      const second = await runOn(one, first.fs.diskAfter(cutAt, survival), 5 + (cutAt % 37))
      const third = await runOn(one, second.fs.diskAfter(second.fs.ops, seeded(cutAt)))
      expectWhole(one, third.fs.disk, whole.asked)
    }
  },
  300_000,
)
