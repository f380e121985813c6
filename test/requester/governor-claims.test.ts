import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import type { Phase } from '../../src/batch/queue-file.ts'
import { type Claim, Governor } from '../../src/requester/governor.ts'
import { QuotaFile } from '../../src/requester/quota-board.ts'
import { queueFile } from '../support/queue-files.ts'
import { temporaryFolder } from '../support/task-harness.ts'
import { tokensOf } from '../support/valuation.ts'
import { VirtualClock } from '../support/virtual-clock.ts'

const MODEL = 'gpt-5-mini'
const LIMIT = 100
const full = [
  { code: 'token_limit_exceeded', message: `Enqueued token limit reached. Limit: ${LIMIT} enqueued tokens.` },
]
const silent = [{ code: 'token_limit_exceeded', message: 'Enqueued token limit reached.' }]

/** The governor of a task, and the same account as another task sees it. */
async function governing({
  limit = LIMIT,
  safety = 1,
}: {
  readonly limit?: number
  readonly safety?: number
} = {}) {
  const clock = new VirtualClock()
  const path = join(temporaryFolder(), 'quota.json')
  const quota = new QuotaFile({ path, clock, task: 'ours' })
  const elsewhere = new QuotaFile({ path, clock, task: 'elsewhere' })
  const governor = new Governor({ quota, safety, onTrouble: () => {} })
  await quota.learn(MODEL, limit, 'refusal')
  return { quota, elsewhere, governor }
}

const claim = (tag: string, tokens: number): Claim => ({ tag, model: MODEL, tokens })

describe('a batch that is refused though there was room by all that was known', () => {
  test('makes batches smaller from the second time on', async () => {
    const { governor } = await governing()
    for (const [tag, cap] of [
      ['a', 100],
      ['b', 40],
    ] as const) {
      expect(await governor.take(claim(tag, 80))).toEqual({ ok: true })
      expect(await governor.refused(claim(tag, 80), full)).toBe('freed')
      expect(governor.capOf(MODEL)).toBe(cap)
    }
    expect(governor.limitOf(MODEL)).toBe(100)
  })

  test('says nothing about sizes while others hold some, also when one of this task failed for another reason', async () => {
    const { governor, quota } = await governing()
    await governor.take(claim('bad', 40))
    await governor.ended(claim('bad', 40), 'failed')
    await quota.note('theirs', MODEL, 40)
    for (const tag of ['a', 'b', 'c']) {
      await governor.take(claim(tag, 40))
      await governor.refused(claim(tag, 40), full)
    }
    expect(governor.capOf(MODEL)).toBe(100)
  })

  test('lets them grow again after some that were let in', async () => {
    const { governor } = await governing()
    for (const tag of ['a', 'b']) {
      await governor.take(claim(tag, 80))
      await governor.refused(claim(tag, 80), full)
    }
    for (const tag of ['c', 'd', 'e']) {
      await governor.take(claim(tag, 40))
      await governor.ended(claim(tag, 40), 'completed')
      expect(governor.capOf(MODEL)).toBe(40)
    }
    await governor.take(claim('f', 40))
    await governor.letIn(claim('f', 40))
    expect(governor.capOf(MODEL)).toBe(LIMIT)
  })

  test('waits for others when it was sent though there was no room, whatever it learned', async () => {
    const { governor } = await governing({ limit: 1000 })
    await governor.force(claim('a', 80))
    expect(await governor.refused(claim('a', 80), full)).toBe('freed')
    expect(governor.limitOf(MODEL)).toBe(LIMIT)
  })

  test('goes on at once when the limit was news, smaller when it is more than that', async () => {
    const { governor, quota } = await governing({ limit: 1000 })
    await governor.take(claim('a', 80))
    expect(await governor.refused(claim('a', 80), full)).toBe('now')
    expect(quota.capOf(MODEL)).toBe(LIMIT)
    await governor.force(claim('b', 101))
    expect(await governor.refused(claim('b', 101), silent)).toBe('now')
    expect(await governor.refused(claim('c', 10), [{ code: 'insufficient_quota', message: 'pay' }])).toBe(
      'later',
    )
    expect(quota.reservations).toEqual({})
  })
})

describe('a run that begins', () => {
  const identity = {
    taskId: 'mine',
    className: 'Task',
    endpoint: '/v1/chat/completions',
    schema: '',
  } as const

  test('gives back what an earlier one held for nothing, and takes what its batches hold, whoever forgot them', async () => {
    const { governor, quota } = await governing()
    for (const tag of ['mine-9-unsent', 'minefield-1', 'theirs-1']) await quota.note(tag, MODEL, 10)
    const file = (id: number, phase: Phase) =>
      queueFile(phase, { id, model: MODEL, tokens: tokensOf(20), live: 1, requests: 1 })
    const files = [file(1, 'remote'), file(2, 'sealed'), file(3, 'intended'), file(4, 'ended')]
    await governor.open({ identity, files: new Map(files.map((one) => [one.id, one])) })
    const held = Object.entries(quota.reservations).map(([tag, { tokens }]) => [tag, tokens])
    expect(held).toEqual([
      ['minefield-1', 10],
      ['theirs-1', 10],
      ['tag-1', 20],
      ['tag-3', 20],
    ])
  })

  test('takes over what its batches hold by another name, as after its folder was moved', async () => {
    const { governor, quota, elsewhere } = await governing()
    await elsewhere.note('tag-1', MODEL, 20)
    await quota.load()
    expect(governor.holdsAny(MODEL)).toBe(false)
    await governor.open({ identity, files: new Map([[1, queueFile('remote', { model: MODEL })]]) })
    expect(governor.holdsAny(MODEL)).toBe(true)
    expect(governor.heldByOthers(MODEL).size).toBe(0)
  })
})

describe('what a batch takes', () => {
  test('is its estimate, by the safety factor, also while no limit is known', async () => {
    const { governor, quota } = await governing({ safety: 1.5 })
    await governor.take({ tag: 'a', model: 'gpt-5', tokens: 11 })
    expect(quota.reservation('a')?.tokens).toBe(17)
  })

  test('is its estimate, by the safety factor, and never more than there is when it has just enough', async () => {
    const { governor, quota } = await governing({ limit: 100, safety: 1.05 })
    expect(governor.limitOf(MODEL)).toBe(95)
    await governor.take(claim('a', 10))
    expect(quota.reservation('a')?.tokens).toBe(11)
    expect(await governor.take(claim('b', 95))).toMatchObject({ ok: false, reserved: 11 })
    await governor.release('a')
    expect(await governor.take(claim('b', 95))).toEqual({ ok: true })
  })

  test('is a number also where the limit is below the safety factor', async () => {
    const { governor, quota } = await governing({ limit: 1, safety: 1.5 })
    await governor.take(claim('a', 0))
    expect(quota.reservation('a')?.tokens).toBe(0)
    expect(governor.limitOf(MODEL)).toBe(1)
  })
})
