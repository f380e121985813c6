import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import type { ProgressEvent } from '../../src/progress/events.ts'
import { openGovernor } from '../../src/requester/open-governor.ts'
import { systemClock } from '../../src/util/clock.ts'
import { resolveOptions } from '../../src/util/options.ts'

const MINUTE_MS = 60_000

beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] }))
afterEach(() => void vi.useRealTimers())

test('limits that nobody answers for hold up the first batch for a minute or so, and a warning says so', async () => {
  const env = { OPENAI_API_KEY: 'sk', OPENAI_ADMIN_KEY: 'sk-admin', OPENAI_PROJECT_ID: 'proj_1' }
  const events: ProgressEvent[] = []
  const governor = openGovernor({
    settings: resolveOptions({ name: 'task' }, env),
    emit: (event) => void events.push(event),
    fetch: (_, init) =>
      new Promise((_resolve, reject) => {
        init?.signal?.addEventListener('abort', () => reject(init.signal?.reason))
      }),
    api: undefined,
    clock: systemClock,
  })
  let isOver = false
  const asked = governor.ask(new AbortController().signal).then(() => {
    isOver = true
  })
  await vi.advanceTimersByTimeAsync(2 * MINUTE_MS)
  expect(isOver).toBe(true)
  await asked
  expect(events).toMatchObject([{ kind: 'warning', code: 'account_limits' }])
})
