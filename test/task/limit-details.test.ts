import { describe, expect, test } from 'vitest'
import { accept } from '../../src/batch/verdict.ts'
import { withUsage } from '../../src/emulator/index.ts'
import { TaskManager, type TaskManagerOptions } from '../../src/task/task-manager.ts'
import type { TaskResponse } from '../../src/task/task-types.ts'
import { ask, harness, names } from '../support/task-harness.ts'

/** Twenty requests that may cost a cent each: 10,000 output tokens at $2 a million by batch is $0.01. */
class Twenty extends TaskManager {
  *generateRequests() {
    for (const key of names(20)) yield { key, body: { ...ask(key), max_completion_tokens: 10_000 } }
  }

  processResponse({ key }: TaskResponse) {
    return accept(key)
  }
}

/** Every answer takes all that it may. */
const greedy = () => withUsage('x', { input: 10, output: 10_000 })

async function detailsOf(over: Partial<TaskManagerOptions>) {
  const { options } = harness({ answer: greedy })
  const { outcome, details } = await new Twenty(options(over)).run()
  expect(outcome).toBe('limits')
  return details
}

describe('a run that was stopped by a limit says by which', () => {
  const cases: readonly (readonly [string, Partial<TaskManagerOptions>, readonly (string | RegExp)[]])[] = [
    [
      'requests of a run',
      { maxBatchRequests: 4, maxSessionRequests: 10 },
      [
        'max session requests: 8 of 10 requests sent in this run; the next batch has 4 (--max-session-requests)',
      ],
    ],
    [
      'requests of the task, sent directly',
      { forceDirect: true, maxTaskRequests: 7 },
      ['max task requests: 7 of 7 requests sent (--max-task-requests)'],
    ],
    [
      'tokens',
      { maxBatchRequests: 4, maxSessionKtokens: 0.1, maxTokenSafety: 1 },
      [
        /^max session tokens: \d+ of 100 prompt tokens sent in this run; the next batch has about \d+ \(--max-session-ktokens\)$/,
      ],
    ],
    [
      'cost as estimated, and requests as well',
      { maxBatchRequests: 4, maxTaskCost: 0.05, maxTaskRequests: 8 },
      [
        'max task requests: 8 of 8 requests sent; the next batch has 4 (--max-task-requests)',
        /^max task cost: \$0\.04\d\d of \$0\.0500 sent, as estimated; the next batch costs about \$0\.02\d\d \(--max-task-cost\)$/,
      ],
    ],
    [
      'no batches at all',
      { maxRemoteBatches: 0 },
      ['max remote batches: 0 of 0 batches at the server (--max-remote-batches)'],
    ],
    [
      'the hard cap, by batch',
      { maxSpend: 0.055 },
      [
        'max spend: $0.0500 of $0.0550 spent or set aside; each request of the next batch may cost more than is left (--max-spend)',
      ],
    ],
    [
      'the hard cap, by direct calls',
      { maxSpend: 0.055, forceDirect: true },
      [
        /^max spend: \$0\.0400 of \$0\.0550 spent or set aside; the next request may cost \$0\.02\d\d \(--max-spend\)$/,
      ],
    ],
  ]

  test.each(cases)('%s', async (_, over, expected) => {
    const details = await detailsOf(over)
    expect(details).toHaveLength(expected.length)
    for (const [at, text] of expected.entries())
      expect(details[at], details[at]).toEqual(typeof text === 'string' ? text : expect.stringMatching(text))
  })

  test('and nothing when it was not', async () => {
    const { options } = harness({ answer: greedy })
    const { outcome, details } = await new Twenty(options({ maxSpend: 1 })).run()
    expect({ outcome, details }).toEqual({ outcome: 'complete', details: [] })
  })
})

test('a hard cap over requests that were added without one says why they wait and what to do', async () => {
  const { options } = harness()
  class Open extends TaskManager {
    *generateRequests() {
      for (const key of names(3)) yield { key, body: ask(key) }
    }

    processResponse({ key }: TaskResponse) {
      return accept(key)
    }
  }
  const { pending } = await new Open(options({ maxSessionRequests: 0 })).run()
  expect(pending).toBe(3)
  const { outcome, details } = await new Open(options({ maxSpend: 1 })).run()
  expect(outcome).toBe('limits')
  expect(details).toEqual([
    'max spend: what requests of the next batch may cost at most is not known; go on without the cap, or --wipe-requests and give each a maximum of output tokens (--max-spend)',
  ])
})
