import { once } from 'node:events'
import { connect } from 'node:net'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { rawBody } from '../../../src/emulator/answers.ts'
import { Heartbeat, LEASE_MS } from '../../../src/gateway/heartbeat.ts'
import type { Log, LogFields } from '../../../src/gateway/log.ts'
import { StoreError } from '../../../src/gateway/store/store-error.ts'
import { VirtualClock } from '../../support/virtual-clock.ts'
import { AnswerGate, ask, chat, held, openRig, type Rig, until } from './rig.ts'

const idOf = (response: Response) => response.headers.get('x-nightshift-request-id') ?? ''
const requestSchema = z.looseObject({
  id: z.string(),
  status: z.string(),
  delivered_at: z.number().nullable(),
})
const look = async (rig: Rig, id: string) =>
  requestSchema.parse(await (await rig.gateway.app.request(`/v1/requests/${id}`)).json())

/** A call by hand, of which no more is read than its head. */
async function callByHand(url: string, body: string) {
  const { hostname, port } = new URL(url)
  const socket = connect(Number(port), hostname)
  socket.write(
    `POST /v1/chat/completions HTTP/1.1\r\nHost: ${hostname}\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  )
  await once(socket, 'readable')
  const head = String(socket.read())
  return { socket, id: /^x-nightshift-request-id: (\S+)/im.exec(head)?.[1] ?? '' }
}

describe('an answer', () => {
  test('is delivered when all of it went out', async () => {
    await using rig = await openRig()
    const url = await rig.url()
    const response = await fetch(`${url}/v1/chat/completions`, {
      method: 'POST',
      body: JSON.stringify(chat('a')),
    })
    await response.text()
    await until(async () => (await look(rig, idOf(response))).delivered_at !== null)
    const stream = await fetch(`${url}/v1/chat/completions`, {
      method: 'POST',
      body: JSON.stringify(chat('b', { stream: true })),
    })
    await stream.text()
    await until(async () => (await look(rig, idOf(stream))).delivered_at !== null)
  })

  test.each([
    ['in good order', true],
    ['with a reset', false],
  ])(
    'whose caller goes away in the midst of it, %s, is given to whoever asks again',
    async (_, isInOrder) => {
      const large = { choices: [], text: 'x'.repeat(30_000_000) }
      await using rig = await openRig({ emulator: { answer: () => rawBody(large) } })
      const url = await rig.url()
      const text = JSON.stringify(chat('a'))
      const { socket, id } = await callByHand(url, text)
      if (isInOrder) socket.destroy()
      else socket.resetAndDestroy()
      const post = () => fetch(`${url}/v1/chat/completions`, { method: 'POST', body: text })
      let again = await post()
      // Before the gateway has heard of it, the same call is a sample of its own.
      for (; idOf(again) !== id; again = await post()) await again.text()
      expect((await again.text()).length).toBe(JSON.stringify(large).length)
      await until(async () => (await look(rig, id)).delivered_at !== null)
    },
  )

  test('that is only looked at is not delivered, unless it was asked for in the background', async () => {
    const gate = new AnswerGate()
    await using rig = await openRig({ emulator: { answer: gate.answer } })
    const pending = await ask(rig, chat('a'), { headers: { prefer: 'wait=0' } })
    const background = await ask(rig, chat('b'), { headers: { 'x-nightshift-mode': 'async' } })
    gate.open()
    await until(async () => (await look(rig, idOf(pending))).status === 'completed')
    await until(async () => (await look(rig, idOf(background))).status === 'completed')
    expect((await look(rig, idOf(pending))).delivered_at).toBeNull()
    await until(async () => (await look(rig, idOf(background))).delivered_at !== null)
    expect(idOf(await ask(rig, chat('a')))).toBe(idOf(pending))
  })
})

describe('a gateway that is closed', () => {
  test('sends held calls away to come back, ends streams with an error, and takes no more', async () => {
    const gate = new AnswerGate()
    await using rig = await openRig({ settings: { heartbeatMs: 250 }, emulator: { answer: gate.answer } })
    const url = await rig.url()
    const post = (body: object) =>
      fetch(`${url}/v1/chat/completions`, { method: 'POST', body: JSON.stringify(body) })
    const waiting = post(chat('a'))
    const stream = await post(chat('b', { stream: true }))
    await until(async () => (await held(rig)) === 2)
    await rig.gateway.close()
    const answer = await waiting
    expect([answer.status, answer.headers.get('x-should-retry')]).toEqual([503, 'true'])
    expect(Number(answer.headers.get('retry-after'))).toBeLessThanOrEqual(60)
    expect(await answer.json()).toMatchObject({ error: { code: 'gateway_stopping' } })
    expect(await stream.text()).toContain('data: {"error":{')
    await expect(post(chat('c'))).rejects.toThrow()
    const late = await ask(rig, chat('c'))
    expect([late.status, late.headers.get('x-should-retry')]).toEqual([503, 'true'])
    expect((await rig.gateway.app.request('/healthz')).status).toBe(503)
    gate.open()
  })

  test('twice is closed once', async () => {
    await using rig = await openRig()
    await Promise.all([rig.gateway.close(), rig.gateway.close()])
  })

  test('closes what listens, also what was closed before or begins to listen meanwhile, and listens no more', async () => {
    await using rig = await openRig()
    const [first, second] = await Promise.all([
      rig.gateway.listen({ port: 0 }),
      rig.gateway.listen({ port: 0 }),
    ])
    await first.close()
    const late = rig.gateway.listen({ port: 0 })
    const closing = rig.gateway.close()
    await expect(late).rejects.toMatchObject({ code: 'gateway_closed' })
    await closing
    for (const { url } of [first, second]) await expect(fetch(`${url}/healthz`)).rejects.toThrow()
    await expect(rig.gateway.listen({ port: 0 })).rejects.toMatchObject({ code: 'gateway_closed' })
  })

  test('that cannot listen says so, and goes on', async () => {
    await using rig = await openRig()
    const { port, url } = await rig.gateway.listen({ port: 0 })
    await expect(rig.gateway.listen({ port })).rejects.toMatchObject({ code: 'cannot_listen' })
    expect((await fetch(`${url}/healthz`)).status).toBe(200)
  })
})

test('the health of a gateway is to be seen, and what it counts', async () => {
  await using rig = await openRig()
  const health = await rig.gateway.app.request('/healthz')
  expect([health.status, await health.json()]).toEqual([
    200,
    { status: 'ok', store: 'ok', version: expect.any(String) },
  ])
  const check = await rig.gateway.app.request('/healthcheck')
  expect([check.status, await check.text()]).toEqual([200, 'OK'])
  await ask(rig, chat('a'))
  await ask(rig, 'no json')
  const page = await (await rig.gateway.app.request('/metrics')).text()
  for (const line of [
    'nightshift_http_responses_total{route="/v1/chat/completions",status="200"} 1',
    'nightshift_http_responses_total{route="/v1/chat/completions",status="400"} 1',
    'nightshift_accept_seconds_count 1',
    'nightshift_requests_ended_total{ending="succeeded",route="batch"} 1',
    'nightshift_upstream_calls_total{kind="create_batch",result="ok"} 1',
  ])
    expect(page).toContain(`\n${line}\n`)
  const [cost, direct] = [
    /^nightshift_cost_usd_total\{route="batch"\} (\S+)/m,
    /^nightshift_direct_cost_usd_total\S* (\S+)/m,
  ]
  expect(Number(direct.exec(page)?.[1])).toBeCloseTo(2 * Number(cost.exec(page)?.[1]), 12)
  // As Prometheus reads it: every line is a comment, or a name with labels, and a number.
  for (const line of page.trimEnd().split('\n'))
    expect(line).toMatch(
      /^(# (HELP|TYPE) nightshift_\w+ .+|nightshift_\w+(\{(\w+="([^"\\\n]|\\.)*",?)*\})? [-+.e\d]+)$/,
    )
})

test('no key, no body and no answer is in the log', async () => {
  const events: string[] = []
  const note = (event: string, fields?: LogFields) => void events.push(JSON.stringify({ event, ...fields }))
  const log: Log = { info: note, warn: note, error: note }
  await using rig = await openRig({ log, emulator: { answer: () => 'the secret answer' } })
  await ask(rig, chat('the secret question'), { headers: { authorization: 'Bearer sk-callers-key' } })
  await ask(rig, '{"model": "the secret model"', { headers: { authorization: 'Bearer sk-callers-key' } })
  expect(events.length).toBeGreaterThan(1)
  expect(events.join('\n')).not.toMatch(/secret|sk-/)
})

describe('the heartbeat of a replica', () => {
  function open() {
    const clock = new VirtualClock(0)
    const beats: number[] = []
    const state: { isAway: boolean; back: () => void } = { isAway: false, back: () => undefined }
    const warned: string[] = []
    const said: string[] = []
    const store = {
      heartbeat: async () => {
        if (state.isAway) throw new StoreError('store_unavailable', 'away', { retryable: true })
        beats.push(clock.now())
        said.push('lives')
      },
      leave: async () => undefined,
      onReturn: (listener: () => void) => {
        state.back = listener
      },
    }
    const catchUp = async () => void said.push('what was owed')
    const log: Log = {
      info: () => undefined,
      warn: (event) => void warned.push(event),
      error: () => undefined,
    }
    const heartbeat = new Heartbeat({ store, replica: 'rep_1', catchUp, clock, log })
    return { clock, beats, said, state, warned, heartbeat }
  }
  const turns = async () => {
    for (let turn = 0; turn < 5; turn++) await new Promise(setImmediate)
  }

  test('beats well within its lease, and more often when it is not heard', async () => {
    const { clock, beats, state, warned, heartbeat } = open()
    await heartbeat.start()
    clock.advance(10_000)
    await turns()
    expect(beats).toEqual([0, 10_000])
    state.isAway = true
    clock.advance(10_000)
    await turns()
    state.isAway = false
    clock.advance(1000)
    await turns()
    expect(beats).toEqual([0, 10_000, 21_000])
    expect(warned).toEqual(['no_heartbeat'])
    await heartbeat.close()
  })

  test('is said at once when the database is back, after what others must know before', async () => {
    const { clock, beats, said, state, heartbeat } = open()
    await heartbeat.start()
    clock.advance(3000)
    said.splice(0)
    state.back()
    await turns()
    expect(beats).toEqual([0, 3000])
    expect(said).toEqual(['what was owed', 'lives'])
    clock.advance(10_000)
    await turns()
    expect(beats).toEqual([0, 3000, 13_000])
    await heartbeat.close()
  })

  test('goes on after a sleep of the machine, and says that its lease was lost', async () => {
    const { clock, beats, warned, heartbeat } = open()
    await heartbeat.start()
    clock.jump(2 * LEASE_MS)
    clock.advance(10_000)
    await turns()
    expect(beats).toEqual([0, 2 * LEASE_MS + 10_000])
    expect(warned).toEqual(['lease_was_lost'])
    await heartbeat.close()
  })
})
