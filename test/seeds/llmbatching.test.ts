import OpenAI from 'openai'
import OpenAI6 from 'openai-6'
import { describe, expect, test } from 'vitest'
import { temporaryFolder } from '../support/folder.ts'
import { freePort, startGateway } from '../support/gateway-process.ts'
import OpenAI4 from '../support/openai-4.ts'
import { startPostgres, temporaryDatabase } from '../support/postgres.ts'
import { askUntilDone } from './llmbatching/ask-until-done.ts'
import { curled, runSample, startSample } from './sample.ts'
import { ANSWER, startUpstream, type Upstream } from './upstream.ts'

const MODEL = 'gpt-4o-mini'
const API_KEY = 'key-of-the-callers'
const QUICK = ['--window-ms', '20', '--poll-min-ms', '20', '--poll-max-ms', '100']

/** The gateway as its users set up their server; no mode is set. */
const gateway = (upstream: Upstream, dataDir: string, ...flags: readonly string[]) =>
  startGateway([...QUICK, '--data-dir', dataDir, ...flags], { OPENAI_BASE_URL: upstream.url, API_KEY })

test('a loop written for 422 needs to go round only once: the call is held until the answer is there', async () => {
  await using folder = await temporaryFolder()
  await using upstream = await startUpstream()
  await using server = await gateway(upstream, folder.path)
  const { stdout, stderr } = await runSample('llmbatching/loop.ts', [server.url, MODEL], { API_KEY })
  expect({ stdout, stderr }).toEqual({ stdout: `${ANSWER}\n`, stderr: '' })
  expect(upstream.answered).toEqual([`${MODEL} batch`])
})

test('a loop written for 422 goes round where calls are held for a moment only, and asks for one answer', async () => {
  await using folder = await temporaryFolder()
  await using upstream = await startUpstream()
  upstream.hold()
  await using server = await gateway(upstream, folder.path, '--max-hold-ms', '50')
  const loop = startSample('llmbatching/loop.ts', [server.url, MODEL], { API_KEY, PAUSE_MS: '10' })
  await loop.says('not yet\nnot yet\n')
  upstream.letGo()
  expect((await loop.ended).stdout).toBe(`${ANSWER}\n`)
  expect(upstream.answered).toEqual([`${MODEL} batch`])
})

test('a loop that ends half way finds its work when it is started again', async () => {
  await using folder = await temporaryFolder()
  await using upstream = await startUpstream()
  upstream.hold()
  await using server = await gateway(upstream, folder.path, '--max-hold-ms', '50')
  const env = { API_KEY, PAUSE_MS: '10' }
  const first = startSample('llmbatching/loop.ts', [server.url, MODEL], env)
  await first.says('not yet\n')
  first.kill('SIGKILL')
  await first.ended
  upstream.letGo()
  expect((await runSample('llmbatching/loop.ts', [server.url, MODEL], env)).stdout).toBe(`${ANSWER}\n`)
  expect(upstream.answered).toEqual([`${MODEL} batch`])
})

describe('the same loop', () => {
  test.each([
    ['4', OpenAI4],
    ['6', OpenAI6],
    ['7', OpenAI],
  ])('by version %s of the client', async (_, Client) => {
    await using folder = await temporaryFolder()
    await using upstream = await startUpstream()
    upstream.hold()
    await using server = await gateway(upstream, folder.path, '--max-hold-ms', '50')
    const client = new Client({ baseURL: server.url, apiKey: API_KEY, maxRetries: 0 })
    let looks = 0
    const onPending = () => {
      if (++looks === 3) upstream.letGo()
    }
    expect(await askUntilDone(client, { model: MODEL, pauseMs: 10, onPending })).toBe(ANSWER)
    expect(looks).toBeGreaterThanOrEqual(3)
    expect(upstream.answered).toEqual([`${MODEL} batch`])
  })
})

test('its call by curl, without /v1, is answered; its health check says that all is well', async () => {
  await using folder = await temporaryFolder()
  await using upstream = await startUpstream()
  await using server = await gateway(upstream, folder.path)
  const answer = await curled('llmbatching/ask.sh', [server.url, MODEL], { API_KEY })
  expect(answer).toMatchObject({
    status: 200,
    body: { object: 'response', status: 'completed', model: MODEL },
  })
  expect(JSON.stringify(answer.body)).toContain(ANSWER)
  const health = await fetch(`${server.url}/healthcheck`)
  expect([health.status, await health.text()]).toEqual([200, 'OK'])
})

test('without its key nothing is begun', async () => {
  await using folder = await temporaryFolder()
  await using upstream = await startUpstream()
  await using server = await gateway(upstream, folder.path)
  const wrong = await curled('llmbatching/ask.sh', [server.url, MODEL], { API_KEY: 'another' })
  expect(wrong).toMatchObject({ status: 401, body: { error: { message: expect.any(String) } } })
  const loop = await runSample('llmbatching/loop.ts', [server.url, MODEL], { API_KEY: 'another' })
  expect(loop.code).not.toBe(0)
  expect(loop.stderr).toContain('AuthenticationError')
  expect(upstream.answered).toEqual([])
})

test('it is set up by its own names: the port, the key, and the database', { timeout: 120_000 }, async () => {
  await using postgres = await temporaryDatabase(await startPostgres())
  await using upstream = await startUpstream()
  const port = await freePort()
  await using server = await startGateway(QUICK, {
    OPENAI_BASE_URL: upstream.url,
    API_KEY,
    PORT: String(port),
    NIGHTSHIFT_PORT: '',
    DATABASE_URL: `${postgres.url}?schema=public`,
  })
  expect(server.startLine).toContain('PostgreSQL')
  expect(server.url).toBe(`http://127.0.0.1:${port}`)
  const loop = await runSample('llmbatching/loop.ts', [server.url, MODEL], { API_KEY })
  expect(loop.stdout).toBe(`${ANSWER}\n`)
})
