import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import type { QueueFile } from '../../src/batch/queue-file.ts'
import { EnqueueTurn } from '../../src/requester/enqueue-turn.ts'
import { claimOf } from '../../src/requester/governor.ts'
import { Interrupted } from '../../src/requester/patience.ts'
import { QuotaFile } from '../../src/requester/quota-board.ts'
import type { Fetch } from '../../src/util/fetch.ts'
import { bareContext } from '../support/bare-context.ts'
import { temporaryFolder } from '../support/task-harness.ts'
import { clockOfFastDisk } from '../support/virtual-clock.ts'

const MODEL = 'gpt-5-mini'
const LIMIT = 100
const MINUTE_MS = 60_000

interface Listed {
  readonly tag: string
  readonly status: string
  /** How long before the clock begins it came to be, in minutes. Default: 0. */
  readonly age?: number
}

interface World {
  readonly batches?: readonly Listed[]
  /** Others use the same file. */
  readonly shared?: boolean
  /** How the server answers when batches are to be listed. Default: with the batches. */
  readonly list?: Fetch
}

/** A run of a task whose account has a limit, and lists these batches. */
async function waiting({ batches = [], shared = false, list }: World = {}) {
  const clock = clockOfFastDisk()
  let listings = 0
  const data = batches.map((batch, index) => wireBatch(batch, index, clock.now()))
  const lists: Fetch =
    list ?? (() => Promise.resolve(Response.json({ object: 'list', data, has_more: false })))
  const fetch: Fetch = (input, init) => {
    listings++
    return lists(input, init)
  }
  const path = shared ? join(temporaryFolder(), 'quota.json') : undefined
  const quota = new QuotaFile({ path, clock, task: 'ours' })
  /** Another task of the account. */
  const other = new QuotaFile({ path, clock, task: 'other' })
  const { context, stop, events } = await bareContext({ clock, fetch, quota, options: { maxTokenSafety: 1 } })
  const { governor } = context
  await quota.learn(MODEL, LIMIT, 'refusal')
  const turn = new EnqueueTurn(context)
  /** Asks until there is room; resolves with the minutes that took. */
  const enqueue = async (file: QueueFile): Promise<number> => {
    const begun = clock.now()
    while (!(await turn.take(file, tagOf(file), () => false)));
    return (clock.now() - begun) / MINUTE_MS
  }
  const warnings = () => events.filter(({ kind }) => kind === 'warning')
  return { clock, stop, quota, other, governor, turn, enqueue, warnings, listings: () => listings }
}

const wireBatch = ({ tag, status, age = 0 }: Listed, index: number, now: number) => ({
  id: `batch_${index}`,
  object: 'batch',
  endpoint: '/v1/chat/completions',
  input_file_id: `file-${index}`,
  completion_window: '24h',
  status,
  created_at: Math.floor((now - age * MINUTE_MS) / 1000),
  metadata: { nightshift_tag: tag },
})

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

  test('is not free while its batch is there, also when the server dates that a little earlier', async () => {
    const batches = [{ tag: 'alive-1', status: 'in_progress', age: 30 }]
    const { enqueue, other, clock } = await waiting({ shared: true, batches })
    await other.reserve('alive-1', MODEL, LIMIT)
    clock.jump(61 * MINUTE_MS)
    expect(await enqueue(fileOf(1, 80))).toBeGreaterThanOrEqual(15)
  })

  test.each<[string, Fetch]>([
    ['refuses to', () => Promise.resolve(Response.json({ error: { message: 'no' } }, { status: 403 }))],
    ['answers with something else', () => Promise.resolve(new Response('<html>welcome</html>'))],
    [
      'gives the same page for ever',
      () =>
        Promise.resolve(
          Response.json({
            object: 'list',
            data: [wireBatch({ tag: 'x-1', status: 'in_progress' }, 0, Date.UTC(2026, 0, 1))],
            has_more: true,
          }),
        ),
    ],
  ])('is waited for where the server %s when it is asked to list batches', async (_, list) => {
    const { enqueue, other, warnings } = await waiting({ shared: true, list })
    await other.reserve('unseen-1', MODEL, LIMIT)
    expect(await enqueue(fileOf(1, 80))).toBeGreaterThanOrEqual(15)
    expect(warnings()).toMatchObject([{ code: 'not_listed' }])
  })

  test('is waited for no longer when the clock is set back meanwhile', async () => {
    const { enqueue, other, clock } = await waiting({
      shared: true,
      batches: [{ tag: 'dead-1', status: 'in_progress' }],
    })
    await other.reserve('dead-1', MODEL, LIMIT)
    const begun = enqueue(fileOf(1, 80))
    await clock.sleep(5 * MINUTE_MS)
    const before = clock.now()
    clock.jump(-20 * 60 * MINUTE_MS)
    await begun
    expect(clock.now() + 20 * 60 * MINUTE_MS - before).toBeLessThanOrEqual(16 * MINUTE_MS)
  })
})
