import { once } from 'node:events'
import { createServer } from 'node:http'
import { describe, expect, test } from 'vitest'
import { BodyBudget } from '../../../src/gateway/http/body-budget.ts'
import { Secret } from '../../../src/util/secret.ts'
import { AnswerGate, ask, chat, openRig, until } from './rig.ts'

const routeOf = (response: Response) => response.headers.get('x-nightshift-route')
const urgent = { 'x-nightshift-priority': 'high' }

describe('what is urgent', () => {
  test('is called directly, at once', async () => {
    await using rig = await openRig({ settings: { windowMs: 3_600_000 } })
    const response = await ask(rig, chat('a', { max_completion_tokens: 100 }), { headers: urgent })
    expect([response.status, routeOf(response)]).toEqual([200, 'direct'])
  })

  test('goes by batch where a call may cost more than is allowed', async () => {
    await using rig = await openRig()
    const body = chat('a', { max_completion_tokens: 100 })
    // 0.25 and 2.00 USD for a million tokens: 0.0002 for all 100 of them directly, and half of that by batch.
    const headers = { ...urgent, 'x-nightshift-max-cost': '0.00015' }
    const response = await ask(rig, body, { headers })
    expect([response.status, routeOf(response)]).toEqual([200, 'batch'])
  })

  test('hurries an identical request that waits, whose caller is gone', async () => {
    const gate = new AnswerGate()
    gate.open()
    await using rig = await openRig({ settings: { windowMs: 3_600_000 }, emulator: { answer: gate.answer } })
    const first = await ask(rig, chat('a'), { headers: { prefer: 'wait=0' } })
    expect([first.status, routeOf(first)]).toEqual([422, 'batch'])
    const second = await ask(rig, chat('a'), { headers: urgent })
    expect([second.status, routeOf(second)]).toEqual([200, 'direct'])
    expect(second.headers.get('x-nightshift-request-id')).toBe(first.headers.get('x-nightshift-request-id'))
    expect(gate.asked).toBe(1)
  })
})

test('whoever named a webhook is told when its request is done', async () => {
  const told: string[] = []
  const receiver = createServer(async (request, response) => {
    let body = ''
    for await (const piece of request) body += piece
    told.push(`${request.headers['webhook-id']} ${body}`)
    response.end()
  })
  receiver.listen(0, '127.0.0.1')
  await once(receiver, 'listening')
  const address = receiver.address()
  const port = typeof address === 'object' ? address?.port : undefined
  try {
    await using rig = await openRig({
      settings: { webhookSecret: new Secret('whsec_c2VjcmV0'), isLocal: true },
    })
    const headers = { 'x-nightshift-mode': 'async', 'x-nightshift-webhook': `http://127.0.0.1:${port}/hook` }
    const response = await ask(rig, chat('a'), { headers })
    expect(response.status).toBe(202)
    await until(() => told.length > 0)
    expect(told[0]).toContain(response.headers.get('x-nightshift-request-id'))
  } finally {
    receiver.closeAllConnections()
    receiver.close()
  }
})

describe('the memory for bodies', () => {
  test('is shared by all, and given back', () => {
    const budget = new BodyBudget(100)
    const [first, second] = [budget.open(), budget.open()]
    first.take(60)
    second.take(40)
    expect(() => second.take(1)).toThrow(expect.objectContaining({ status: 503, code: 'busy' }))
    first[Symbol.dispose]()
    first[Symbol.dispose]()
    second.take(60)
    expect(() => second.take(1)).toThrow()
  })

  test('is enough for one of any size', () => {
    expect(() => new BodyBudget(100).open().take(1000)).not.toThrow()
  })
})
