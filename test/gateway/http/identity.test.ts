import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { AnswerGate, ask, chat, held, openRig, requestsIn, until } from './rig.ts'

const idOf = (response: Response) => response.headers.get('x-nightshift-request-id') ?? ''
const key = (text: string) => ({ 'idempotency-key': text })

describe('identical calls', () => {
  test('that wait at the same time are samples of their own', async () => {
    const gate = new AnswerGate()
    await using rig = await openRig({ emulator: { answer: gate.answer } })
    const calls = [1, 2, 3].map(() => ask(rig, chat('the same')))
    await until(async () => (await held(rig)) === 3)
    gate.open()
    const ids = (await Promise.all(calls)).map(idOf)
    expect(new Set(ids).size).toBe(3)
    expect(gate.asked).toBe(3)
  })

  test('one after the other are samples of their own, once each has its answer', async () => {
    await using rig = await openRig()
    const [first, second] = [await ask(rig, chat('a')), await ask(rig, chat('a'))]
    await until(async () => (await requestsIn(rig)) === 2)
    expect(idOf(first)).not.toBe(idOf(second))
  })

  test('after a caller went away go on with its request, and only the white space may differ', async () => {
    const gate = new AnswerGate()
    await using rig = await openRig({ emulator: { answer: gate.answer } })
    const leaving = new AbortController()
    const first = ask(rig, chat('a'), { signal: leaving.signal })
    // It is held from before it is on record, and not put there once its caller is gone.
    await until(async () => (await requestsIn(rig)) === 1)
    leaving.abort()
    await first
    await until(async () => (await held(rig)) === 0)
    const same = ask(rig, JSON.stringify(chat('a'), null, 2))
    const other = ask(rig, chat('a', { temperature: 1.0 }))
    gate.open()
    expect(idOf(await same)).toBe(idOf(await first))
    expect(idOf(await other)).not.toBe(idOf(await first))
    expect(gate.asked).toBe(2)
  })

  test('of a script that was started again, and a gateway that was, too, go on where they were', async () => {
    const dataDir = await mkdtemp(join(tmpdir(), 'nightshift-gateway-'))
    const emulatorDir = join(dataDir, 'emulator')
    try {
      const contents = ['a', 'b', 'c']
      let ids: string[] = []
      {
        const gate = new AnswerGate()
        await using rig = await openRig({ dataDir, emulator: { answer: gate.answer, dataDir: emulatorDir } })
        const calls = contents.map((content) => ask(rig, chat(content)))
        await until(async () => (await held(rig)) === 3)
        await rig.gateway.close()
        const responses = await Promise.all(calls)
        expect(responses.map(({ status }) => status)).toEqual([503, 503, 503])
        ids = responses.map(idOf)
        gate.open()
      }
      await using rig = await openRig({ dataDir, emulator: { dataDir: emulatorDir } })
      const again = await Promise.all(contents.map((content) => ask(rig, chat(content))))
      expect(again.map(({ status }) => status)).toEqual([200, 200, 200])
      expect(again.map(idOf)).toEqual(ids)
      await rig.gateway.close()
    } finally {
      await rm(dataDir, { recursive: true, force: true })
    }
  })
})

describe('an Idempotency-Key', () => {
  test('brings the same request again, also when it was delivered, with as many waiting as like', async () => {
    const gate = new AnswerGate()
    await using rig = await openRig({ emulator: { answer: gate.answer } })
    const calls = [1, 2, 3].map(() => ask(rig, chat('a'), { headers: key('k-1') }))
    await until(async () => (await held(rig)) === 3)
    gate.open()
    const answers = await Promise.all((await Promise.all(calls)).map((response) => response.json()))
    expect(answers[1]).toEqual(answers[0])
    expect(answers[2]).toEqual(answers[0])
    expect(await (await ask(rig, chat('a'), { headers: key('k-1') })).json()).toEqual(answers[0])
    expect(gate.asked).toBe(1)
  })

  test('with another body is refused', async () => {
    await using rig = await openRig()
    const first = await ask(rig, chat('a'), { headers: key('k') })
    const refused = await ask(rig, chat('b'), { headers: key('k') })
    expect(refused.status).toBe(409)
    expect(refused.headers.get('x-should-retry')).toBe('false')
    expect(idOf(refused)).toBe(idOf(first))
    expect(await refused.json()).toMatchObject({ error: { code: 'idempotency_key_reused' } })
  })

  test('of its own makes a sample of its own of an identical call', async () => {
    await using rig = await openRig()
    const headers = { 'x-nightshift-mode': 'async' }
    const ids = await Promise.all(
      ['k-1', 'k-2', 'k-3'].map(async (text) =>
        idOf(await ask(rig, chat('a'), { headers: { ...headers, ...key(text) } })),
      ),
    )
    expect(new Set(ids).size).toBe(3)
  })
})

describe('the cache', () => {
  test('serves what was answered, to every mode, and is passed by on request', async () => {
    const gate = new AnswerGate()
    gate.open()
    await using rig = await openRig({ settings: { cacheMs: 60_000 }, emulator: { answer: gate.answer } })
    const first = await (await ask(rig, chat('a'))).text()
    for (const mode of ['sync', 'async', 'poll', 'cache']) {
      const cached = await ask(rig, chat('a'), { headers: { 'x-nightshift-mode': mode } })
      expect([cached.status, cached.headers.get('x-nightshift-route')]).toEqual([200, 'cache'])
      expect(await cached.text()).toBe(first)
    }
    expect(gate.asked).toBe(1)
    await ask(rig, chat('a'), { headers: { 'cache-control': 'no-cache' } })
    expect(gate.asked).toBe(2)
  })
})
