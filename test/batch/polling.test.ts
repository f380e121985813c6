import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  awaitsFileIds,
  LIST_PAGE,
  MAX_FILE_ID_LOOKS,
  MAX_STRETCH,
  pollIntervalMs,
  pollMethod,
  terminalStatus,
} from '../../src/batch/polling.ts'

describe('how batches are looked at', () => {
  test('takes no more calls than there are batches, once the length of the listing is known', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 500 }),
        fc.integer({ min: 1, max: 500 }),
        (outstanding, pages) => {
          const calls = pollMethod({ outstanding, lastListPages: pages }) === 'list' ? pages : outstanding
          expect(calls).toBe(Math.min(pages, outstanding))
        },
      ),
    )
  })

  test('a single batch is asked for by its id, many are listed', () => {
    expect(pollMethod({ outstanding: 1, lastListPages: undefined })).toBe('retrieve')
    expect(pollMethod({ outstanding: 2, lastListPages: undefined })).toBe('list')
    expect(pollMethod({ outstanding: 5 * LIST_PAGE, lastListPages: undefined })).toBe('list')
  })

  test('batches are asked for by id when other listings fill many pages', () => {
    expect(pollMethod({ outstanding: 3, lastListPages: 40 })).toBe('retrieve')
  })
})

describe('the poll interval', () => {
  const ages = fc.nat(7 * 24 * 3600_000)
  const bases = fc.integer({ min: 1, max: 600_000 })

  test('stays between its shortest and its longest', () => {
    fc.assert(
      fc.property(bases, ages, (base, age) => {
        const interval = pollIntervalMs(base, age)
        expect(interval).toBeGreaterThanOrEqual(base)
        expect(interval).toBeLessThanOrEqual(base * MAX_STRETCH)
      }),
    )
  })

  test('never gets shorter as a batch gets older', () => {
    fc.assert(
      fc.property(bases, ages, ages, (base, one, other) => {
        const [younger, older] = [Math.min(one, other), Math.max(one, other)]
        expect(pollIntervalMs(base, younger)).toBeLessThanOrEqual(pollIntervalMs(base, older))
      }),
    )
  })

  test('beyond its shortest delays a batch by at most a thirtieth of its age', () => {
    fc.assert(
      fc.property(bases, ages, (base, age) => {
        expect(pollIntervalMs(base, age)).toBeLessThanOrEqual(Math.max(base, age / 30))
      }),
    )
  })

  test('grows for a batch of an hour and is at its longest after long enough', () => {
    expect(pollIntervalMs(10_000, 0)).toBe(10_000)
    expect(pollIntervalMs(10_000, 900_000)).toBe(30_000)
    expect(pollIntervalMs(10_000, 24 * 3600_000)).toBe(60_000)
  })
})

const NONE = { total: 0, completed: 0, failed: 0 }
const counts = (completed: number, failed: number) => ({ total: completed + failed, completed, failed })
const without = (status: string) => ({
  status,
  hasOutput: false,
  hasErrors: false,
  counts: undefined,
  looks: 0,
})

describe('the end of a batch', () => {
  test.each(['completed', 'failed', 'expired', 'cancelled'])('%s is final', (status) => {
    expect(terminalStatus(status)).toBe(status)
  })

  test.each([
    'validating',
    'in_progress',
    'finalizing',
    'cancelling',
    'paused',
    '',
    'Completed',
    'constructor',
  ])('%j is not', (status) => {
    expect(terminalStatus(status)).toBeUndefined()
  })

  test('is not believed while answers are promised and no file is named, but not for ever', () => {
    const facts = { ...without('completed'), counts: counts(3, 0) }
    expect(awaitsFileIds(facts)).toBe(true)
    expect(awaitsFileIds({ ...facts, counts: undefined })).toBe(true)
    expect(awaitsFileIds({ ...facts, counts: { ...NONE, total: 3 } })).toBe(true)
    expect(awaitsFileIds({ ...facts, hasOutput: true })).toBe(false)
    expect(awaitsFileIds({ ...facts, counts: NONE })).toBe(true)
    expect(awaitsFileIds({ ...facts, counts: NONE, looks: MAX_FILE_ID_LOOKS })).toBe(false)
    expect(awaitsFileIds({ ...facts, looks: MAX_FILE_ID_LOOKS - 1 })).toBe(true)
    expect(awaitsFileIds({ ...facts, looks: MAX_FILE_ID_LOOKS })).toBe(false)
  })

  test.each(['completed', 'failed', 'expired', 'cancelled'])(
    '%s waits for the file that its counts promise, whether the other is there or not',
    (status) => {
      const facts = without(status)
      expect(awaitsFileIds({ ...facts, hasErrors: true, counts: counts(2, 1) })).toBe(true)
      expect(awaitsFileIds({ ...facts, hasOutput: true, counts: counts(2, 1) })).toBe(true)
      expect(awaitsFileIds({ ...facts, counts: counts(2, 0) })).toBe(true)
      expect(awaitsFileIds({ ...facts, hasOutput: true, hasErrors: true, counts: counts(2, 1) })).toBe(false)
    },
  )

  test.each(['failed', 'expired', 'cancelled'])(
    '%s without a file is believed at once when nothing was done',
    (status) => {
      expect(awaitsFileIds({ ...without(status), counts: { ...NONE, total: 3 } })).toBe(false)
    },
  )

  test('without counts only a failed batch is believed at once', () => {
    expect(awaitsFileIds(without('failed'))).toBe(false)
    for (const status of ['completed', 'expired', 'cancelled'])
      expect(awaitsFileIds(without(status))).toBe(true)
  })
})
