import { beforeAll, expect, test } from 'vitest'
import { Secret } from '../../../src/util/secret.ts'
import { startPostgres, type TestPostgres, temporaryDatabase } from '../../support/postgres.ts'
import { AnswerGate, ask, chat, held, openRig, requestsIn, until } from './rig.ts'

let server: TestPostgres
beforeAll(async () => {
  server = await startPostgres()
}, 120_000)

const HOUR_MS = 3_600_000
const idOf = (response: Response) => response.headers.get('x-nightshift-request-id') ?? ''

test('a caller that waits at one replica gets the answer that another one collected', async () => {
  await using database = await temporaryDatabase(server)
  const store = { kind: 'postgres' as const, url: new Secret(database.url) }
  // The first holds what comes for an hour; the second is told to send all that waits.
  await using first = await openRig({ settings: { store, windowMs: HOUR_MS } })
  await using second = await openRig({
    settings: { store, windowMs: HOUR_MS },
    fetch: first.emulator.fetch,
  })
  const waiting = ask(first, chat('a'))
  await until(async () => (await requestsIn(second)) === 1)
  const flushed = await second.gateway.app.request('/admin/flush', { method: 'POST' })
  expect(await flushed.json()).toEqual({ object: 'flush', batches: 1 })
  const answer = await waiting
  expect([answer.status, answer.headers.get('x-nightshift-route')]).toEqual([200, 'batch'])
})

test('a caller that comes back to another replica goes on with its request', async () => {
  await using database = await temporaryDatabase(server)
  const store = { kind: 'postgres' as const, url: new Secret(database.url) }
  const gate = new AnswerGate()
  await using first = await openRig({ settings: { store }, emulator: { answer: gate.answer } })
  const pending = await ask(first, chat('a'), { headers: { prefer: 'wait=0' } })
  expect(pending.status).toBe(422)
  // Batches are at the first one's server; the second needs nothing of it but the record.
  await using second = await openRig({ settings: { store, windowMs: HOUR_MS }, fetch: first.emulator.fetch })
  const waiting = ask(second, chat('a'))
  await until(async () => (await held(second)) === 1)
  gate.open()
  const answer = await waiting
  expect([answer.status, idOf(answer)]).toEqual([200, idOf(pending)])
  expect(gate.asked).toBe(1)
})

test('while the database is away calls are told to come back, and each is asked once in the end', async ({
  skip,
}) => {
  const restart = server.restart ?? skip('the server is not ours to restart')
  await using database = await temporaryDatabase(server)
  const store = { kind: 'postgres' as const, url: new Secret(database.url) }
  const gate = new AnswerGate()
  gate.open()
  await using rig = await openRig({ settings: { store, windowMs: 200 }, emulator: { answer: gate.answer } })
  const statuses = new Set<number>()
  /** What a client does that is told to come back. */
  const askUntilAnswered = async (content: string): Promise<string> => {
    for (;;) {
      const response = await ask(rig, chat(content))
      statuses.add(response.status)
      if (response.status === 200) return response.text()
      expect([503, 'true']).toEqual([response.status, response.headers.get('x-should-retry')])
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
  }
  const before = Array.from({ length: 20 }, (_, index) => askUntilAnswered(`before ${index}`))
  const restarting = restart()
  const during = Array.from({ length: 20 }, (_, index) => askUntilAnswered(`during ${index}`))
  await restarting
  const answers = await Promise.all([...before, ...during])
  expect(answers.every((text) => text.includes('answer to'))).toBe(true)
  expect([200, 503]).toEqual(expect.arrayContaining([...statuses]))
  expect(gate.asked).toBe(40)
})
