import { beforeAll, describe, expect, test } from 'vitest'
import { budgetOf } from '../../src/batch/budget.ts'
import { accept } from '../../src/batch/verdict.ts'
import { type Scenario, withUsage } from '../../src/emulator/index.ts'
import { TaskManager, type TaskManagerOptions } from '../../src/task/task-manager.ts'
import { loadTokenCounter, type TokenCounter } from '../../src/tokens/counter.ts'
import { hurryBackoffs } from '../support/fault-world.ts'
import { cheap, MoneyWorld, moments, taskOf } from '../support/money-world.ts'
import { ask, crashing, type Harness, harness, isKind, type Seen, stepsOf } from '../support/task-harness.ts'

let counter: TokenCounter
hurryBackoffs()
beforeAll(async () => {
  counter = await loadTokenCounter()
})

const CHEAP = cheap(3)
/** Room for three requests by batch, or one by a call. */
const THREE_AT_A_TIME_USD = 0.0035
const DAY_MS = 86_400_000

const isUpload = (seen: Seen): boolean => isKind(seen, 'POST', '/v1/files')

const EMPTY_ENDS = [
  { fault: 'batch-file-empty', file: 'both' },
  { fault: 'batch-usage', is: 'missing' },
] as const

interface World {
  readonly rig: Harness
  task(options: TaskManagerOptions): TaskManager
}

function worldOf(requests: number, scenario: Scenario = { faults: [] }): World {
  const direct = { input: 0.25, cached: 0.025, output: 2 }
  const batch = { input: 0.125, cached: 0.0125, output: 1 }
  const server = { endpoint: '/v1/chat/completions', model: 'gpt-5-mini', direct, batch, counter } as const
  const specs = Array.from({ length: requests }, () => CHEAP)
  const { rig } = new MoneyWorld(specs, server, { scenario })
  return { rig, task: (options) => taskOf(specs, server, options) }
}

/** Runs until the first upload, which may have been carried out, and gives the folder that is left. */
async function cutAtUpload({ rig, task }: World, acted: boolean, over: Partial<TaskManagerOptions> = {}) {
  const crash = crashing(rig, { at: isUpload, acted }, over)
  const dead = task(crash.options).run()
  const dir = await crash.folder
  crash.bury()
  await dead
  return dir
}

/** What is spent, or may be, right after each batch was created. */
const atCreates = (dir: string): readonly number[] =>
  moments(dir)
    .moments.filter(({ kinds }) => kinds.includes('created'))
    .map(({ sumNanoUsd }) => sumNanoUsd)

describe('a cap that comes, or is lowered, while a batch is on its way to its upload', () => {
  test.each([
    ['comes', false, {}],
    ['comes', true, {}],
    ['is lowered', false, { maxSpend: 1 }],
    ['is lowered', true, { maxSpend: 1 }],
  ])('%s: the batch goes in parts, each within it (uploaded: %s)', async (_, acted, before) => {
    const world = worldOf(10)
    const { rig, task } = world
    const dir = await cutAtUpload(world, acted, before)
    const over = { taskDir: dir, maxSpend: THREE_AT_A_TIME_USD }
    const summary = await task(rig.options(over)).run()
    expect(summary).toMatchObject({ complete: true, succeeded: 10 })
    expect(atCreates(dir).length).toBeGreaterThan(1)
    expect(Math.max(...atCreates(dir))).toBeLessThanOrEqual(THREE_AT_A_TIME_USD * 1e9)
    const left = await rig.emulator.fetch('http://console.test/v1/files')
    expect(await left.json()).toMatchObject({ data: [] })
  })
})

/** Each costs 1,000 prompt tokens and 10 of output. */
function twoRequests(): World {
  class Two extends TaskManager {
    *generateRequests() {
      for (const key of ['a', 'b']) yield { key, body: { ...ask(key), model: 'gpt-5.6-luna' } }
    }

    processResponse = () => accept()
  }
  const rig = harness({ answer: () => withUsage('yes', { input: 1000, output: 10 }) })
  return { rig, task: (options) => new Two(options) }
}

describe('an attempt that was cut short before its upload', () => {
  test('is begun anew after days, at the prices of the day', async () => {
    /* gpt-5.6-luna, USD per million tokens: 1.00 input and 6 output until 2026-07-29, then 0.20 and 1.20. */
    const world = twoRequests()
    const { rig, task } = world
    rig.clock.jump(Date.UTC(2026, 6, 28, 12) - rig.clock.now())
    const taskDir = await cutAtUpload(world, true)
    rig.clock.jump(3 * DAY_MS)
    expect(await task(rig.options({ taskDir })).run()).toMatchObject({ complete: true })
    expect(stepsOf(taskDir, 'intent')).toHaveLength(2)
    // Half of 1,000 x 0.20 + 10 x 1.20 = 212 USD per million requests.
    expect(moments(taskDir).state.spending.costNanoUsd).toBe(2 * 106_000)
  })

  test('goes on after hours', async () => {
    const world = twoRequests()
    const { rig, task } = world
    const taskDir = await cutAtUpload(world, true)
    rig.clock.jump(DAY_MS / 2)
    expect(await task(rig.options({ taskDir })).run()).toMatchObject({ complete: true })
    expect(stepsOf(taskDir, 'intent')).toHaveLength(1)
    expect(rig.count('POST', '/v1/files')).toBe(1)
  })
})

describe('a batch that failed without having done anything, and waits for a person', () => {
  const errors = [{ code: 'invalid_request', message: 'no', line: null, param: null }]
  const failed = { fault: 'batch-end', as: 'failed', errors, when: { first: 1 } } as const

  test.each<[string, Scenario['faults'], Partial<TaskManagerOptions>]>([
    ['since before there was a cap', [failed], {}],
    ['under a cap', [failed], { maxSpend: 1 }],
    ['with files that are empty', [{ ...failed, answered: 0.5 }, ...EMPTY_ENDS], { maxSpend: 1 }],
  ])('%s, holds no money', async (_, faults, before) => {
    const { rig, task } = worldOf(6, { faults: faults.map((fault) => ({ ...fault, when: { first: 1 } })) })
    const first = await task(rig.options({ ...before, maxBatchRequests: 3, maxTaskRequests: 3 })).run()
    expect(first).toMatchObject({ complete: false, pending: 6 })
    const second = await task(rig.options({ maxBatchRequests: 3, maxSpend: THREE_AT_A_TIME_USD })).run()
    expect(second).toMatchObject({ outcome: 'failed-batches', succeeded: 3, pending: 3 })
    expect(budgetOf(moments(rig.dir).state).reservedNanoUsd).toBe(0)
  })
})
