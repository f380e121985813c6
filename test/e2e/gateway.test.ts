import { readdir, readFile, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { temporaryFolder } from '../support/folder.ts'
import { gatewayCommand } from '../support/gateway-command.ts'
import {
  type Curled,
  curl,
  freePort,
  startEmulator,
  startGateway,
  UPSTREAM_KEY,
} from '../support/gateway-process.ts'
import { startPostgres, temporaryDatabase } from '../support/postgres.ts'
import { runProgram } from '../support/program.ts'
import { TEST_CERT, TEST_CERT_KEY } from '../support/tls.ts'

const MAIN = 'src/cli/main.ts'
const FAST = { NIGHTSHIFT_WINDOW_MS: '50', NIGHTSHIFT_POLL_MIN_MS: '50', NIGHTSHIFT_POLL_MAX_MS: '50' }
const NEVER = { NIGHTSHIFT_WINDOW_MS: '600000' }

const bodyOf = (text: string, more = '') =>
  `{"model":"gpt-5-mini","messages":[{"role":"user","content":"${text}"}]${more}}`
const chat = (url: string, body: string, ...args: readonly string[]): Promise<Curled> =>
  curl(`${url}/v1/chat/completions`, '--data', body, ...args)
const mode = (name: string) => ['--header', `X-Nightshift-Mode: ${name}`]
const json = ({ body }: Curled): Record<string, unknown> => JSON.parse(body)
const ANSWER = { object: 'chat.completion', choices: [{ message: { role: 'assistant' } }] }

/** Asks again and again, as a script would that waits for an answer, until the test is over. */
const untilFor =
  (signal: AbortSignal) =>
  async (ask: () => Promise<Curled>, isIt: (got: Curled) => boolean): Promise<Curled> => {
    for (;;) {
      signal.throwIfAborted()
      const got = await ask()
      if (isIt(got)) return got
    }
  }

let emulator: Awaited<ReturnType<typeof startEmulator>>
beforeAll(async () => {
  emulator = await startEmulator()
}, 60_000)
afterAll(() => emulator[Symbol.asyncDispose]())

// Each has gateways and data of its own; they mostly wait, for programs that start and for batches.
describe.concurrent('nightshift gateway', { timeout: 120_000 }, () => {
  test('says in one line where it serves, and to whom; stops in order at SIGTERM', async () => {
    await using folder = await temporaryFolder()
    const dataDir = join(folder.path, 'data')
    await using gateway = await startGateway(['--data-dir', dataDir], { MONGO_HOST: 'db' })
    expect(gateway.startLine).toBe(
      `Nightshift gateway at ${gateway.url}/v1 (no key is asked for: any program on this machine may call; data in ${dataDir}; stop it with Ctrl+C)\n`,
    )
    expect(gateway.url).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/)
    expect(await curl(`${gateway.url}/healthz`)).toMatchObject({ status: 200 })
    const port = new URL(gateway.url).port
    const health = await gatewayCommand(['health'], { NIGHTSHIFT_PORT: port })
    expect(health).toMatchObject({ code: 0, stdout: expect.stringContaining('"ok"') })
    gateway.kill('SIGTERM')
    const { code, stdout, stderr } = await gateway.ended
    expect([code, stdout]).toEqual([0, gateway.startLine])
    const events = stderr.split('\n').flatMap((line) => (line === '' ? [] : [JSON.parse(line)]))
    expect(events[0]).toMatchObject({
      level: 'warn',
      event: 'option',
      message: expect.stringContaining('MONGO_HOST'),
    })
    expect(events.at(-1)).toMatchObject({ level: 'info', event: 'stopped' })
  })

  test('answers curl in each mode', async ({ signal }) => {
    const until = untilFor(signal)
    await using folder = await temporaryFolder()
    await using gateway = await startGateway(['--data-dir', folder.path, '--cache-ttl', '60'], {
      ...FAST,
      ...emulator.env,
    })
    const { url } = gateway

    const held = await chat(url, bodyOf('held'))
    expect([held.status, json(held)]).toMatchObject([200, ANSWER])
    expect(held.headers.get('x-nightshift-route')).toBe('batch')

    const streamed = await chat(url, bodyOf('streamed', ',"stream":true'))
    expect(streamed.headers.get('content-type')).toContain('text/event-stream')
    expect(streamed.body).toMatch(/^data: \{.*"chat\.completion\.chunk"/m)
    expect(streamed.body.trimEnd()).toMatch(/data: \[DONE\]$/)

    const accepted = await chat(url, bodyOf('later'), ...mode('async'))
    expect(accepted.status).toBe(202)
    const where = `${url}${accepted.headers.get('location')}`
    const done = await until(
      () => curl(where),
      (got) => json(got).status === 'completed',
    )
    expect(json(done)).toMatchObject({ id: json(accepted).id })

    const first = await chat(url, bodyOf('polled'), ...mode('poll'))
    expect(first.status).toBe(422)
    // A script that polls wants to hear it, rather than its SDK to ask again.
    expect(first.headers.get('x-should-retry')).toBe('false')
    expect(Number(first.headers.get('retry-after'))).toBeLessThanOrEqual(60)
    const polled = await until(
      () => chat(url, bodyOf('polled'), ...mode('poll')),
      ({ status }) => status !== 422,
    )
    expect([polled.status, json(polled)]).toMatchObject([200, ANSWER])

    const cached = await chat(url, bodyOf('held'), ...mode('cache'))
    expect([cached.status, cached.body]).toEqual([200, held.body])
    expect(cached.headers.get('x-nightshift-route')).toBe('cache')
    expect(await chat(url, bodyOf('never asked'), ...mode('cache'))).toMatchObject({ status: 404 })
  })

  test('answers held calls with a status by which clients come back when it stops, and goes on when it is started', async ({
    signal,
  }) => {
    const until = untilFor(signal)
    await using folder = await temporaryFolder()
    const args = ['--data-dir', folder.path]
    await using before = await startGateway(args, { ...NEVER, ...emulator.env })
    const calls = ['one', 'two', 'three'].map((text) => chat(before.url, bodyOf(text)))
    const later = await chat(before.url, bodyOf('four'), ...mode('async'))
    await until(
      () => curl(`${before.url}/metrics`),
      ({ body }) => /^nightshift_\S*held\S* 3$/m.test(body),
    )
    before.kill('SIGTERM')
    for (const { status, headers } of await Promise.all(calls)) {
      expect([status, headers.get('x-should-retry')]).toEqual([503, 'true'])
      expect(Number(headers.get('retry-after'))).toBeLessThanOrEqual(60)
    }
    expect(await before.ended).toMatchObject({ code: 0, signal: null })

    await using after = await startGateway(args, { ...FAST, ...emulator.env })
    const answers = await Promise.all(['one', 'two', 'three'].map((text) => chat(after.url, bodyOf(text))))
    for (const answer of answers) expect([answer.status, json(answer)]).toMatchObject([200, ANSWER])
    const where = `${after.url}${later.headers.get('location')}`
    await until(
      () => curl(where),
      (got) => json(got).status === 'completed',
    )
    // The calls that came back were known again: four requests in all, each in one batch.
    const batches = await curl(`${after.url}/v1/batches`)
    const lines = [...batches.body.matchAll(/"total": ?(\d+)/g)].map(([, total]) => Number(total))
    expect(lines.reduce((sum, total) => sum + total, 0)).toBe(4)
  })

  test('a kill loses nothing that was accepted', async ({ signal }) => {
    const until = untilFor(signal)
    await using folder = await temporaryFolder()
    const args = ['--data-dir', folder.path]
    await using before = await startGateway(args, { ...NEVER, ...emulator.env })
    const accepted = await chat(before.url, bodyOf('killed'), ...mode('async'))
    before.kill('SIGKILL')
    await before.ended
    await using after = await startGateway(args, { ...FAST, ...emulator.env })
    const where = `${after.url}${accepted.headers.get('location')}`
    const done = await until(
      () => curl(where),
      (got) => !['queued', 'in_progress'].includes(String(json(got).status)),
    )
    expect(json(done)).toMatchObject({ id: json(accepted).id, status: 'completed' })
  })

  test('one folder is for one gateway, and one port', async () => {
    await using folder = await temporaryFolder()
    await using gateway = await startGateway(['--data-dir', join(folder.path, 'a')])
    const env = { OPENAI_API_KEY: 'sk-x' }
    const again = await gatewayCommand(['--port', '0', '--data-dir', join(folder.path, 'a')], env)
    expect(again).toMatchObject({
      code: 1,
      stdout: '',
      stderr: expect.stringMatching(/^error: the folder \S+ is in use by another gateway[^\n]+\n$/),
    })
    const { port } = new URL(gateway.url)
    const taken = await gatewayCommand(['--port', port, '--data-dir', join(folder.path, 'b')], env)
    expect(taken).toMatchObject({ code: 2, stdout: '' })
    expect(taken.stderr).toMatch(/^error: cannot listen on 127\.0\.0\.1:\d+: [^\n]+\n$/m)
    expect(await curl(`${gateway.url}/healthz`)).toMatchObject({ status: 200 })
  })

  test('asks for keys once there are any, also for those made beside it', async ({ signal }) => {
    const until = untilFor(signal)
    await using folder = await temporaryFolder()
    const place = { NIGHTSHIFT_DATA_DIR: folder.path }
    await using gateway = await startGateway([], { ...place, BATCH_SERVER_API_KEY: 'the-own-key' })
    expect(gateway.startLine).toContain('(callers need a key; ')
    const list = (key: string) => curl(`${gateway.url}/v1/batches`, '--oauth2-bearer', key)
    expect(await curl(`${gateway.url}/v1/batches`)).toMatchObject({ status: 401 })
    expect(await list('another-key')).toMatchObject({ status: 401 })
    expect(await list('the-own-key')).toMatchObject({ status: 200 })

    const keys = async (...args: readonly string[]) => {
      const { code, stdout } = await gatewayCommand(['keys', ...args, '--json'], place)
      expect(code).toBe(0)
      return JSON.parse(stdout)
    }
    const added = await keys('add', 'acme')
    await until(
      () => list(added.key),
      ({ status }) => status === 200,
    )
    await keys('revoke', added.id)
    await until(
      () => list(added.key),
      ({ status }) => status === 401,
    )

    gateway.kill('SIGTERM')
    const { stderr } = await gateway.ended
    expect(stderr).not.toMatch(new RegExp(`the-own-key|another-key|${added.key}|${UPSTREAM_KEY}`))
    for (const file of await readdir(folder.path))
      expect(await readFile(join(folder.path, file), 'latin1')).not.toMatch(
        new RegExp(`${added.key}|the-own-key|${UPSTREAM_KEY}`),
      )
  })

  test('two gateways share a PostgreSQL, and one goes on where the other was killed', async ({ signal }) => {
    const until = untilFor(signal)
    const server = await startPostgres()
    await using database = await temporaryDatabase(server)
    const place = { NIGHTSHIFT_POSTGRES: database.url }
    const made = await gatewayCommand(['keys', 'add', 'acme', '--json'], place)
    const { key } = JSON.parse(made.stdout)
    // The keys of the database are enough for any address, and are asked for on loopback, too.
    await using first = await startGateway([], { ...place, ...emulator.env, ...NEVER })
    expect(first.startLine).toContain('(callers need a key; data in PostgreSQL; ')
    await using second = await startGateway([], { ...place, ...emulator.env, ...FAST })
    expect(await chat(second.url, bodyOf('?'))).toMatchObject({ status: 401 })

    const mine = ['--oauth2-bearer', key]
    const accepted = await chat(first.url, bodyOf('killed'), ...mode('async'), ...mine)
    expect(accepted.status).toBe(202)
    first.kill('SIGKILL')
    await first.ended
    const where = `${second.url}${accepted.headers.get('location')}`
    const done = await until(
      () => curl(where, ...mine),
      (got) => !['queued', 'in_progress'].includes(String(json(got).status)),
    )
    expect(json(done)).toMatchObject({ id: json(accepted).id, status: 'completed' })
    second.kill('SIGTERM')
    const { code, stderr } = await second.ended
    expect(code).toBe(0)
    expect(stderr).not.toContain(key)
    expect(stderr).not.toContain(database.url)
  })

  test('serves HTTPS', async () => {
    await using folder = await temporaryFolder()
    const [cert, key] = [join(folder.path, 'cert.pem'), join(folder.path, 'key.pem')]
    await writeFile(cert, TEST_CERT)
    await writeFile(key, TEST_CERT_KEY)
    const tls = { NIGHTSHIFT_TLS_CERT: cert, NIGHTSHIFT_TLS_KEY: key }
    await using gateway = await startGateway(['--data-dir', join(folder.path, 'data')], tls)
    expect(gateway.url).toMatch(/^https:/)
    expect(await curl(`${gateway.url}/healthz`)).toMatchObject({ status: 200 })
    const { port } = new URL(gateway.url)
    expect(await gatewayCommand(['health'], { ...tls, NIGHTSHIFT_PORT: port })).toMatchObject({ code: 0 })
  })

  test('a second signal ends it at once, though a call is on its way', async () => {
    const asked = Promise.withResolvers<void>()
    const silent = createServer(() => asked.resolve())
    const port = await freePort()
    silent.listen(port, '127.0.0.1')
    await using folder = await temporaryFolder()
    await using gateway = await startGateway(['--data-dir', folder.path], {
      OPENAI_BASE_URL: `http://127.0.0.1:${port}/v1`,
    })
    const call = curl(`${gateway.url}/v1/moderations`, '--data', '{"input":"?"}').catch(() => undefined)
    await asked.promise
    gateway.kill('SIGINT')
    await gateway.says('"stopping"')
    gateway.kill('SIGINT')
    expect(await gateway.ended).toMatchObject({ code: 130, signal: null })
    await call
    silent.closeAllConnections()
    silent.close()
  })

  // All that it refuses is in test/cli/gateway-refusals.test.ts; here is what a shell sees of it.
  test.each([
    [[], {}, 2, 'set OPENAI_API_KEY to the key of the server that does the work'],
    [['--postgres', 'postgres://127.0.0.1:1/x'], { OPENAI_API_KEY: 'sk-x' }, 3, 'cannot be reached'],
  ] as const)('%j with %j ends with one line', async (args, env, code, message) => {
    await using folder = await temporaryFolder()
    const dataDir = { NIGHTSHIFT_DATA_DIR: join(folder.path, 'data') }
    const ended = await runProgram(MAIN, ['gateway', ...args], { ...dataDir, ...env })
    expect(ended).toMatchObject({ code, stdout: '', stderr: expect.stringMatching(/^error: [^\n]+\n$/) })
    expect(ended.stderr).toContain(message)
    expect(await readdir(folder.path)).toEqual([])
  })
})
