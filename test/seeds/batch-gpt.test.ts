import { expect, test } from 'vitest'
import { z } from 'zod'
import { temporaryFolder } from '../support/folder.ts'
import { startGateway } from '../support/gateway-process.ts'
import { curled, startSample } from './sample.ts'
import { ANSWER, startUpstream, type Upstream } from './upstream.ts'

const MODEL = 'gpt-4o-mini'
/** As its users have it, but quicker; the second name counts in seconds, of which none is short enough. */
const QUICK = {
  COLLATE_BATCHES_FOR_DURATION_IN_MS: '20',
  NIGHTSHIFT_POLL_MIN_MS: '20',
  NIGHTSHIFT_POLL_MAX_MS: '100',
}

/** The gateway as its users set up their server: by the names of its variables alone. */
const gateway = (upstream: Upstream, mode: string, dataDir: string) =>
  startGateway(['--data-dir', dataDir], {
    ...QUICK,
    OPENAI_BASE_URL: upstream.url,
    CLIENT_SERVING_MODE: mode,
  })

const Batch = z.object({
  id: z.string(),
  object: z.literal('batch'),
  endpoint: z.literal('/v1/chat/completions'),
  status: z.string(),
  request_counts: z.object({ total: z.number(), completed: z.number(), failed: z.number() }),
  metadata: z.record(z.string(), z.string()).nullable(),
})
const Batches = z.object({
  object: z.literal('list'),
  data: z.array(Batch),
  first_id: z.string(),
  last_id: z.string(),
  has_more: z.boolean(),
})

const completion = {
  status: 200,
  body: {
    object: 'chat.completion',
    model: MODEL,
    choices: [{ index: 0, finish_reason: 'stop', message: { role: 'assistant', content: ANSWER } }],
  },
}

test('sync: the call is held, and has its answer from a batch', async () => {
  await using folder = await temporaryFolder()
  await using upstream = await startUpstream()
  await using server = await gateway(upstream, 'sync', folder.path)
  expect(await curled('batch-gpt/chat.sh', [server.url, MODEL])).toMatchObject(completion)
  expect(upstream.answered).toEqual([`${MODEL} batch`])
})

test('async: the call is taken at once, and the same call later has the answer', async () => {
  await using folder = await temporaryFolder()
  await using upstream = await startUpstream()
  upstream.hold()
  await using server = await gateway(upstream, 'async', folder.path)
  const ask = () => curled('batch-gpt/chat.sh', [server.url, MODEL])
  const taken = await ask()
  const id = expect.stringMatching(/^req_/)
  expect(taken).toMatchObject({ status: 202, body: { id, object: 'request', status: 'queued' } })
  expect(await ask()).toEqual(taken)
  upstream.letGo()
  await expect.poll(ask, { timeout: 20_000 }).toMatchObject(completion)
  expect(await ask()).toMatchObject(completion)
  expect(upstream.answered).toHaveLength(1)
})

test('cache: what is stored is served, and nothing else is begun; what was begun is finished', async () => {
  await using folder = await temporaryFolder()
  await using upstream = await startUpstream()
  const other = 'gpt-4.1-mini'
  {
    await using server = await gateway(upstream, 'sync', folder.path)
    expect(await curled('batch-gpt/chat.sh', [server.url, MODEL])).toMatchObject(completion)
  }
  upstream.hold()
  {
    await using server = await gateway(upstream, 'async', folder.path)
    expect(await curled('batch-gpt/chat.sh', [server.url, other])).toMatchObject({ status: 202 })
  }
  await using server = await gateway(upstream, 'CACHE', folder.path)
  expect(await curled('batch-gpt/chat.sh', [server.url, MODEL])).toMatchObject(completion)
  const ask = () => curled('batch-gpt/chat.sh', [server.url, other])
  const missing = { status: 404, body: { error: { type: 'invalid_request_error', code: 'not_in_cache' } } }
  expect(await ask()).toMatchObject(missing)
  expect(await curled('batch-gpt/chat.sh', [server.url, 'gpt-5-nano'])).toMatchObject(missing)
  upstream.letGo()
  await expect.poll(ask, { timeout: 20_000 }).toMatchObject({ status: 200 })
  expect(upstream.answered).toEqual([`${MODEL} batch`, `${other} batch`])
})

test('a second call has the answer of the first, as it was there, where the guide says how', async () => {
  await using folder = await temporaryFolder()
  await using upstream = await startUpstream()
  const env = { ...QUICK, OPENAI_BASE_URL: upstream.url, CLIENT_SERVING_MODE: 'sync' }
  const flags = ['--cache-ttl', '315360000', '--retention-days', '3650']
  await using server = await startGateway(['--data-dir', folder.path, ...flags], env)
  const first = await curled('batch-gpt/chat.sh', [server.url, MODEL])
  expect(await curled('batch-gpt/chat.sh', [server.url, MODEL])).toEqual(first)
  expect(upstream.answered).toHaveLength(1)
})

test('any other mode is an error, not sync', async () => {
  await using folder = await temporaryFolder()
  await using upstream = await startUpstream()
  const start = gateway(upstream, 'sometimes', folder.path)
  await expect(start).rejects.toThrow('CLIENT_SERVING_MODE')
})

test('batches are listed, retrieved and cancelled in the exact form of the API', async () => {
  await using folder = await temporaryFolder()
  await using upstream = await startUpstream()
  await using server = await gateway(upstream, 'sync', folder.path)
  await curled('batch-gpt/chat.sh', [server.url, MODEL])
  const list = async () => Batches.parse((await curled('batch-gpt/batches.sh', [server.url])).body)
  const [first] = (await list()).data
  expect(first).toMatchObject({ status: 'completed', request_counts: { total: 1, completed: 1, failed: 0 } })

  upstream.hold()
  const held = startSample('batch-gpt/chat.sh', [server.url, 'gpt-4.1-mini'])
  await expect.poll(async () => (await list()).data.length, { timeout: 20_000 }).toBe(2)
  const { data, has_more, first_id, last_id } = await list()
  expect({ has_more, first_id, last_id }).toEqual({
    has_more: false,
    first_id: data[0]?.id,
    last_id: first?.id,
  })
  const id = data[0]?.id ?? ''
  const one = async () => Batch.parse((await curled('batch-gpt/batch.sh', [server.url, id])).body).status
  await expect.poll(one, { timeout: 20_000 }).toBe('in_progress')
  const cancelled = await curled('batch-gpt/cancel.sh', [server.url, id])
  expect(cancelled).toMatchObject({ status: 200, body: { id, object: 'batch' } })
  upstream.letGo()
  // Whoever waits hears of it, and is not left hanging.
  const { stdout } = await held.ended
  expect(stdout).toMatch(/"error":\{.*cancelled.*\}\}\n4\d\d\n$/s)
  await expect.poll(one, { timeout: 20_000 }).toBe('cancelled')

  const again = await curled('batch-gpt/cancel.sh', [server.url, first?.id ?? ''])
  expect(again).toMatchObject({ status: 409, body: { error: { message: expect.any(String) } } })
  const absent = {
    status: 404,
    body: { error: { type: 'invalid_request_error', message: expect.any(String) } },
  }
  expect(await curled('batch-gpt/batch.sh', [server.url, 'batch_none'])).toMatchObject(absent)
  expect(await curled('batch-gpt/cancel.sh', [server.url, 'batch_none'])).toMatchObject(absent)
})

test('what was left of its database is told of, and not used', async () => {
  await using folder = await temporaryFolder()
  await using upstream = await startUpstream()
  const env = { ...QUICK, OPENAI_BASE_URL: upstream.url, MONGO_HOST: 'db', MONGO_PASSWORD: 'secret' }
  await using server = await startGateway(['--data-dir', folder.path], env)
  server.kill('SIGTERM')
  const { stdout, stderr } = await server.ended
  expect(stderr).toContain('MONGO_HOST')
  expect(stdout + stderr).not.toContain('secret')
})

test('its other variables count as they did', async () => {
  await using folder = await temporaryFolder()
  const env = { COLLECT_BATCH_STATS_POLLING_MAX_INTERVAL_SECONDS: '-1', NIGHTSHIFT_DATA_DIR: folder.path }
  await expect(startGateway([], env)).rejects.toThrow('COLLECT_BATCH_STATS_POLLING_MAX_INTERVAL_SECONDS')
  const collate = { COLLATE_BATCHES_FOR_DURATION_IN_MS: 'soon', NIGHTSHIFT_DATA_DIR: folder.path }
  await expect(startGateway([], collate)).rejects.toThrow('COLLATE_BATCHES_FOR_DURATION_IN_MS')
})
