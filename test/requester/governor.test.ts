import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { createEmulator, type EmulatorOptions, serveEmulator } from '../../src/emulator/index.ts'
import { OpenAIRemoteApi } from '../../src/openai/remote-api.ts'
import { QuotaFile } from '../../src/requester/quota-board.ts'
import type { TaskManagerOptions } from '../../src/task/task-manager.ts'
import { systemClock } from '../../src/util/clock.ts'
import { runProgram } from '../support/program.ts'
import {
  BASE_URL,
  crashing,
  harness,
  names,
  stepsOf,
  taskLines,
  temporaryFolder,
} from '../support/task-harness.ts'
import { clockOfFastDisk, type VirtualClock } from '../support/virtual-clock.ts'
import { WORDY_MODEL, wordyTask } from '../support/wordy-task.ts'

const LIMIT = 90_000
const MINUTE_MS = 60_000
const KEY = 'sk-test'
/** Long words: a real count, and so the estimate, is well below what the emulator counts. */
const LONG_WORDS = 'several simple words of text '

const fullAt = (enqueuedTokens: number): EmulatorOptions => ({
  limits: { enqueuedTokens },
  latency: { validateMs: 2000, runMs: 5 * MINUTE_MS, perRequestMs: 0 },
})

const quotaPath = (stateDir: string, baseURL: string): string =>
  join(stateDir, `quota-${new OpenAIRemoteApi({ apiKey: KEY, baseURL, timeoutMs: 1000 }).fingerprint}.json`)

/** An account, with a state directory that its tasks share. */
function account(options: EmulatorOptions = fullAt(LIMIT), clock?: VirtualClock) {
  const world = harness(options, clock)
  const stateDir = temporaryFolder()
  const env = { OPENAI_API_KEY: KEY, NIGHTSHIFT_STATE_DIR: stateDir }
  const path = quotaPath(stateDir, BASE_URL)
  return {
    ...world,
    env,
    options: (over: Partial<TaskManagerOptions> = {}) =>
      world.options({ env, remoteUpdateInterval: 10, ...over }),
    board: () => JSON.parse(readFileSync(path, 'utf8')),
    /** What some other task left in the file. */
    leave: (board: object) => writeFileSync(path, JSON.stringify({ version: 1, ...board })),
    /** As a task of this account would use it. */
    quota: () => new QuotaFile({ path, clock: world.clock, task: 'another task' }),
  }
}

/** Batches that the server refused for want of room. */
const refusals = (dir: string): number =>
  stepsOf(dir, 'abandoned').filter(({ why }) => String(why).startsWith('token_limit_exceeded')).length

const output = (dir: string): string[] => taskLines<string>(dir, '_output.jsonl').sort()
const reasons = (dir: string): Set<unknown> => new Set(stepsOf(dir, 'requeue').map(({ why }) => why))
const sentAt = (dir: string): number[] => stepsOf(dir, 'intent').map(({ at }) => Number(at))

describe('an account of 90k enqueued tokens', () => {
  test('lets a job of 2M through, with few refusals and no attempt used up, and is remembered', async () => {
    const { options, dir, board } = account()
    const summary = await new (wordyTask(400, 5000))(options()).run()
    expect(summary).toMatchObject({ complete: true, succeeded: 400, failed: 0, retries: 0, directSets: 0 })
    expect(output(dir)).toEqual(names(400).sort())
    expect(refusals(dir)).toBeLessThanOrEqual(5)
    expect(reasons(dir)).toEqual(new Set(['unsent']))
    expect(board()).toMatchObject({
      models: { [WORDY_MODEL]: { tokens: LIMIT, source: 'refusal' } },
      reservations: {},
    })

    const next = temporaryFolder()
    const again = await new (wordyTask(60, 5000))(options({ taskDir: next })).run()
    expect(again).toMatchObject({ complete: true, succeeded: 60 })
    expect(refusals(next)).toBe(0)
  })

  test('lets a job through whose tokens are more than estimated: batches get smaller', async () => {
    const { options, dir } = account()
    const summary = await new (wordyTask(100, 5000, LONG_WORDS))(options()).run()
    expect(summary).toMatchObject({ complete: true, succeeded: 100, retries: 0, directSets: 0 })
    expect(reasons(dir)).toEqual(new Set(['unsent']))
    // Without smaller batches none would ever get in.
    expect(refusals(dir)).toBeLessThanOrEqual(12)
  })

  test('gets a request that is larger directly, and the others by batch', async () => {
    const { options, dir, count } = account(fullAt(6000))
    class OneLarge extends wordyTask(10, 2000) {
      override *generateRequests() {
        yield* super.generateRequests()
        yield* [...new (wordyTask(1, 9000))(options()).generateRequests()].map((one) => ({
          ...one,
          key: 'large',
        }))
      }
    }
    const summary = await new OneLarge(options()).run()
    expect(summary).toMatchObject({ complete: true, succeeded: 11, retries: 0, directSets: 1 })
    expect(count('POST', '/v1/chat/completions')).toBe(1)
    expect(reasons(dir)).toEqual(new Set(['unsent']))
  })

  test('says so itself to who has an admin key, so that nothing is refused', async () => {
    const { options, env, dir, board, seen } = account()
    const told = { ...env, OPENAI_ADMIN_KEY: 'sk-admin', OPENAI_PROJECT_ID: 'proj_1' }
    const quiet = await new (wordyTask(100, 5000))(options({ env: told })).run()
    expect(quiet).toMatchObject({ complete: true, succeeded: 100 })
    expect(refusals(dir)).toBe(0)
    const asked = seen.filter(({ path }) => path.startsWith('/v1/organization/projects/proj_1/rate_limits'))
    expect(asked).toHaveLength(1)
    expect(() => board()).toThrow(/ENOENT/)
  })

  test('that cannot be asked is learned from refusals, after one warning', async () => {
    const { options, env, dir, warnings } = account({
      ...fullAt(LIMIT),
      intercept: (request, next) =>
        request.url.includes('/organization/')
          ? Promise.resolve(Response.json({ error: { message: 'not yours' } }, { status: 403 }))
          : next(),
    })
    const told = { ...env, OPENAI_ADMIN_KEY: 'sk-admin', OPENAI_PROJECT_ID: 'proj_1' }
    const summary = await new (wordyTask(60, 5000))(options({ env: told })).run()
    expect(summary).toMatchObject({ complete: true, succeeded: 60 })
    expect(refusals(dir)).toBeGreaterThan(0)
    expect(warnings('account_limits')).toHaveLength(1)
    expect(warnings('account_limits').join()).not.toContain('sk-admin')
  })
})

describe('tasks of one account', () => {
  test('share the limit once it is known, take turns, and all end', async () => {
    const latency = { validateMs: 2000, runMs: MINUTE_MS, perRequestMs: 0 }
    const { options, quota, board } = account({ ...fullAt(LIMIT), latency }, clockOfFastDisk())
    await quota().learn(WORDY_MODEL, LIMIT, 'refusal')
    const dirs = [temporaryFolder(), temporaryFolder()]
    const runs = dirs.map((taskDir) => new (wordyTask(100, 5000))(options({ taskDir })).run())
    for (const summary of await Promise.all(runs))
      expect(summary).toMatchObject({ complete: true, succeeded: 100, retries: 0 })
    // What they estimate is above the server's count: what they have too much together, it would refuse.
    expect(dirs.map(refusals)).toEqual([0, 0])
    expect(board()).toMatchObject({ reservations: {}, waiting: {} })
    const turns = dirs.flatMap((dir, task) => sentAt(dir).map((at) => ({ at, task })))
    turns.sort((a, b) => a.at - b.at)
    const switches = turns.filter(({ task }, place) => place > 0 && task !== turns[place - 1]?.task)
    expect(switches.length).toBeGreaterThan(4)
  }, 60_000)

  test('also do so from processes of their own', async () => {
    const emulator = createEmulator({
      limits: { enqueuedTokens: 10_000 },
      latency: { validateMs: 20, runMs: 300, perRequestMs: 0, finalizeMs: 10 },
    })
    const server = await serveEmulator(emulator, { port: 0 })
    onTestFinished(() => server.close().then(() => emulator.close()))
    const baseURL = `${server.url}/v1`
    const stateDir = temporaryFolder()
    const path = quotaPath(stateDir, baseURL)
    await new QuotaFile({ path, clock: systemClock, task: 'before' }).learn(WORDY_MODEL, 10_000, 'refusal')
    const env = { OPENAI_API_KEY: KEY, OPENAI_BASE_URL: baseURL, NIGHTSHIFT_STATE_DIR: stateDir }
    const dirs = [temporaryFolder(), temporaryFolder()]
    const ended = await Promise.all(
      dirs.map((dir) => runProgram('test/support/wordy-program.ts', [dir, '14', '1000'], env)),
    )
    for (const { stdout, stderr } of ended)
      expect(JSON.parse(stdout), stderr).toEqual({ complete: true, succeeded: 14, retries: 0 })
    expect(dirs.map(refusals)).toEqual([0, 0])
    expect(dirs.map((dir) => stepsOf(dir, 'created').length)).toEqual([2, 2])
    expect(JSON.parse(readFileSync(path, 'utf8'))).toMatchObject({ reservations: {} })
  }, 60_000)
})

describe('what a task left', () => {
  test.each([true, false])(
    'when it was killed while it created a batch (which came to be: %s) is taken up by its next run',
    async (acted) => {
      const world = account()
      let created = 0
      const at = ({ method, path }: { readonly method: string; readonly path: string }) =>
        method === 'POST' && path === '/v1/batches' && ++created === 3
      const { options, folder, bury } = crashing({ ...world, options: world.options }, { at, acted })
      const dead = new (wordyTask(60, 5000))(options).run()
      const taskDir = await folder
      bury()
      await dead.catch(() => undefined)
      const tags = Object.keys(world.board().reservations)
      const summary = await new (wordyTask(60, 5000))(world.options({ taskDir })).run()
      expect(summary).toMatchObject({ complete: true, succeeded: 60, retries: 0 })
      expect(output(taskDir)).toEqual(names(60).sort())
      expect(tags.length).toBeGreaterThan(0)
      expect(world.board()).toMatchObject({ reservations: {} })
    },
  )

  test('when its state folder cannot be used is nothing: the job goes on, after one warning', async () => {
    const { options, env, dir, warnings } = account()
    const file = join(temporaryFolder(), 'file')
    writeFileSync(file, '')
    const lost = { ...env, NIGHTSHIFT_STATE_DIR: file }
    const summary = await new (wordyTask(60, 5000))(options({ env: lost })).run()
    expect(summary).toMatchObject({ complete: true, succeeded: 60, retries: 0 })
    expect(reasons(dir)).toEqual(new Set(['unsent']))
    expect(warnings('quota_file')).toEqual([expect.stringContaining(file)])
  })

  test('when it died for good does not hold up others for long', async () => {
    const { options, dir, leave, board, clock } = account()
    const at = clock.now()
    leave({
      models: { [WORDY_MODEL]: { tokens: LIMIT, learnedAt: at, source: 'refusal' } },
      reservations: { 'dead-1-abc': { pool: WORDY_MODEL, tokens: LIMIT, at, task: '/gone/task' } },
      waiting: { gone: { pool: WORDY_MODEL, task: '/gone/other', since: at - 1, at } },
    })
    const summary = await new (wordyTask(60, 5000))(options()).run()
    expect(summary).toMatchObject({ complete: true, succeeded: 60, retries: 0 })
    expect(refusals(dir)).toBe(0)
    const [first = 0] = sentAt(dir)
    expect(first - at).toBeGreaterThanOrEqual(15 * MINUTE_MS)
    expect(board()).toMatchObject({ reservations: {} })
  })

  test('at the server, in batches that are over by now, holds nothing once somebody looks', async () => {
    const world = account({ latency: { validateMs: 100, runMs: 1000, perRequestMs: 0 } })
    await new (wordyTask(10, 1000))(world.options({ taskDir: temporaryFolder() })).run()
    const listed = await world.emulator.fetch(`${BASE_URL}/batches`)
    const [batch] = JSON.parse(await listed.text()).data
    const at = world.clock.now()
    world.leave({
      models: { [WORDY_MODEL]: { tokens: LIMIT, learnedAt: at, source: 'refusal' } },
      reservations: {
        [batch.metadata.nightshift_tag]: { pool: WORDY_MODEL, tokens: LIMIT, at, task: '/gone/task' },
      },
    })
    await new (wordyTask(10, 1000))(world.options()).run()
    expect((sentAt(world.dir)[0] ?? 0) - at).toBeLessThan(MINUTE_MS)
    expect(world.board()).toMatchObject({ reservations: {} })
  })
})

test('an account that somebody else fills is asked again until maxWait, and no request goes directly for it', async () => {
  const refused = {
    code: 'token_limit_exceeded',
    message: `Enqueued token limit reached for ${WORDY_MODEL} in organization org-1. Limit: 90,000 enqueued tokens.`,
    line: null,
  }
  const { options, count, warnings } = account({
    intercept: async (request, next) => {
      const response = await next()
      if (request.method !== 'GET' || !request.url.includes('/v1/batches')) return response
      const body = JSON.parse(await response.text())
      const full = (batch: object) => ({
        ...batch,
        status: 'failed',
        errors: { object: 'list', data: [refused] },
        output_file_id: null,
        error_file_id: null,
      })
      return Response.json(body.data ? { ...body, data: body.data.map(full) } : full(body))
    },
  })
  const summary = await new (wordyTask(60, 5000))(options({ maxWait: 3600 })).run()
  expect(summary).toMatchObject({ outcome: 'failed-batches', succeeded: 0, failed: 0, pending: 60 })
  expect(warnings('queue_full').length).toBeGreaterThan(0)
  expect(count('POST', '/v1/chat/completions')).toBe(0)
  expect(count('POST', '/v1/batches')).toBeLessThan(100)
})
