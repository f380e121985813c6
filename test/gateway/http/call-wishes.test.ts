import { describe, expect, test } from 'vitest'
import { readWishes } from '../../../src/gateway/http/call-wishes.ts'
import { HttpError } from '../../../src/gateway/http/http-error.ts'

const NOW = Date.UTC(2026, 0, 1)

const wishes = (headers: Readonly<Record<string, string>>, cacheMs = 0) =>
  readWishes((name) => headers[name], { nowMs: NOW, mode: 'sync', cacheMs })

describe('the headers of a call', () => {
  test('may all be left out', () => {
    expect(wishes({})).toEqual({
      mode: 'sync',
      applied: undefined,
      timeoutMs: undefined,
      waitMs: undefined,
      idempotencyKey: undefined,
      deadlineAt: undefined,
      priority: 'normal',
      maxNanoUsd: undefined,
      webhook: undefined,
      cacheMs: 0,
    })
  })

  test.each([
    [{ 'x-nightshift-mode': 'poll' }, { mode: 'poll' }],
    [{ 'x-nightshift-mode': ' Async ' }, { mode: 'async' }],
    [{ 'x-nightshift-priority': 'high' }, { priority: 'high' }],
    [{ 'x-nightshift-deadline': '90' }, { deadlineAt: NOW + 90_000 }],
    [{ 'x-nightshift-deadline': '2026-01-01T01:00:00+01:00' }, undefined],
    [{ 'x-nightshift-deadline': '2026-01-01T00:00:01Z' }, { deadlineAt: NOW + 1000 }],
    [{ 'x-nightshift-deadline': '2026-01-01T02:00:00.5+01:00' }, { deadlineAt: NOW + 3_600_500 }],
    [{ 'x-nightshift-max-cost': '0.05' }, { maxNanoUsd: 50_000_000 }],
    [{ 'idempotency-key': 'a key, printable' }, { idempotencyKey: 'a key, printable' }],
    [{ 'x-stainless-timeout': '600' }, { timeoutMs: 600_000 }],
    [{ 'x-stainless-read-timeout': '12.5', 'x-stainless-timeout': '600' }, { timeoutMs: 12_500 }],
    [{ 'x-stainless-read-timeout': 'NOT_GIVEN' }, { timeoutMs: undefined }],
    [{ prefer: 'respond-async' }, { mode: 'async', waitMs: undefined, applied: 'respond-async' }],
    [{ prefer: 'wait=10' }, { mode: 'sync', waitMs: 10_000, applied: 'wait=10' }],
    [
      { prefer: 'handling=lenient, Respond-Async; x=1, wait="20"' },
      { mode: 'async', waitMs: 20_000, applied: 'respond-async, wait=20' },
    ],
    [{ prefer: 'return=minimal' }, { mode: 'sync', applied: undefined }],
    [
      { prefer: 'respond-async, wait=5', 'x-nightshift-mode': 'poll' },
      { mode: 'poll', waitMs: undefined, applied: undefined },
    ],
  ])('%o', (headers, expected) => {
    if (expected) expect(wishes(headers)).toMatchObject(expected)
    else expect(() => wishes(headers)).toThrow(HttpError)
  })

  test.each([
    [{}, 5000],
    [{ 'cache-control': 'no-cache' }, 0],
    [{ 'cache-control': 'private, No-Store' }, 0],
    [{ 'cache-control': 'max-age=3' }, 3000],
    [{ 'cache-control': 'max-age=60' }, 5000],
    [{ 'cache-control': 'no-transform' }, 5000],
  ])('%o lets answers serve that are at most so old', (headers, cacheMs) => {
    expect(wishes(headers, 5000).cacheMs).toBe(cacheMs)
  })

  test.each([
    ['x-nightshift-mode', 'batch'],
    ['x-nightshift-mode', ''],
    ['x-nightshift-priority', 'urgent'],
    ['x-nightshift-deadline', 'tomorrow'],
    ['x-nightshift-deadline', '0'],
    ['x-nightshift-deadline', '-5'],
    ['x-nightshift-deadline', '2025-12-31T23:59:59Z'],
    ['x-nightshift-deadline', '2026-06-01T00:00:00'],
    ['x-nightshift-deadline', '2026-13-01T00:00:00Z'],
    ['x-nightshift-deadline', '1e3'],
    ['x-nightshift-max-cost', '0'],
    ['x-nightshift-max-cost', '-1'],
    ['x-nightshift-max-cost', '$5'],
    ['x-nightshift-max-cost', 'NaN'],
    ['idempotency-key', ''],
    ['idempotency-key', 'k'.repeat(256)],
    ['idempotency-key', 'schlüssel'],
    ['idempotency-key', 'tab\tkey'],
  ])('%s: %o is refused', (name, value) => {
    const refused = catching(() => wishes({ [name]: value }))
    expect(refused).toMatchObject({ status: 400, code: 'invalid_header', param: name })
  })
})

function catching(act: () => unknown): unknown {
  try {
    return act()
  } catch (error) {
    return error
  }
}
