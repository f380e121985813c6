import OpenAI from 'openai'
import { afterEach, describe, expect, test } from 'vitest'
import {
  createEmulator,
  type EmulatorOptions,
  type Scenario,
  serveEmulator,
} from '../../src/emulator/index.ts'
import { VirtualClock } from '../support/virtual-clock.ts'
import { chatLine, chatLines, errorOf, INSTANT, submit, upload } from './helpers.ts'

const open: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const close of open.splice(0)) await close()
})

type Faults = Scenario['faults']
interface Given {
  readonly openai: OpenAI
  /** Sees the responses as they are. */
  readonly fetch: typeof globalThis.fetch
  readonly url: string
}

/** The two ways in which the emulator is reached. */
const WAYS = {
  'in process': async (options: EmulatorOptions): Promise<Given> => {
    const emulator = createEmulator(options)
    open.push(() => emulator.close())
    const url = 'http://emulator.local/v1'
    const openai = new OpenAI({ apiKey: 'x', baseURL: url, fetch: emulator.fetch, maxRetries: 0 })
    return { openai, fetch: emulator.fetch, url }
  },
  'over a socket': async (options: EmulatorOptions): Promise<Given> => {
    const emulator = createEmulator(options)
    const server = await serveEmulator(emulator, { port: 0 })
    open.push(async () => {
      await emulator.close()
      await server.close()
    })
    const url = `${server.url}/v1`
    return { openai: new OpenAI({ apiKey: 'x', baseURL: url, maxRetries: 0 }), fetch, url }
  },
}

const ping = { model: 'gpt-5-mini', messages: [{ role: 'user' as const, content: 'hello' }] }
const ask = (openai: OpenAI, content = 'hello', model = 'gpt-5-mini') =>
  openai.chat.completions.create({ model, messages: [{ role: 'user', content }] })

describe.each(Object.entries(WAYS))('%s', (_way, reach) => {
  const start = (...faults: Faults) => reach({ scenario: { faults }, latency: INSTANT })

  test('a refusal with its code and headers, for the calls that it is about', async () => {
    const { openai } = await start({
      fault: 'http-answer',
      route: 'POST /v1/batches',
      when: { nth: [1, 3] },
      status: 429,
      error: { code: 'insufficient_quota', message: 'You exceeded your current quota.' },
      headers: { 'Retry-After': '0', 'x-should-retry': 'false' },
    })
    const refused = await errorOf(submit(openai, chatLines(1)))
    expect(refused).toMatchObject({ status: 429, code: 'insufficient_quota', type: 'invalid_request_error' })
    expect(refused.headers?.get('retry-after')).toBe('0')
    await submit(openai, chatLines(1))
    await errorOf(submit(openai, chatLines(1)))
    await submit(openai, chatLines(1))
    expect((await openai.batches.list()).data).toHaveLength(2)
  })

  test('a server error after the server has acted', async () => {
    const { openai } = await start({
      fault: 'http-answer',
      route: 'POST /v1/batches',
      status: 503,
      error: {},
      acts: true,
    })
    expect(await errorOf(submit(openai, chatLines(1)))).toMatchObject({ status: 503, type: 'server_error' })
    expect((await openai.batches.list()).data).toHaveLength(1)
  })

  test('a page in HTML, an empty body, and JSON of any kind', async () => {
    const { fetch, url } = await start(
      { fault: 'http-answer', when: { nth: 1 }, status: 200, text: '<html>Please wait</html>' },
      { fault: 'http-answer', when: { nth: 2 }, status: 200 },
      { fault: 'http-answer', when: { nth: 3 }, status: 200, json: [1, null] },
    )
    const page = await fetch(`${url}/models`)
    expect(page.headers.get('content-type')).toContain('text/html')
    expect(await page.text()).toContain('Please wait')
    expect(await (await fetch(`${url}/models`)).text()).toBe('')
    expect(await (await fetch(`${url}/models`)).json()).toEqual([1, null])
  })

  test('an answer that is lost was acted on, a request that is lost was not', async () => {
    const { openai } = await start(
      { fault: 'http-lose', route: 'POST /v1/batches', when: { nth: 1 }, acts: true },
      { fault: 'http-lose', route: 'POST /v1/batches', when: { nth: 2 } },
    )
    await expect(submit(openai, chatLines(1))).rejects.toThrow(OpenAI.APIConnectionError)
    expect((await openai.batches.list()).data).toHaveLength(1)
    await expect(submit(openai, chatLines(1))).rejects.toThrow(OpenAI.APIConnectionError)
    expect((await openai.batches.list()).data).toHaveLength(1)
    await submit(openai, chatLines(1))
    expect((await openai.batches.list()).data).toHaveLength(2)
  })

  test('an upload that is lost, before and after it is there', async () => {
    const { openai } = await start(
      { fault: 'http-lose', route: 'POST /v1/files', when: { nth: 1 } },
      { fault: 'http-lose', route: 'POST /v1/files', when: { nth: 2 }, acts: true },
    )
    for (const files of [0, 1]) {
      await expect(upload(openai, chatLines(100))).rejects.toThrow(OpenAI.APIConnectionError)
      expect((await openai.files.list()).data).toHaveLength(files)
    }
  })

  test('a call that hangs ends when the caller gives up', async () => {
    const { openai, fetch, url } = await start({ fault: 'http-hang', route: 'GET /v1/batches' })
    const caller = new AbortController()
    const answer = fetch(`${url}/batches`, { signal: caller.signal })
    expect((await openai.models.list()).data).not.toHaveLength(0)
    caller.abort(new Error('enough'))
    await expect(answer).rejects.toThrow('enough')
  })

  test.each([
    [true, '10'],
    [false, null],
  ])('a body that ends early, as if it were whole (with a length: %s)', async (contentLength, length) => {
    const { openai, fetch, url } = await start({
      fault: 'http-cut',
      route: 'GET /v1/files/{id}/content',
      bytes: 10,
      ends: 'clean',
      contentLength,
    })
    const { id } = await upload(openai, chatLines(3))
    const answer = await fetch(`${url}/files/${id}/content`)
    expect(answer.headers.get('content-length')).toBe(length)
    expect(await answer.text()).toBe('{"custom_i')
  })

  test.each([true, false])('a body that breaks off (with a length: %s)', async (contentLength) => {
    const { openai, fetch, url } = await start({
      fault: 'http-cut',
      route: 'GET /v1/files/{id}/content',
      bytes: 100,
      contentLength,
    })
    const { id, bytes } = await upload(openai, chatLines(3))
    const answer = await fetch(`${url}/files/${id}/content`)
    expect(answer.headers.get('content-length')).toBe(contentLength ? String(bytes) : null)
    await expect(answer.text()).rejects.toThrow()
    await expect(openai.files.content(id).then((content) => content.text())).rejects.toThrow()
  })

  test('a body that breaks off before its first byte', async () => {
    const { fetch, url } = await start({ fault: 'http-cut', route: 'GET /v1/models', bytes: 0 })
    await expect(fetch(`${url}/models`).then((answer) => answer.text())).rejects.toThrow()
  })

  test('bytes that are no text', async () => {
    const { openai } = await start({
      fault: 'http-garble',
      route: 'GET /v1/files/{id}/content',
      from: 2,
      bytes: 3,
    })
    const { id } = await upload(openai, [chatLine(1)])
    const content = new Uint8Array(await (await openai.files.content(id)).arrayBuffer())
    expect([...content.subarray(0, 6)]).toEqual([0x7b, 0x22, 0xff, 0xff, 0xff, 0x74])
  })

  test('only calls with a text or a model in them', async () => {
    const { openai } = await start(
      { fault: 'http-answer', model: 'gpt-5', status: 403, error: { code: 'model_not_allowed' } },
      { fault: 'http-answer', contains: 'question 2', status: 400, error: {} },
    )
    expect(await errorOf(ask(openai, 'x', 'gpt-5'))).toMatchObject({ status: 403 })
    expect(await errorOf(ask(openai, 'question 2'))).toMatchObject({ status: 400 })
    expect(await errorOf(upload(openai, [chatLine(0, { model: 'gpt-5' })]))).toMatchObject({ status: 403 })
    expect(await errorOf(upload(openai, chatLines(3)))).toMatchObject({ status: 400 })
    await ask(openai, 'question 1')
    const { bytes, id } = await upload(openai, chatLines(2))
    expect((await (await openai.files.content(id)).text()).length).toBe(bytes)
  })
})

describe('in the time of the clock', () => {
  function start(...faults: Faults) {
    const clock = new VirtualClock()
    const emulator = createEmulator({ clock, scenario: { faults }, latency: INSTANT })
    open.push(() => emulator.close())
    const openai = new OpenAI({
      apiKey: 'x',
      baseURL: 'http://emulator.local/v1',
      fetch: emulator.fetch,
      maxRetries: 0,
    })
    return { clock, openai, startMs: clock.now() }
  }
  const count = async (openai: OpenAI) => (await openai.batches.list()).data.length

  test('a batch that is created late', async () => {
    const { clock, openai, startMs } = start({
      fault: 'http-lose',
      route: 'POST /v1/batches',
      acts: { afterMs: 60_000 },
    })
    await expect(submit(openai, chatLines(2))).rejects.toThrow(OpenAI.APIConnectionError)
    while ((await count(openai)) === 0) await new Promise(setImmediate)
    expect(clock.now()).toBe(startMs + 60_000)
  })

  test('what would be done late is not done after the end', async () => {
    const clock = new VirtualClock()
    const scenario: Scenario = {
      faults: [{ fault: 'http-answer', status: 500, route: 'POST /v1/files', acts: { afterMs: 1000 } }],
    }
    const emulator = createEmulator({ clock, scenario })
    const openai = new OpenAI({ apiKey: 'x', baseURL: 'http://e/v1', fetch: emulator.fetch, maxRetries: 0 })
    await errorOf(upload(openai, chatLines(1)))
    await emulator.close()
    expect(await errorOf(openai.files.list())).toMatchObject({ status: 503 })
  })

  test('a delay before the server acts, and one of its answer', async () => {
    const { clock, openai, startMs } = start(
      { fault: 'http-delay', route: 'POST /v1/batches', when: { nth: 1 }, ms: 5000 },
      { fault: 'http-delay', route: 'POST /v1/batches', when: { nth: 2 }, ms: 5000, acts: true },
    )
    const seconds = (at: number): number => at - startMs / 1000
    expect(seconds((await submit(openai, chatLines(1))).created_at)).toBe(5)
    expect(seconds((await submit(openai, chatLines(1))).created_at)).toBe(5)
    expect(clock.now() - startMs).toBe(10_000)
  })

  test('only in a stretch of time, counted in it', async () => {
    const { clock, openai } = start({
      fault: 'http-answer',
      route: 'POST /v1/chat/completions',
      when: { afterMs: 1000, untilMs: 2000, first: 2 },
      status: 500,
      error: {},
    })
    const statuses: number[] = []
    for (let call = 0; call < 12; call++) {
      const { response } = await openai.chat.completions
        .create(ping)
        .withResponse()
        .catch((error) => ({
          response: { status: Number(error.status) },
        }))
      statuses.push(response.status)
      clock.advance(200)
    }
    expect(statuses.join(' ')).toBe('200 200 200 200 200 500 500 200 200 200 200 200')
  })

  test('faults lie around one another, the first outermost, and each counts for itself', async () => {
    const { clock, openai, startMs } = start(
      { fault: 'http-delay', route: 'GET /v1/models', ms: 1000 },
      { fault: 'http-answer', route: 'GET /v1/models', when: { every: 2 }, status: 500, error: {} },
      { fault: 'http-answer', route: 'GET /v1/models', when: { nth: 2 }, status: 418, error: {} },
      { fault: 'http-answer', route: 'GET /v1/models', when: { nth: 3 }, status: 503, error: {} },
    )
    await openai.models.list()
    expect(await errorOf(openai.models.list())).toMatchObject({ status: 500 })
    expect(await errorOf(openai.models.list())).toMatchObject({ status: 503 })
    expect(clock.now() - startMs).toBe(3000)
  })

  test('a share of the calls, the same ones for the same seed', async () => {
    const run = async (seed: number): Promise<string> => {
      const scenario: Scenario = {
        seed,
        faults: [
          { fault: 'http-answer', route: 'GET /v1/models', when: { share: 0.3 }, status: 500, error: {} },
        ],
      }
      const emulator = createEmulator({ scenario })
      let failed = ''
      for (let call = 0; call < 200; call++)
        failed += (await emulator.fetch('http://e/v1/models')).ok ? '.' : 'x'
      return failed
    }
    const first = await run(1)
    expect(await run(1)).toBe(first)
    expect(await run(2)).not.toBe(first)
    const share = first.replaceAll('.', '').length / 200
    expect(share).toBeGreaterThan(0.2)
    expect(share).toBeLessThan(0.4)
  })
})

test('an interceptor is around the scenario', async () => {
  const seen: number[] = []
  const emulator = createEmulator({
    scenario: { faults: [{ fault: 'http-answer', status: 500, error: {} }] },
    intercept: async (_request, next) => {
      const response = await next()
      seen.push(response.status)
      return response
    },
  })
  await emulator.fetch('http://e/v1/models')
  expect(seen).toEqual([500])
})
