import { createServer, type IncomingMessage, type RequestListener } from 'node:http'
import { describe, expect, test } from 'vitest'
import { createWebhookPost, type Lookup } from '../../../src/gateway/engine/webhooks-post.ts'

/** A receiver on this machine, and what it received. */
async function receiver(answer: RequestListener) {
  const received: { path: string | undefined; headers: IncomingMessage['headers']; body: string }[] = []
  const server = createServer((request, response) => {
    const pieces: Buffer[] = []
    request.on('data', (piece: Buffer) => pieces.push(piece))
    request.on('end', () => {
      received.push({ path: request.url, headers: request.headers, body: Buffer.concat(pieces).toString() })
      answer(request, response)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  const port = typeof address === 'object' && address ? address.port : 0
  return {
    server,
    port,
    received,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

const namesLeadTo =
  (...addresses: readonly string[]): Lookup =>
  (_, done) =>
    done(
      null,
      addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 })),
    )

const message = (url: string) => ({ url, headers: { 'webhook-id': 'evt_1' }, body: '{"ä":1}' })

describe('a webhook', () => {
  test('is posted as it is, and its receipt is the status', async () => {
    await using target = await receiver((_, response) => response.writeHead(204).end())
    const post = createWebhookPost({ allowsPrivate: true })
    expect(await post(message(`http://127.0.0.1:${target.port}/hook?token=1`))).toEqual({
      kind: 'answered',
      status: 204,
    })
    expect(target.received).toMatchObject([
      {
        path: '/hook?token=1',
        body: '{"ä":1}',
        headers: { 'content-type': 'application/json', 'webhook-id': 'evt_1', 'content-length': '8' },
      },
    ])
  })

  test('does not follow a redirect', async () => {
    await using other = await receiver((_, response) => response.end('secret'))
    const location = `http://127.0.0.1:${other.port}/`
    await using target = await receiver((_, response) => response.writeHead(307, { location }).end())
    const post = createWebhookPost({ allowsPrivate: true })
    expect(await post(message(`http://127.0.0.1:${target.port}/`))).toEqual({ kind: 'answered', status: 307 })
    expect(other.received).toEqual([])
  })

  test('does not wait for an answer that never ends, nor for one that never comes', async () => {
    await using endless = await receiver((_, response) => {
      response.writeHead(200)
      const more = () => response.write('x'.repeat(65_536), more)
      more()
    })
    await using silent = await receiver(() => undefined)
    const post = createWebhookPost({ allowsPrivate: true, timeoutMs: 200 })
    const patient = createWebhookPost({ allowsPrivate: true })
    expect(await patient(message(`http://127.0.0.1:${endless.port}/`))).toEqual({
      kind: 'answered',
      status: 200,
    })
    expect(await post(message(`http://127.0.0.1:${silent.port}/`))).toMatchObject({ kind: 'unanswered' })
  })

  test('is received when its receiver says so, whatever becomes of the rest of the answer', async () => {
    await using slow = await receiver((_, response) => {
      response.writeHead(200, { 'content-length': '10' })
      response.write('half')
    })
    const post = createWebhookPost({ allowsPrivate: true, timeoutMs: 200 })
    const end = await post(message(`http://127.0.0.1:${slow.port}/`))
    expect(end).toEqual({ kind: 'answered', status: 200 })
  })

  test('does not wait for a name that is never found, nor for one who speaks another protocol', async () => {
    await using other = await receiver(() => undefined)
    other.server.on('connection', (socket) => {
      socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\n')
    })
    const post = createWebhookPost({ allowsPrivate: true, timeoutMs: 200, lookup: () => undefined })
    expect(await post(message(`http://127.0.0.1:${other.port}/`))).toMatchObject({ kind: 'unanswered' })
    expect(await post(message('http://nobody.example/'))).toMatchObject({ kind: 'unanswered' })
  })

  test('is broken off when the gateway is closed', async () => {
    const stop = new AbortController()
    await using silent = await receiver(() => stop.abort())
    const post = createWebhookPost({ allowsPrivate: true })
    const end = await post(message(`http://127.0.0.1:${silent.port}/`), stop.signal)
    expect(end).toMatchObject({ kind: 'unanswered' })
  })

  test('that nobody takes is no more than that', async () => {
    const gone = await receiver(() => undefined)
    await gone[Symbol.asyncDispose]()
    const post = createWebhookPost({ allowsPrivate: true })
    const end = await post(message(`http://127.0.0.1:${gone.port}/`))
    expect(end).toMatchObject({ kind: 'unanswered', reason: expect.stringContaining('ECONNREFUSED') })
  })
})

describe('a private network', () => {
  test.each([
    ['by its address', '127.0.0.1', []],
    ['in IPv6', '[::ffff:127.0.0.1]', []],
    ['in another spelling', '0x7f.1', []],
    ['by a name that leads there', 'evil.example', ['127.0.0.1']],
    ['by a name that also leads there', 'evil.example', ['93.184.216.34', '127.0.0.1']],
    ['by a name in IPv6', 'evil.example', ['::1']],
  ])('is not called, %s', async (_, host, addresses) => {
    await using target = await receiver((_, response) => response.end())
    const post = createWebhookPost({ allowsPrivate: false, lookup: namesLeadTo(...addresses) })
    const end = await post(message(`http://${host}:${target.port}/`))
    expect(end).toMatchObject({ kind: 'forbidden' })
    expect(target.received).toEqual([])
  })

  test('is not called by a name that led elsewhere when it was looked at before', async () => {
    await using target = await receiver((_, response) => response.end())
    const answers = [['127.0.0.1'], ['10.0.0.1']]
    let looks = 0
    const lookup: Lookup = (_, done) =>
      done(
        null,
        (answers[looks++] ?? []).map((address) => ({ address, family: 4 })),
      )
    const post = createWebhookPost({ allowsPrivate: false, lookup })
    const url = `http://rebinding.example:${target.port}/`
    expect(await post(message(url))).toMatchObject({ kind: 'forbidden' })
    expect(await post(message(url))).toMatchObject({ kind: 'forbidden' })
    // Looked up anew each time, and once: what was checked is what is called.
    expect(looks).toBe(2)
    expect(target.received).toEqual([])
  })

  test('is called where only programs of this machine can name it', async () => {
    await using target = await receiver((_, response) => response.end())
    const post = createWebhookPost({ allowsPrivate: true, lookup: namesLeadTo('127.0.0.1') })
    expect(await post(message(`http://mine.example:${target.port}/`))).toEqual({
      kind: 'answered',
      status: 200,
    })
    expect(target.received[0]?.headers.host).toBe(`mine.example:${target.port}`)
  })
})
