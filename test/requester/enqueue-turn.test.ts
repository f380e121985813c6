import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import type { QueueFile } from '../../src/batch/queue-file.ts'
import { OpenAIRemoteApi } from '../../src/openai/remote-api.ts'
import type { Context } from '../../src/requester/context.ts'
import { EnqueueTurn } from '../../src/requester/enqueue-turn.ts'
import { claimOf, Governor } from '../../src/requester/governor.ts'
import { Interrupted } from '../../src/requester/patience.ts'
import { QuotaFile } from '../../src/requester/quota-board.ts'
import { requesterSettings } from '../../src/requester/settings.ts'
import { TaskStore } from '../../src/requester/store.ts'
import { Valuer } from '../../src/requester/valuer.ts'
import { resolveOptions } from '../../src/util/options.ts'
import { PowerLossFs } from '../support/power-loss-fs.ts'
import { temporaryFolder } from '../support/task-harness.ts'
import { VirtualClock } from '../support/virtual-clock.ts'

const MODEL = 'gpt-5-mini'
const LIMIT = 100
const MINUTE_MS = 60_000

interface Listed {
  readonly tag: string
  readonly status: string
}

interface World {
  readonly batches?: readonly Listed[]
  /** Others use the same file. */
  readonly shared?: boolean
}

/** A run of a task whose account has a limit, and lists these batches. */
async function waiting({ batches = [], shared = false }: World = {}) {
  const clock = new VirtualClock()
  const stop = new AbortController()
  const env = { OPENAI_API_KEY: 'sk' }
  const settings = requesterSettings(resolveOptions({ name: 'task', maxTokenSafety: 1 }, env).options)
  const store = await TaskStore.open({
    fs: new PowerLossFs(),
    clock,
    directory: '/d',
    name: 'task',
    guard: () => {},
    keepTail: () => false,
    isSideFile: () => false,
  })
  let listings = 0
  const data = batches.map(({ tag, status }, index) => ({
    id: `batch_${index}`,
    object: 'batch',
    endpoint: '/v1/chat/completions',
    input_file_id: `file-${index}`,
    completion_window: '24h',
    status,
    created_at: Math.floor(clock.now() / 1000),
    metadata: { nightshift_tag: tag },
  }))
  const fetch = () => {
    listings++
    return Promise.resolve(Response.json({ object: 'list', data, has_more: false }))
  }
  const path = shared ? join(temporaryFolder(), 'quota.json') : undefined
  const quota = new QuotaFile({ path, clock, task: 'ours' })
  /** Another task of the account. */
  const other = new QuotaFile({ path, clock, task: 'other' })
  const governor = new Governor({ quota, safety: 1, onTrouble: () => {} })
  const context: Context = {
    store,
    api: new OpenAIRemoteApi({ apiKey: 'sk', timeoutMs: 1000, fetch }),
    clock,
    settings,
    valuer: new Valuer({ settings, clock, emit: () => {} }),
    governor,
    emit: () => {},
    stop: stop.signal,
    cut: stop.signal,
  }
  await quota.learn(MODEL, LIMIT, 'refusal')
  const turn = new EnqueueTurn(context)
  /** Asks until there is room; resolves with the minutes that took. */
  const enqueue = async (file: QueueFile): Promise<number> => {
    const begun = clock.now()
    while (!(await turn.take(file, tagOf(file), () => false)));
    return (clock.now() - begun) / MINUTE_MS
  }
  return { clock, stop, quota, other, governor, turn, enqueue, listings: () => listings }
}

const fileOf = (id: number, input: number): QueueFile => ({
  phase: 'sealed',
  id,
  endpoint: '/v1/chat/completions',
  model: MODEL,
  requests: 1,
  bytes: 1,
  live: 1,
  passed: 0,
  tokens: { requests: 1, input, output: 0, mostInput: input, mostOutput: 0, longest: input, unbounded: 0 },
})

const tagOf = ({ id }: QueueFile): string => `ours-${id}`

describe('a batch that finds no room', () => {
  test('waits until an earlier one of the task ends, and no longer', async () => {
    const { enqueue, governor, clock } = await waiting()
    expect(await enqueue(fileOf(1, 80))).toBe(0)
    const second = enqueue(fileOf(2, 80))
    await clock.sleep(7 * MINUTE_MS + 5)
    await governor.ended(claimOf(fileOf(1, 80), 'ours-1'), 'completed')
    expect(await second).toBeCloseTo(7, 3)
  })

  test('does not go after 15 minutes as long as something of the task is enqueued', async () => {
    const { enqueue, governor, clock } = await waiting()
    await enqueue(fileOf(1, 80))
    const second = enqueue(fileOf(2, 80))
    await clock.sleep(60 * MINUTE_MS)
    await governor.ended(claimOf(fileOf(1, 80), 'ours-1'), 'completed')
    expect(await second).toBeGreaterThanOrEqual(60)
  })

  test('ends waiting when the run is to stop, with all that wait behind it', async () => {
    const { enqueue, turn, stop, clock } = await waiting()
    await enqueue(fileOf(1, 80))
    const second = turn.take(fileOf(2, 80), 'ours-2', () => false)
    const third = turn.take(fileOf(3, 80), 'ours-3', () => false)
    await clock.sleep(5)
    stop.abort()
    await expect(second).rejects.toThrow(Interrupted)
    expect(await third).toBe(false)
  })
})

describe('room that another task holds', () => {
  test('is waited for 15 minutes; when the server then takes the batch, what was held is no more', async () => {
    const { enqueue, other, governor, quota } = await waiting({
      shared: true,
      batches: [{ tag: 'dead-1', status: 'in_progress' }],
    })
    await other.reserve('dead-1', MODEL, LIMIT)
    const first = fileOf(1, 80)
    const minutes = await enqueue(first)
    expect(minutes).toBeGreaterThanOrEqual(15)
    expect(minutes).toBeLessThan(17)
    expect(Object.keys(quota.reservations).sort()).toEqual(['dead-1', 'ours-1'])
    await governor.letIn(claimOf(first, 'ours-1'))
    expect(Object.keys(quota.reservations)).toEqual(['ours-1'])
  })

  test('is not touched when the server refuses the batch, and the next try waits as long again', async () => {
    const { enqueue, other, governor, quota } = await waiting({
      shared: true,
      batches: [{ tag: 'alive-1', status: 'in_progress' }],
    })
    await other.reserve('alive-1', MODEL, LIMIT)
    const first = fileOf(1, 80)
    await enqueue(first)
    const full = {
      code: 'token_limit_exceeded',
      message: 'Enqueued token limit reached. Limit: 100 enqueued tokens.',
    }
    expect(await governor.refused(claimOf(first, 'ours-1'), [full])).toBe('freed')
    expect(Object.keys(quota.reservations)).toEqual(['alive-1'])
    expect(await enqueue(first)).toBeGreaterThanOrEqual(15)
  })

  test('is free as soon as a listing shows its batch to be over', async () => {
    const batches = [{ tag: 'over-1', status: 'completed' }]
    const { enqueue, other, listings } = await waiting({ shared: true, batches })
    await other.reserve('over-1', MODEL, LIMIT)
    expect(await enqueue(fileOf(1, 80))).toBe(0)
    expect(listings()).toBe(1)
  })

  test('is looked after every five minutes, not more often', async () => {
    const batches = [{ tag: 'alive-1', status: 'in_progress' }]
    const { enqueue, other, listings } = await waiting({ shared: true, batches })
    await other.reserve('alive-1', MODEL, LIMIT)
    await enqueue(fileOf(1, 80))
    expect(listings()).toBeGreaterThanOrEqual(3)
    expect(listings()).toBeLessThanOrEqual(4)
  })

  test('is free when nothing came of it within an hour', async () => {
    const { enqueue, other, clock } = await waiting({ shared: true })
    await other.reserve('unmade-1', MODEL, LIMIT)
    clock.jump(61 * MINUTE_MS)
    expect(await enqueue(fileOf(1, 80))).toBe(0)
  })
})
