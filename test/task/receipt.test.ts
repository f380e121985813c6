import { describe, expect, test } from 'vitest'
import { accept, reject, retry, type Verdict } from '../../src/batch/verdict.ts'
import { type EmulatedRequest, withUsage } from '../../src/emulator/index.ts'
import { explain } from '../../src/requester/explanation.ts'
import type { Account } from '../../src/requester/receipt.ts'
import { readStatus } from '../../src/requester/status.ts'
import { nodeFileSystem } from '../../src/state/file-system.ts'
import { TaskManager } from '../../src/task/task-manager.ts'
import type { TaskResponse } from '../../src/task/task-types.ts'
import { ask, crashing, harness, NAME, names } from '../support/task-harness.ts'

const KEYS = names(8)

class Eight extends TaskManager {
  *generateRequests() {
    for (const key of KEYS) yield { key, body: { ...ask(key), max_completion_tokens: 500 } }
  }

  processResponse({ key }: TaskResponse): Verdict {
    return accept(key)
  }
}

const sumOf = (amounts: readonly number[]): number => amounts.reduce((sum, amount) => sum + amount, 0)

/** The books of a task by its ledger alone, and the costs of its requests by their histories. */
async function books(dir: string, keys = KEYS) {
  const { receipt } = await readStatus(nodeFileSystem, dir, NAME)
  const place = { directory: dir, name: NAME }
  const found = await Promise.all(keys.map((key) => explain(nodeFileSystem, place, key)))
  const explained = sumOf(found.flatMap(({ lives }) => lives.map(({ cost }) => cost.nanoUsd)))
  return { receipt, account: receipt.task, explained }
}

const byApi = ({ costBy }: Account) => [costBy.batch.nanoUsd, costBy.direct.nanoUsd, costBy.flex.nanoUsd]

/** 1,000 prompt tokens, 900 of them cached, and 10 output tokens. */
const thousand = () => withUsage('fine', { input: 1000, cachedInput: 900, output: 10, reasoning: 4 })
/** By the list of gpt-5-mini: $0.25 a million plain, $0.025 cached, $2 output, in nano-USD. */
const DIRECT = 100 * 250 + 900 * 25 + 10 * 2000
const BATCH = DIRECT / 2

describe('the receipt', () => {
  test('adds up batches, and direct calls for what is asked again', async () => {
    const { dir, options } = harness({ answer: thousand })
    class Again extends Eight {
      override processResponse({ key, attempt }: TaskResponse) {
        return key < 'k-3' && attempt === 1 ? retry('once more') : accept(key)
      }
    }
    const summary = await new Again(options({ minBatchRequests: 8 })).run()
    const total = 8 * BATCH + 3 * DIRECT
    expect(summary.receipt).toMatchObject({
      task: {
        requests: { sent: 11, succeeded: 8, failed: 0, retries: 3, expired: 0 },
        tokens: { input: 11_000, cachedInput: 9900, cacheWrite: 0, output: 110, reasoning: 44 },
        cost: { nanoUsd: total, usd: total / 1e9 },
        judged: { nanoUsd: total },
        withoutVerdict: { nanoUsd: 0 },
        direct: { cost: { nanoUsd: 11 * DIRECT }, saved: { nanoUsd: 8 * BATCH } },
        uncertain: { calls: 0, most: { nanoUsd: 0 } },
        unpricedReplies: 0,
        unmeteredReplies: 0,
      },
      pending: 0,
      awaitingVerdict: 0,
      maxSpend: null,
    })
    expect(byApi(summary.receipt.task)).toEqual([8 * BATCH, 3 * DIRECT, 0])
    expect(summary.receipt.task.direct.percentSaved).toBeCloseTo((100 * 8 * BATCH) / (11 * DIRECT))
    expect(summary.receipt.run).toEqual(summary.receipt.task)
    const { account, explained } = await books(dir)
    expect(account).toEqual(summary.receipt.task)
    expect(explained).toBe(total)
  })

  test('of a run has what came in it, and of the task all', async () => {
    const { options } = harness({ answer: thousand })
    const limits = { maxBatchRequests: 4, maxSessionRequests: 4 }
    await new Eight(options(limits)).run()
    const { receipt } = await new Eight(options({ ...limits, maxSpend: 1 })).run()
    const part = {
      requests: { sent: 4, succeeded: 4 },
      tokens: { input: 4000 },
      cost: { nanoUsd: 4 * BATCH },
    }
    expect(receipt.run).toMatchObject(part)
    const whole = {
      requests: { sent: 8, succeeded: 8 },
      tokens: { input: 8000 },
      cost: { nanoUsd: 8 * BATCH },
    }
    expect(receipt.task).toMatchObject(whole)
    expect(receipt.maxSpend).toEqual({
      cap: { usd: 1, nanoUsd: 1e9 },
      left: { usd: 1 - (8 * BATCH) / 1e9, nanoUsd: 1e9 - 8 * BATCH },
    })
  })

  test('compares estimates only with the answers that they were made for', async () => {
    const { options } = harness({ answer: thousand })
    const { receipt } = await new Eight(options({ assumedCompletionRatio: 0.1 })).run()
    const { input, output, cost } = receipt.task.estimates
    expect(output).toMatchObject({ expected: 400, reported: 80, percentOff: 400 })
    expect(input.reported).toBe(8000)
    expect(cost.reported).toBe(8 * BATCH)
    expect(input.percentOff).toBeCloseTo((100 * (input.expected - 8000)) / 8000)
  })

  test('a wipe forgets requests, and not what was paid', async () => {
    const { dir, options } = harness({ answer: thousand })
    class Picky extends Eight {
      override processResponse({ key }: TaskResponse) {
        return key === 'k-0' ? reject('no') : accept(key)
      }
    }
    await new Picky(options()).run()
    const { receipt } = await new Eight(options({ wipeFailed: true })).run()
    expect(receipt.run).toMatchObject({ requests: { succeeded: 1, failed: 0 }, cost: { nanoUsd: BATCH } })
    expect(receipt.task).toMatchObject({
      requests: { succeeded: 8, failed: 0 },
      cost: { nanoUsd: 9 * BATCH },
    })
    expect((await books(dir)).explained).toBe(9 * BATCH)
  })
})

/** How the requests are sent. */
const WAYS = [
  ['batch', {}],
  ['direct', { forceDirect: true }],
] as const

/** Every third answer does not say what it used. */
const someSilent = {
  faults: [{ fault: 'reply-form', is: 'no-usage', when: { every: 3 } }],
} as const

describe.each(WAYS)('the books by %s', (_, way) => {
  test('agree when prices change between the answers and their verdicts', async () => {
    const { dir, options } = harness({ scenario: { faults: [...someSilent.faults] } })
    class Stumbling extends Eight {
      override processResponse({ key }: TaskResponse): Verdict {
        if (key === 'k-5') throw new Error('not today')
        return accept(key)
      }
    }
    await expect(new Stumbling(options(way)).run()).rejects.toThrow('not today')
    const midway = await books(dir)
    expect(midway.receipt.awaitingVerdict).toBeGreaterThan(0)
    expect(midway.account.withoutVerdict.nanoUsd).toBeGreaterThan(0)
    const dear = { costInputDirectMtoken: 90, costOutputDirectMtoken: 900, maxTokenSafety: 3 }
    const { receipt } = await new Eight(options({ ...way, ...dear })).run()
    const { account, explained } = await books(dir)
    expect(account).toEqual(receipt.task)
    expect(account.unmeteredReplies).toBe(2)
    expect(explained).toBe(account.judged.nanoUsd)
    expect(account.withoutVerdict.nanoUsd).toBe(0)
    expect(sumOf(byApi(account))).toBe(account.cost.nanoUsd)
  })

  test('keep apart what was paid for answers that no request used', async () => {
    const { dir, options } = harness({ answer: thousand })
    class Stumbling extends Eight {
      override processResponse({ key }: TaskResponse): Verdict {
        if (key === 'k-5') throw new Error('not today')
        return accept(key)
      }
    }
    await expect(new Stumbling(options(way)).run()).rejects.toThrow('not today')
    const { receipt } = await new Eight(options({ ...way, wipeTask: true })).run()
    const { account } = await books(dir)
    expect(account).toEqual(receipt.task)
    expect(receipt.awaitingVerdict).toBe(0)
    expect(account.withoutVerdict.nanoUsd).toBeGreaterThan(0)
    expect(account.judged.nanoUsd + account.withoutVerdict.nanoUsd).toBe(account.cost.nanoUsd)
  })
})

test('calls that were cut off are charged apart, with the requests they were for', async () => {
  const rig = harness({ answer: thousand })
  const { options, folder, bury } = crashing(
    rig,
    { at: ({ path, body }) => path === '/v1/chat/completions' && body.includes('k-6'), acted: true },
    { forceDirect: true, directConcurrency: 2 },
  )
  const dead = new Eight(options).run()
  const taskDir = await folder
  const { receipt } = await new Eight(rig.options({ forceDirect: true, taskDir })).run()
  bury()
  await dead.catch(() => {})
  const { account, explained } = await books(taskDir)
  expect(account).toEqual(receipt.task)
  expect(account.uncertain.calls).toBeGreaterThan(0)
  const { lives } = await explain(nodeFileSystem, { directory: taskDir, name: NAME }, 'k-6')
  // All that it may have cost: 500 output tokens, and its prompt.
  expect(lives[0]?.cost.uncertainUsd).toBeGreaterThan((500 * 2000) / 1e9)
  expect(lives[0]?.events).toContainEqual(
    expect.objectContaining({ kind: 'uncertain', chargedUsd: lives[0]?.cost.uncertainUsd }),
  )
  expect(explained).toBe(account.judged.nanoUsd)
})

test('answers that are used again cost nothing, and are told', async () => {
  const { dir, options } = harness({ answer: thousand })
  class Twins extends Eight {
    override *generateRequests() {
      for (const key of KEYS) yield { key, body: { ...ask('the same'), max_completion_tokens: 500 } }
    }
  }
  const { receipt } = await new Twins(options({ dedupe: true })).run()
  expect(receipt.task).toMatchObject({
    requests: { sent: 1, succeeded: 8 },
    cost: { nanoUsd: BATCH },
    reused: { replies: 7, saved: { nanoUsd: 7 * BATCH } },
  })
  const { account, explained } = await books(dir)
  expect(account).toEqual(receipt.task)
  expect(explained).toBe(BATCH)
  const { lives } = await explain(nodeFileSystem, { directory: dir, name: NAME }, 'k-5')
  expect(lives).toMatchObject([{ state: 'succeeded', cost: { nanoUsd: 0 } }])
  expect(lives[0]?.events).toContainEqual(expect.objectContaining({ kind: 'received', reused: true }))
})

test('flex is an account of its own', async () => {
  const answer = ({ body }: EmulatedRequest) => (body.service_tier === 'flex' ? thousand() : 'plain')
  const { dir, options } = harness({ answer })
  class Flexible extends Eight {
    override *generateRequests() {
      for (const { key, body } of super.generateRequests())
        yield { key, body: { ...body, service_tier: 'flex' as const } }
    }
  }
  const { receipt } = await new Flexible(options({ forceDirect: true })).run()
  expect(byApi(receipt.task)).toEqual([0, 0, 8 * BATCH])
  const { lives } = await explain(nodeFileSystem, { directory: dir, name: NAME }, 'k-1')
  expect(lives[0]?.events).toContainEqual(
    expect.objectContaining({ kind: 'received', tier: 'flex', inputTokens: 1000, outputTokens: 10 }),
  )
})
