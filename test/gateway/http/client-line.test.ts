import { once } from 'node:events'
import { createServer } from 'node:http'
import { connect } from 'node:net'
import { createAdaptorServer } from '@hono/node-server'
import { Hono } from 'hono'
import { expect, test } from 'vitest'
import { lineOf } from '../../../src/gateway/http/client-line.ts'
import type { AppEnv } from '../../../src/gateway/http/reply.ts'

const LARGE = 'x'.repeat(50_000_000)

/** A server that hears what becomes of its answers. */
async function open(body: string) {
  const heard: string[] = []
  const app = new Hono<AppEnv>()
  app.get('/', (call) => {
    const line = lineOf(call)
    line.onSent(() => void heard.push('sent'))
    line.onGone(() => void heard.push('gone'))
    return call.text(body)
  })
  const server = createAdaptorServer({ fetch: app.fetch, createServer })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  const port = typeof address === 'object' ? (address?.port ?? 0) : 0
  const cutOff = () => 'closeAllConnections' in server && server.closeAllConnections()
  return {
    heard,
    port,
    cutOff,
    untilHeard: async () => {
      while (!heard.includes('gone')) await new Promise(setImmediate)
      // What comes after that would be heard, too.
      for (let turn = 0; turn < 100; turn++) await new Promise(setImmediate)
      return heard
    },
    [Symbol.asyncDispose]: async () => {
      cutOff()
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

test('what was taken is sent', async () => {
  await using server = await open('short')
  await (await fetch(`http://127.0.0.1:${server.port}/`)).text()
  expect(await server.untilHeard()).toEqual(['sent', 'gone'])
})

test('what the server itself cuts off was not sent', async () => {
  await using server = await open(LARGE)
  await askAndStop(server.port)
  server.cutOff()
  expect(await server.untilHeard()).toEqual(['gone'])
})

test.each([
  ['in good order', 'destroy' as const],
  ['with a reset', 'resetAndDestroy' as const],
])('what its caller has no use for any more, and says so %s, was not sent', async (_, leave) => {
  await using server = await open(LARGE)
  const socket = await askAndStop(server.port)
  socket[leave]()
  expect(await server.untilHeard()).toEqual(['gone'])
})
