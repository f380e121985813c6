import { inspect } from 'node:util'
import { describe, expect, test } from 'vitest'
import { createEmulator } from '../../src/emulator/create-emulator.ts'
import { type BatchLimitsOptions, fetchBatchLimits } from '../../src/openai/batch-limits.ts'

const KEY = 'sk-admin-0123456789'
const AT_ONCE = { 'retry-after-ms': '0' }

interface Call {
  readonly url: URL
  readonly headers: Headers
}

/** Asks a server that gives these answers in turn, the last one for ever. */
function setUp(answers: readonly (() => Response)[], extra: Partial<BatchLimitsOptions> = {}) {
  const calls: Call[] = []
  const fetch: BatchLimitsOptions['fetch'] = async (input, init) => {
    const { url, headers } = new Request(input, init)
    calls.push({ url: new URL(url), headers })
    const answer = answers[calls.length - 1] ?? answers.at(-1)
    if (!answer) throw new TypeError('no network')
    return answer()
  }
  const options = {
    adminKey: KEY,
    project: 'proj_1',
    organization: 'org_1',
    timeoutMs: 5000,
    fetch,
    ...extra,
  }
  return { calls, ask: (signal?: AbortSignal) => fetchBatchLimits(options, signal) }
}

const json =
  (value: unknown, status = 200, headers: Readonly<Record<string, string>> = {}) =>
  () =>
    Response.json(value, { status, headers })
const limit = (model: string, tokens?: number | null) => ({
  object: 'project.rate_limit',
  id: `rl-${model}`,
  model,
  max_requests_per_1_minute: 5,
  batch_1_day_max_input_tokens: tokens,
})
const page = (data: readonly unknown[], more: object = { has_more: false }) =>
  json({ object: 'list', data, ...more })

describe('the limits of a project', () => {
  test('are read by the admin key, over all pages; models without one are left out', async () => {
    const { ask, calls } = setUp([
      page([limit('a', 100), limit('b')], { has_more: true, last_id: 'cursor-b' }),
      page([limit('c', null), limit('z', 0), limit('d', 200)], { has_more: true }),
      page([limit('e', 300)]),
    ])
    expect(await ask()).toEqual(
      new Map([
        ['a', 100],
        ['d', 200],
        ['e', 300],
      ]),
    )
    expect(calls.map(({ url }) => url.pathname)).toEqual(
      Array.from({ length: 3 }, () => '/v1/organization/projects/proj_1/rate_limits'),
    )
    expect(calls.map(({ url }) => url.searchParams.get('after'))).toEqual([null, 'cursor-b', 'rl-d'])
    expect(calls[0]?.headers.get('authorization')).toBe(`Bearer ${KEY}`)
    expect(calls[0]?.headers.get('openai-organization')).toBe('org_1')
    expect(calls[0]?.headers.has('openai-project')).toBe(false)
  })

  test('are the ones the emulator keeps', async () => {
    const emulator = createEmulator({ limits: { enqueuedTokens: 90_000 }, models: ['gpt-5', 'gpt-5-mini'] })
    const { ask } = setUp([], { fetch: emulator.fetch })
    expect([...(await ask())]).toEqual([
      ['gpt-5', 90_000],
      ['gpt-5-mini', 90_000],
    ])
    await emulator.close()
  })

  test('of a server that names more pages for ever come to an end', async () => {
    const { ask, calls } = setUp([page([limit('a', 100)], { has_more: true, last_id: 'rl-a' })])
    expect((await ask()).size).toBe(1)
    expect(calls.length).toBeLessThanOrEqual(100)
  })

  test('are asked for again when the server stumbles', async () => {
    const { ask, calls } = setUp([json({}, 500, AT_ONCE), page([limit('a', 1)])])
    expect((await ask()).get('a')).toBe(1)
    expect(calls).toHaveLength(2)
  })
})

describe('what goes wrong', () => {
  test('a refused key is said once, and not shown', async () => {
    const refusal = { error: { message: `Incorrect API key provided: ${KEY}`, code: 'invalid_api_key' } }
    const { ask, calls } = setUp([json(refusal, 401)])
    const error = await ask().catch((thrown: unknown) => thrown)
    expect(error).toMatchObject({
      name: 'RemoteError',
      status: 401,
      remoteCode: 'invalid_api_key',
      retryable: false,
    })
    expect(inspect(error, { depth: 9 })).toContain('GET /organization/projects/proj_1/rate_limits')
    expect(inspect(error, { depth: 9 })).not.toContain(KEY)
    expect(calls).toHaveLength(1)
  })

  test.each([
    ['no list', json({ object: 'project' })],
    ['a list of others', json({ object: 'list', data: [{ id: 'x' }] })],
    ['a page of HTML', () => new Response('<html>', { headers: { 'content-type': 'text/html' } })],
    ['broken JSON', () => new Response('{"data":[', { headers: { 'content-type': 'application/json' } })],
  ])('%s is a bad reply', async (_, answer) => {
    await expect(setUp([answer]).ask()).rejects.toMatchObject({ name: 'RemoteError', code: 'bad_reply' })
  })

  test('an end by the caller is told as such', async () => {
    await expect(setUp([page([])]).ask(AbortSignal.abort())).rejects.toMatchObject({ code: 'aborted' })
  })

  test.each([
    ['missing_admin_key', { adminKey: '' }],
    ['bad_project', { project: '' }],
    ['bad_project', { project: '../..' }],
    ['bad_base_url', { baseURL: 'ftp://x' }],
  ])('%s is a usage error, and nothing is sent', async (code, extra) => {
    const { ask, calls } = setUp([page([])], extra)
    await expect(ask()).rejects.toMatchObject({ name: 'UsageError', code })
    expect(calls).toEqual([])
  })
})
