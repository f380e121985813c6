import { once } from 'node:events'
import { createServer } from 'node:http'
import { connect } from 'node:net'
import { describe, expect, test } from 'vitest'
import type { Reply } from '../../../src/gateway/http/reply.ts'
import { SocketCall } from '../../../src/gateway/http/socket-call.ts'
import { socketCalls } from '../../../src/gateway/http/socket-calls.ts'
import type { Log } from '../../../src/gateway/log.ts'

const LARGE = 'x'.repeat(50_000_000)
const text = (body: string): Reply => ({ status: 200, headers: { 'content-type': 'text/plain' }, body })

/** A stream of as many pieces as are taken, without an end. */
function endless() {
  const state = { pieces: 0, isCancelled: false }
  const body = new ReadableStream<Uint8Array>({
    pull: (controller) => {
      state.pieces++
      controller.enqueue(new Uint8Array(100_000))
    },
    cancel: () => {
      state.isCancelled = true
    },
  })
  return { state, reply: { status: 200, headers: {}, body } }
}

/** A server that hears what becomes of its answers. */
async function open(replyOf: () => Reply) {
  const heard: string[] = []
  const server = createServer((incoming, outgoing) => {
    const call = new SocketCall(incoming, outgoing, '/')
    call.onSent(() => void heard.push('sent'))
    call.onGone(() => void heard.push('gone'))
    void call.send(replyOf())
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  const port = typeof address === 'object' ? (address?.port ?? 0) : 0
  return {
    heard,
    port,
    url: `http://127.0.0.1:${port}/`,
    cutOff: () => server.closeAllConnections(),
    untilGone: async () => {
      while (!heard.includes('gone')) await new Promise(setImmediate)
      // What comes after that would be heard, too.
      for (let turn = 0; turn < 100; turn++) await new Promise(setImmediate)
      return heard
    },
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections()
      server.close()
    },
  }
}

/** A client that asks, and reads no more than the beginning. */
async function askAndStop(port: number) {
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => undefined)
  socket.write('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n')
  await once(socket, 'readable')
  return socket
}

describe('an answer', () => {
  test('that was taken is sent, with its length', async () => {
    await using server = await open(() => text('schön'))
    const response = await fetch(server.url)
    expect([await response.text(), response.headers.get('content-length')]).toEqual(['schön', '6'])
    expect(await server.untilGone()).toEqual(['sent', 'gone'])
  })

  test('that the server itself cuts off was not sent', async () => {
    await using server = await open(() => text(LARGE))
    await askAndStop(server.port)
    server.cutOff()
    expect(await server.untilGone()).toEqual(['gone'])
  })

  test.each([
    ['in good order', 'destroy' as const],
    ['with a reset', 'resetAndDestroy' as const],
  ])('whose caller has no use for it any more, and says so %s, was not sent', async (_, leave) => {
    await using server = await open(() => text(LARGE))
    const socket = await askAndStop(server.port)
    socket[leave]()
    expect(await server.untilGone()).toEqual(['gone'])
  })
})

describe('a stream', () => {
  test('is written no faster than it is taken, and cancelled when its caller goes away', async () => {
    const { state, reply } = endless()
    await using server = await open(() => reply)
    const socket = await askAndStop(server.port)
    let before = -1
    // Until all buffers on the way are full.
    while (before < state.pieces) {
      before = state.pieces
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
    expect(state.pieces).toBeLessThan(1000)
    socket.destroy()
    while (!state.isCancelled) await new Promise(setImmediate)
    expect(await server.untilGone()).toEqual(['gone'])
  })

  test('that fails is seen to be broken off', async () => {
    const body = new ReadableStream<Uint8Array>({
      start: (controller) => controller.enqueue(new Uint8Array(10)),
      pull: () => {
        throw new Error('no more')
      },
    })
    await using server = await open(() => ({ status: 200, headers: {}, body }))
    await expect(fetch(server.url).then((response) => response.text())).rejects.toThrow()
    expect(await server.untilGone()).toEqual(['gone'])
  })
})

test('a client that is refused may send on, and then hears why', async () => {
  await using server = await open(() => text('no'))
  const response = await fetch(server.url, { method: 'POST', body: new Uint8Array(20_000_000) })
  expect(await response.text()).toBe('no')
})

test('an answer that cannot be sent ends its connection, and nothing else', async () => {
  const logged: string[] = []
  const log: Log = { info: () => undefined, warn: () => undefined, error: (event) => void logged.push(event) }
  const reply: Reply = { status: 200, headers: { 'x-name': 'a\r\nb' }, body: '' }
  const desk = { enter: () => Promise.reject(new Error('not asked')), answer: async () => reply }
  const inference = { serve: async () => reply }
  const serve = socketCalls({ desk, inference, log })
  const server = createServer((incoming, outgoing) => {
    if (!serve(incoming, outgoing)) outgoing.end('another')
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  const url = `http://127.0.0.1:${typeof address === 'object' ? address?.port : 0}`
  await expect(fetch(`${url}/v1/embeddings?a=b`, { method: 'POST', body: '{}' })).rejects.toThrow()
  expect(logged).toEqual(['answer_not_sent'])
  for (const [method, path] of [
    ['GET', '/v1/embeddings'],
    ['POST', '/v1/embeddings/'],
    ['POST', '/v1/v1/embeddings'],
  ])
    expect(await (await fetch(`${url}${path}`, { method: method ?? '' })).text()).toBe('another')
  server.closeAllConnections()
  server.close()
})
