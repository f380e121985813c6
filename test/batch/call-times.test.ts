import { describe, expect, test } from 'vitest'
import { CallTimes } from '../../src/batch/call-times.ts'

describe('what a call takes', () => {
  test('is not known before the first, and not at once', () => {
    const times = new CallTimes()
    expect(times.meanMs(0)).toBeUndefined()
    times.begin({}, 0)
    expect(times.meanMs(10_000)).toBeUndefined()
    // What hangs for long tells something, too.
    expect(times.meanMs(40_000)).toBe(40_000)
  })

  test('is the mean of those that were answered', () => {
    const times = new CallTimes()
    for (const ms of [1_000, 3_000]) {
      const call = {}
      times.begin(call, 0)
      times.end(call, ms, true)
    }
    expect(times.meanMs(9_000)).toBe(2_000)
  })

  test('has in it what was spent on calls that were not answered in this way', () => {
    const times = new CallTimes()
    const [lost, good] = [{}, {}]
    times.begin(lost, 0)
    times.end(lost, 6_000, false)
    times.begin(good, 0)
    times.end(good, 2_000, true)
    expect(times.meanMs(9_000)).toBe(8_000)
  })

  test('grows while calls hang', () => {
    const times = new CallTimes()
    const call = {}
    times.begin(call, 0)
    times.end(call, 1_000, true)
    for (let n = 0; n < 3; n++) times.begin({}, 1_000)
    expect(times.meanMs(2_000)).toBe(1_000)
    expect(times.meanMs(61_000)).toBeGreaterThan(40_000)
  })

  test('follows what it takes of late', () => {
    const times = new CallTimes()
    for (let n = 0; n < 1_000; n++) {
      const call = {}
      times.begin(call, 0)
      times.end(call, n < 500 ? 60_000 : 1_000, true)
    }
    expect(times.meanMs(0)).toBeLessThan(6_000)
  })
})
