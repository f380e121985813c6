import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  blockedBy,
  directAllowance,
  isLasting,
  limitBytes,
  type SendLimits,
  type Sent,
} from '../../src/batch/limits.ts'
import type { QueueFile } from '../../src/batch/queue-file.ts'
import { queueFile, queueFiles } from '../support/queue-files.ts'

const unlimited: SendLimits = {
  maxTaskRequests: Number.POSITIVE_INFINITY,
  maxSessionRequests: Number.POSITIVE_INFINITY,
  maxRemoteBatches: Number.POSITIVE_INFINITY,
  maxRemoteRequests: Number.POSITIVE_INFINITY,
  maxRemoteBytes: Number.POSITIVE_INFINITY,
}
const nothingSent: Sent = { taskRequests: 0, sessionRequests: 0 }
const limitSets = fc.record<SendLimits>({
  maxTaskRequests: fc.nat(80),
  maxSessionRequests: fc.nat(80),
  maxRemoteBatches: fc.nat(6),
  maxRemoteRequests: fc.nat(80),
  maxRemoteBytes: fc.nat(8000),
})
const PROMISED = ['intended', 'uploaded', 'doubtful', 'fenced']
const OUT = [...PROMISED, 'remote', 'ended']
const sum = (numbers: readonly number[]) => numbers.reduce((a, b) => a + b, 0)

/** Submits files one after another as far as the limits allow; creates are confirmed at once or never. */
function submitAll(files: readonly QueueFile[], sentBefore: number, limits: SendLimits, confirm: boolean) {
  let now: QueueFile[] = [...files]
  let sent = sentBefore
  for (const file of files.filter(({ phase }) => phase === 'sealed')) {
    if (blockedBy(file, now, { taskRequests: sent, sessionRequests: sent }, limits).length > 0) continue
    now = now.map((one) => (one.id === file.id ? queueFile(confirm ? 'remote' : 'intended', one) : one))
    if (confirm) sent += file.requests
  }
  return { files: now, sent }
}

describe('submitting as much as the limits allow', () => {
  test('never passes any of them, whether creates are confirmed at once or stay open', () => {
    fc.assert(
      fc.property(
        queueFiles(['sealed', 'open', 'received']),
        fc.nat(40),
        limitSets,
        fc.boolean(),
        (files, sent, limits, confirm) => {
          const after = submitAll(files, sent, limits, confirm)
          const out = after.files.filter(({ phase }) => OUT.includes(phase))
          if (out.length === 0) return
          const requests = sum(out.map((file) => file.requests))
          expect(out.length).toBeLessThanOrEqual(limits.maxRemoteBatches)
          expect(requests).toBeLessThanOrEqual(limits.maxRemoteRequests)
          expect(sum(out.map(({ bytes }) => bytes))).toBeLessThanOrEqual(limits.maxRemoteBytes)
          expect(sent + requests).toBeLessThanOrEqual(
            Math.min(limits.maxTaskRequests, limits.maxSessionRequests),
          )
        },
      ),
      { numRuns: 500 },
    )
  })

  test('leaves no batch behind that would still fit', () => {
    fc.assert(
      fc.property(queueFiles(['sealed']), limitSets, (files, limits) => {
        const after = submitAll(files, 0, limits, true)
        const totals = { taskRequests: after.sent, sessionRequests: after.sent }
        const left = after.files.filter(({ phase }) => phase === 'sealed')
        for (const file of left) expect(blockedBy(file, after.files, totals, limits)).not.toEqual([])
      }),
    )
  })
})

test('nothing blocks a batch without limits, whatever else is under way', () => {
  fc.assert(
    fc.property(queueFiles(), (files) => {
      expect(blockedBy(queueFile('sealed', { id: 99 }), files, nothingSent, unlimited)).toEqual([])
    }),
  )
})

describe('one batch of 10 requests and 1,000 bytes', () => {
  const file = queueFile('sealed', { id: 1, requests: 10, bytes: 1000 })
  const other = queueFile('remote', { id: 2, requests: 5, bytes: 500 })
  const onItsWay = queueFile('doubtful', { id: 3, requests: 5, bytes: 500 })
  const files = [file, other, onItsWay]
  const sent: Sent = { taskRequests: 100, sessionRequests: 50 }

  test.each<[keyof SendLimits, number, string]>([
    ['maxTaskRequests', 115, 'max task requests'],
    ['maxSessionRequests', 65, 'max session requests'],
    ['maxRemoteBatches', 3, 'max remote batches'],
    ['maxRemoteRequests', 20, 'max remote requests'],
    ['maxRemoteBytes', 2000, 'max remote size'],
  ])('may reach %s (%d) and not pass it', (limit, most, reason) => {
    expect(blockedBy(file, files, sent, { ...unlimited, [limit]: most })).toEqual([])
    expect(blockedBy(file, files, sent, { ...unlimited, [limit]: most - 1 })).toEqual([reason])
  })
})

test('only limits on the task and the run last: remote ones pass', () => {
  expect(isLasting('max task requests')).toBe(true)
  expect(isLasting('max session requests')).toBe(true)
  expect(isLasting('max remote batches')).toBe(false)
  expect(isLasting('max remote requests')).toBe(false)
  expect(isLasting('max remote size')).toBe(false)
})

test('direct calls get what neither batches on their way nor earlier calls have taken, and never less than nothing', () => {
  fc.assert(
    fc.property(queueFiles(), fc.nat(60), fc.nat(60), limitSets, (files, task, session, limits) => {
      const promised = sum(
        files.filter(({ phase }) => PROMISED.includes(phase)).map(({ requests }) => requests),
      )
      const left = Math.min(limits.maxTaskRequests - task, limits.maxSessionRequests - session) - promised
      const sent = { taskRequests: task, sessionRequests: session }
      expect(directAllowance(files, sent, limits)).toBe(Math.max(0, left))
    }),
  )
})

test('a limit in MB counts millions of bytes, is divided by its safety factor and is never under 1 MB', () => {
  expect(limitBytes(100, 1)).toBe(100_000_000)
  expect(limitBytes(100, 1.25)).toBe(80_000_000)
  expect(limitBytes(1, 1.01)).toBe(1_000_000)
  fc.assert(
    fc.property(
      fc.double({ min: 1, max: 1e6, noNaN: true }),
      fc.double({ min: 1, max: 3, noNaN: true }),
      (mb, safety) => {
        const bytes = limitBytes(mb, safety)
        expect(Number.isInteger(bytes)).toBe(true)
        expect(bytes).toBeGreaterThanOrEqual(1_000_000)
        expect(bytes).toBeLessThanOrEqual(Math.max(1_000_000, mb * 1_000_000 + 1))
      },
    ),
  )
})
