import { describe, expect, test } from 'vitest'
import { faultSchema } from '../../src/emulator/scenario.ts'
import { LINE_FORMS, REPLY_FORMS } from '../../src/emulator/scenario-reply.ts'
import type { Fault, Way } from '../support/fault-world.ts'
import { batchEndCases } from './batch-end-cases.ts'
import { batchLookCases } from './batch-look-cases.ts'
import { hangingCases, passingCases } from './call-cases.ts'
import { directCases, hangingDirectCases } from './direct-cases.ts'
import { lineCases } from './line-cases.ts'
import { listingCases } from './listing-cases.ts'
import { refusedCases } from './refused-cases.ts'
import { replyCases } from './reply-cases.ts'

const matrix = [
  ...passingCases,
  ...hangingCases,
  ...directCases,
  ...hangingDirectCases,
  ...refusedCases,
  ...listingCases,
  ...batchEndCases,
  ...batchLookCases,
  ...lineCases,
  ...replyCases,
]

/** Every fault that is tried, with the ways in which it is. */
const tried = new Set(
  matrix.flatMap(({ faults, ways }) =>
    faults.flatMap((fault) => ways.flatMap((way) => wordsOf(fault).map((words) => `${words} by ${way}`))),
  ),
)

/** A fault, and each of its forms. */
function wordsOf(fault: Fault): readonly string[] {
  const forms = ['is', 'as', 'in', 'what'].flatMap((name) =>
    Object.entries(fault).flatMap(([key, value]) =>
      key === name ? [`${fault.fault} ${String(value)}`] : [],
    ),
  )
  return [fault.fault, ...forms]
}

const missing = (wanted: readonly string[], ways: readonly Way[]): readonly string[] =>
  wanted.flatMap((words) => ways.map((way) => `${words} by ${way}`)).filter((one) => !tried.has(one))

/** Direct calls know no batches, no listings and no result lines, and batches no flex tier. */
function waysOf(fault: string): readonly Way[] {
  if (/^(batch|line|listing)-/.test(fault)) return ['batch']
  return fault.includes('flex') ? ['direct'] : ['batch', 'direct']
}

describe('the matrix', () => {
  test.each(faultSchema.options.map(({ shape }) => shape.fault.value))(
    'has %s in each way it can act',
    (fault) => {
      expect(missing([fault], waysOf(fault))).toEqual([])
    },
  )

  test('has every form of a reply in both ways, and every form of a line', () => {
    expect(
      missing(
        REPLY_FORMS.map((is) => `reply-form ${is}`),
        ['batch', 'direct'],
      ),
    ).toEqual([])
    expect(
      missing(
        LINE_FORMS.map((is) => `line-form ${is}`),
        ['batch'],
      ),
    ).toEqual([])
  })

  test('has every end and every state of a batch', () => {
    const ends = ['failed', 'expired', 'cancelled'].map((as) => `batch-end ${as}`)
    const states = ['validating', 'in_progress', 'finalizing', 'cancelling'].map(
      (one) => `batch-stuck ${one}`,
    )
    expect(missing([...ends, ...states], ['batch'])).toEqual([])
  })

  test('names no case twice', () => {
    const names = matrix.flatMap(({ name, ways }) => ways.map((way) => `${name} by ${way}`))
    expect(names.filter((name, index) => names.indexOf(name) !== index)).toEqual([])
  })
})
