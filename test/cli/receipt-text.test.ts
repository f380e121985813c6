import { describe, expect, test } from 'vitest'
import { initialState, type Spending } from '../../src/batch/task-state.ts'
import { receiptLines } from '../../src/cli/receipt-text.ts'
import { type Beginning, receiptOf } from '../../src/requester/receipt.ts'

const books = (spending: Partial<Spending>, uncertain = 0): Beginning => ({
  counters: initialState.counters,
  spending: { ...initialState.spending, ...spending },
  tally: { ...initialState.tally, uncertain },
})

const receipt = (
  now: Beginning,
  options: { before?: Beginning; maxSpendNanoUsd?: number; awaitingVerdict?: number } = {},
) => receiptOf({ ...initialState, ...now }, { awaitingVerdict: 0, ...options })

const ALL: Partial<Spending> = {
  sentRequests: 3020,
  inputTokens: 1_200_000,
  cachedInputTokens: 900_000,
  cacheWriteTokens: 1000,
  outputTokens: 40_000,
  reasoningTokens: 30_000,
  costNanoUsd: 1_500_000_000,
  directNanoUsd: 200_000_000,
  flexNanoUsd: 100_000_000,
  judgedNanoUsd: 1_400_000_000,
  listNanoUsd: 2_000_000_000,
  uncertainNanoUsd: 12_300_000,
  expectedInputTokens: 1_188_000,
  comparedInputTokens: 1_200_000,
  expectedOutputTokens: 100_000,
  comparedOutputTokens: 40_000,
  expectedNanoUsd: 1_800_000_000,
  comparedNanoUsd: 1_500_000_000,
  reusedReplies: 12,
  savedNanoUsd: 3_000_000,
}

describe('a receipt for people', () => {
  test('is a table of everything', () => {
    expect(receiptLines(receipt(books(ALL, 2))).join('\n')).toBe(`\
  requests sent                                   3,020
  prompt tokens                               1,200,000
    from the cache                              900,000
    written to the cache                          1,000
  output tokens                                  40,000
    of them for reasoning                        30,000
  cost                                            $1.50
    by batch                                      $1.20
    by direct calls                             $0.2000
    by flex                                     $0.1000
    of it for answers not used                  $0.1000
  saved against direct calls            $0.5000 (25.0%)
  saved by answers used again                   $0.0030
  estimated: prompt tokens            1,188,000 (-1.0%)
    output tokens                   100,000 (2.5 times)
    cost                                 $1.80 (+20.0%)
  at most $0.0123 more, for 2 calls whose answers were lost`)
  })

  test('leaves out what is zero, and all of it before anything was sent', () => {
    const lines = receiptLines(receipt(books({ sentRequests: 2, inputTokens: 7 })))
    expect(lines.map((line) => line.trim().replace(/ +/g, ' '))).toEqual([
      'requests sent 2',
      'prompt tokens 7',
    ])
    expect(receiptLines(receipt(books({})))).toEqual([])
  })

  test('has the run beside the task, unless they are the same or the run sent nothing', () => {
    const before = books({ sentRequests: 1000, costNanoUsd: 1_000_000_000, judgedNanoUsd: 900_000_000 })
    const [heading, sent, cost] = receiptLines(
      receipt(books({ sentRequests: 1500, costNanoUsd: 1_250_000_000, judgedNanoUsd: 1_250_000_000 }), {
        before,
      }),
    )
    expect(heading).toBe('                                               this run               whole task')
    expect(sent).toBe('  requests sent                                     500                    1,500')
    expect(cost).toBe('  cost                                          $0.2500                    $1.25')
    const first = receiptLines(receipt(books(ALL), { before: books({}) }))
    expect(first).toEqual(receiptLines(receipt(books(ALL))))
    expect(receiptLines(receipt(books(ALL), { before: books(ALL) }))).toEqual(first)
  })

  test('says what waits for a verdict, and not that it was not used', () => {
    const lines = receiptLines(receipt(books(ALL), { awaitingVerdict: 3 })).join('\n')
    expect(lines).toMatch(/\n {4}of it not judged yet +\$0\.1000\n/)
    expect(lines).not.toContain('not used')
    // The verdicts of 0.1 do not say what they cost.
    const old = receiptLines(receipt(books({ ...ALL, untoldVerdicts: 1 }))).join('\n')
    expect(old).not.toContain('of it for')
  })

  test('tells what to mind: prices and tokens that are not known, and the hard cap', () => {
    const spending = { ...ALL, unpricedReplies: 1, unmeteredReplies: 3 }
    const notes = receiptLines(receipt(books(spending), { maxSpendNanoUsd: 2_000_000_000 })).slice(-3)
    expect(notes).toEqual([
      '  the cost is a lower bound: 1 reply came from models without a known price',
      '  charged the most they can have cost: 3 replies without a word on tokens',
      '  of $2.00 (--max-spend): $1.50 spent, $0.0123 for lost answers, $0.4877 left',
    ])
  })

  test.each([40, 60, 80, 200])('fits into %d columns', (columns) => {
    for (const before of [undefined, books({ sentRequests: 20, costNanoUsd: 10_000_000 })]) {
      const given = { ...(before && { before }), maxSpendNanoUsd: 2_000_000_000 }
      const lines = receiptLines(receipt(books({ ...ALL, unpricedReplies: 1 }, 2), given), columns)
      expect(lines.filter((line) => line.length > Math.min(80, columns))).toEqual([])
      expect(lines.join(' ')).toContain('1,200,000')
    }
  })
})
