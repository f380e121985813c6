import { expect, test } from 'vitest'
import { temporaryFolder } from '../support/folder.ts'
import { startGateway } from '../support/gateway-process.ts'
import { startPostgres, temporaryDatabase } from '../support/postgres.ts'
import { runSample, startSample } from './sample.ts'
import { ANSWER, startUpstream, type Upstream } from './upstream.ts'

const MODEL = 'gpt-4o-mini'
const BATCH_SERVER_API_KEY = 'key-of-the-callers'
const QUICK = ['--window-ms', '20', '--poll-min-ms', '20', '--poll-max-ms', '100']

const gateway = (upstream: Upstream, dataDir: string) =>
  startGateway([...QUICK, '--data-dir', dataDir], { OPENAI_BASE_URL: upstream.url, BATCH_SERVER_API_KEY })

test.each(['', '/v1'])('it says to ask again, and then the answer; its URL ends in "%s"', async (end) => {
  await using folder = await temporaryFolder()
  await using upstream = await startUpstream()
  upstream.hold()
  await using server = await gateway(upstream, folder.path)
  const args = [`${server.url}${end}`, MODEL]
  const ask = async () => (await runSample('client-library/ask.ts', args, { BATCH_SERVER_API_KEY })).stdout
  expect(await ask()).toBe('Ask again in a few minutes.\n')
  expect(await ask()).toBe('Ask again in a few minutes.\n')
  upstream.letGo()
  await expect.poll(ask, { timeout: 20_000 }).toBe(`${ANSWER}\n`)
  expect(await ask()).toBe(`${ANSWER}\n`)
  expect(upstream.answered).toEqual([`${MODEL} batch`])
})

test('it waits for the answer, over a restart of the gateway', async () => {
  await using folder = await temporaryFolder()
  await using upstream = await startUpstream()
  upstream.hold()
  let port: string
  let waiting: ReturnType<typeof startSample>
  {
    await using server = await gateway(upstream, folder.path)
    port = new URL(server.url).port
    waiting = startSample('client-library/wait.ts', [server.url, MODEL], { BATCH_SERVER_API_KEY })
    await waiting.says('not yet\n')
  }
  await waiting.says('not yet\nnot yet\n')
  const env = { OPENAI_BASE_URL: upstream.url, BATCH_SERVER_API_KEY }
  await using _ = await startGateway([...QUICK, '--data-dir', folder.path, '--port', port], env)
  upstream.letGo()
  expect((await waiting.ended).stdout).toBe(`${ANSWER}\n`)
  expect(upstream.answered).toEqual([`${MODEL} batch`])
})

test('with another key it is refused', async () => {
  await using folder = await temporaryFolder()
  await using upstream = await startUpstream()
  await using server = await gateway(upstream, folder.path)
  const refused = await runSample('client-library/ask.ts', [server.url, MODEL], {
    BATCH_SERVER_API_KEY: 'another',
  })
  expect(refused.code).not.toBe(0)
  expect(refused.stderr).toContain('401')
})

test('its server is set up by its own names', { timeout: 120_000 }, async () => {
  await using postgres = await temporaryDatabase(await startPostgres())
  await using upstream = await startUpstream()
  const env = { OPENAI_BASE_URL: upstream.url, BATCH_SERVER_API_KEY, POSTGRES_URL: postgres.url }
  await using server = await startGateway(QUICK, env)
  expect(server.startLine).toContain('PostgreSQL')
  const { stdout } = await runSample('client-library/wait.ts', [server.url, MODEL], { BATCH_SERVER_API_KEY })
  expect(stdout).toBe(`${ANSWER}\n`)
})
