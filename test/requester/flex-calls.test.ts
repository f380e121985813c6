import { expect, test } from 'vitest'
import { DeadlineWatch } from '../../src/requester/deadline-watch.ts'
import { answerOf } from '../../src/requester/direct-call.ts'
import { callInPace } from '../../src/requester/flex-calls.ts'
import { bareContext } from '../support/bare-context.ts'

const ENDPOINT = '/v1/chat/completions'

const reply = (status: number, body: unknown) =>
  answerOf(ENDPOINT, 'r1-0', {
    status,
    text: JSON.stringify(body),
    requestId: undefined,
    retryAfterMs: undefined,
  })

const FULL = reply(429, { error: { code: 'resource_unavailable', message: 'no room' } })
const GOOD = reply(200, { choices: [], usage: null })

test('a flex call that is refused goes directly at once when the mode has changed while it was on its way', async () => {
  const { context, clock } = await bareContext()
  const pace = new DeadlineWatch(clock.now() + 3_600_000)
  pace.goBy('flex')
  const begin = clock.now()
  const tiers: string[] = []
  const answer = await callInPace(context, pace, {
    endpoint: ENDPOINT,
    model: 'gpt-5-mini',
    bodyText: '{"model":"gpt-5-mini"}',
    place: {},
    send: async (_, tier) => {
      tiers.push(tier)
      if (tier === 'direct') return GOOD
      pace.goBy('direct')
      return FULL
    },
    onInterrupted: () => Promise.reject(new Error('nobody stops')),
  })
  expect(answer).toBe(GOOD)
  expect(tiers).toEqual(['flex', 'direct'])
  expect(clock.now()).toBe(begin)
})
