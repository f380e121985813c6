import { expect, test } from 'vitest'
import { planAfterWebhook, type WebhookEnd } from '../../../src/gateway/engine/webhooks-retry.ts'

const answered = (status: number): WebhookEnd => ({ kind: 'answered', status })
const planAfter = (end: WebhookEnd, tries = 1) => planAfterWebhook(end, tries)

test('any 2xx is a receipt', () => {
  for (const status of [200, 202, 204, 299]) expect(planAfter(answered(status)).kind).toBe('delivered')
})

test('a receiver that is gone is not told again', () => {
  expect(planAfter(answered(410))).toMatchObject({ kind: 'given-up' })
})

test.each([
  ['a redirect', answered(302)],
  ['a refusal', answered(404)],
  ['a fault', answered(500)],
  ['no answer', { kind: 'unanswered', reason: 'ECONNREFUSED' } as const],
  ['an address that is not called at the moment', { kind: 'forbidden', reason: 'private' } as const],
])('%s is tried again, seven times with growing pauses', (_, end) => {
  const pauses: number[] = []
  for (let tries = 1; ; tries++) {
    const plan = planAfter(end, tries)
    if (plan.kind !== 'again') {
      expect(plan).toMatchObject({ kind: 'given-up', why: expect.stringContaining('the last of 8 tries') })
      break
    }
    pauses.push(plan.afterMs / 1000)
  }
  expect(pauses).toEqual([5, 300, 1800, 7200, 18_000, 36_000, 36_000])
})
