import { once } from 'node:events'
import { request } from 'node:http'
import { connect } from 'node:net'
import { describe, expect, test } from 'vitest'
import { createEmulator } from '../../../src/emulator/create-emulator.ts'
import { Secret } from '../../../src/util/secret.ts'
import { INSTANT } from '../../emulator/helpers.ts'
import { AnswerGate, chat, held, openRig, until } from './rig.ts'

interface Call {
  readonly path?: string
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
}

interface Heard {
  readonly status: number | undefined
  /** Names and values in turn, as they came. */
  readonly headers: readonly string[]
  readonly body: string
}

/** What differs between any two answers: ids, and times. */
const SINGULAR = [
  /\b(req|batch|chatcmpl)[_-][\w-]+/g,
  /"created":\d+/g,
  /[A-Z][a-z]{2}, \d\d \w+ \d{4} [\d:]+ GMT/g,
]
const common = (text: string): string => SINGULAR.reduce((left, one) => left.replace(one, '~'), text)

async function send(
  url: string,
  { path = '/v1/chat/completions', method = 'POST', headers, body }: Call,
): Promise<Heard> {
  const { hostname, port } = new URL(url)
  const asking = request({ hostname, port, path, method, agent: false, ...(headers && { headers }) })
  asking.end(body)
  const [answer] = await once(asking, 'response')
  let text = ''
  for await (const piece of answer.setEncoding('utf8')) text += piece
  return { status: answer.statusCode, headers: answer.rawHeaders.map(common), body: common(text) }
}

const body = (content: string, more: object = {}) => JSON.stringify(chat(content, more))
const mode = (name: string) => ({ 'x-nightshift-mode': name })

describe('a call to an endpoint that is batched', () => {
  test.each<[string, Call]>([
    ['that is answered', { body: body('a') }],
    ['that is answered in a stream', { body: body('a', { stream: true }) }],
    ['that is not held', { body: body('a'), headers: mode('poll') }],
    ['that is told to come back', { body: body('a'), headers: { prefer: 'wait=0' } }],
    ['that is done in the background', { body: body('a'), headers: mode('async') }],
    ['for what is not there', { body: body('a'), headers: mode('cache') }],
    ['that is no JSON', { body: '{' }],
    ['without a body', {}],
    ['that is too large', { body: body('x'.repeat(20_000)) }],
    ['that is compressed', { body: body('a'), headers: { 'content-encoding': 'gzip' } }],
    ['of a web page', { body: body('a'), headers: { origin: 'https://evil.example' } }],
    ['with a header that is wrong', { body: body('a'), headers: mode('fast') }],
  ])('%s, is answered the same by all ways in', async (_, call) => {
    const path = '/v1/chat/completions'
    const answers: Heard[] = []
    for (const way of [path, `${path}?api-version=1`, `http://localhost${path}`]) {
      await using rig = await openRig({ settings: { maxBodyBytes: 10_000 } })
      answers.push(await send(await rig.url(), { ...call, path: way }))
    }
    const [plain, withQuery, absolute] = answers
    expect(withQuery).toEqual(plain)
    expect(absolute && unordered(absolute)).toEqual(plain && unordered(plain))
  })
})

/** Another way in may spell the names of headers otherwise, and have them in another order. */
const unordered = ({ headers, ...heard }: Heard) => ({
  ...heard,
  headers: headers
    .flatMap((name, place) => (place % 2 === 0 ? [`${name.toLowerCase()}: ${headers[place + 1]}`] : []))
    .toSorted(),
})

/** Opens a connection, and sends what is given as it is. */
async function sendRaw(url: string, text: string) {
  const { hostname, port } = new URL(url)
  const socket = connect(Number(port), hostname)
  socket.on('error', () => undefined)
  await once(socket, 'connect')
  socket.write(text)
  return socket
}

const rawCall = (text: string, more = ''): string =>
  `POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n${more}Content-Length: ${Buffer.byteLength(text)}\r\n\r\n${text}`

async function readUntil(socket: AsyncIterable<unknown>, end: string): Promise<string> {
  let text = ''
  for await (const piece of socket) {
    text += String(piece)
    if (text.includes(end)) return text
  }
  return text
}

const statusesIn = (text: string) => [...text.matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, status]) => status)

describe('a connection', () => {
  test('that ends with several calls on it lets go of each of them', async () => {
    const gate = new AnswerGate()
    await using rig = await openRig({ emulator: { answer: gate.answer } })
    const calls = ['a', 'b', 'c'].map((text) => rawCall(body(text)))
    const socket = await sendRaw(await rig.url(), calls.join(''))
    await until(async () => (await held(rig)) === 3)
    socket.destroy()
    await until(async () => (await held(rig)) === 0)
    gate.open()
  })

  test('answers several calls in their order', async () => {
    await using rig = await openRig()
    const health = 'GET /healthcheck HTTP/1.1\r\nHost: localhost\r\n\r\n'
    const socket = await sendRaw(await rig.url(), `${rawCall(body('a'))}${rawCall('{')}${health}`)
    expect(statusesIn(await readUntil(socket, '\r\n\r\nOK'))).toEqual(['200', '400', '200'])
  })

  test.each([
    ['asks whether it may send', 'Expect: 100-continue\r\n', ['100', '200']],
    ['would rather speak another protocol', 'Connection: Upgrade\r\nUpgrade: h2c\r\n', ['200']],
  ])('that %s is served', async (_, header, statuses) => {
    await using rig = await openRig()
    const socket = await sendRaw(await rig.url(), rawCall(body('a'), header))
    expect(statusesIn(await readUntil(socket, '"chat.completion"'))).toEqual(statuses)
  })

  test('goes on after a call that was refused before all of it was there', async () => {
    await using rig = await openRig({ settings: { access: { kind: 'keys', key: new Secret('k') } } })
    const refused = rawCall(body('a'.repeat(300_000)))
    const allowed = rawCall(body('b'), 'Authorization: Bearer k\r\n')
    const socket = await sendRaw(await rig.url(), `${refused}${allowed}`)
    expect(statusesIn(await readUntil(socket, '"chat.completion"'))).toEqual(['401', '200'])
  })
})

test.each(['', 'http://localhost'])(
  'what a server calls its answer may be what no header can be: the caller gets it all the same (%s)',
  async (host) => {
    const emulator = createEmulator({ latency: INSTANT })
    const renaming: typeof fetch = async (input, init) => {
      const response = await emulator.fetch(input, init)
      if (!String(input).endsWith('/content')) return response
      const name = '"request_id":"r\\r\\nset-cookie: \u2603"'
      return new Response((await response.text()).replaceAll(/"request_id":"[^"]*"/g, name))
    }
    await using rig = await openRig({ fetch: renaming })
    const path = `${host}/v1/chat/completions`
    const { status, headers } = await send(await rig.url(), { body: body('a'), path })
    expect(status).toBe(200)
    expect(headers).not.toContain('set-cookie')
    await emulator.close()
  },
)
