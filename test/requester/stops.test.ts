import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { describe, expect, onTestFinished, test } from 'vitest'
import { accept, retry, type Verdict } from '../../src/batch/verdict.ts'
import { createEmulator } from '../../src/emulator/create-emulator.ts'
import { TaskManager, type TaskManagerOptions } from '../../src/task/task-manager.ts'
import type { TaskResponse } from '../../src/task/task-types.ts'
import type { Clock } from '../../src/util/clock.ts'
import {
  ask,
  type Harness,
  harness,
  isKind,
  NAME,
  names,
  readTaskFile,
  type Seen,
  seenOf,
  stepsOf,
  taskLines,
} from '../support/task-harness.ts'

class Twelve extends TaskManager {
  *generateRequests() {
    for (const key of names(12)) yield { key, body: ask(key) }
  }

  processResponse({ key, attempt }: TaskResponse): Verdict {
    return key === 'k-2' && attempt === 1 ? retry('once more') : accept(key)
  }
}

/** Two batches, then three direct calls. */
const MIXED: Partial<TaskManagerOptions> = {
  minBatchRequests: 5,
  maxBatchRequests: 5,
  directConcurrency: 2,
  createGraceMs: 30_000,
}

async function expectWhole({ dir, emulator }: Harness): Promise<void> {
  expect(taskLines<string>(dir, '_output.jsonl').sort()).toEqual(names(12).sort())
  const batches = await emulator.fetch('http://console.test/v1/batches?limit=100')
  expect(JSON.parse(await batches.text()).data).toHaveLength(2)
  const files = await emulator.fetch('http://console.test/v1/files')
  expect(JSON.parse(await files.text()).data).toEqual([])
}

/** Runs with something happening right before the server gets its nth request. */
async function disturbed(rig: Harness, nth: number, act: (request: Seen) => void, over = {}) {
  const options = rig.options({ ...MIXED, ...over })
  const { fetch = globalThis.fetch } = options
  const at = rig.seen.length + nth
  const acting: typeof fetch = async (input, init) => {
    if (rig.seen.length + 1 === at) act(seenOf(input, init, rig.clock.now()))
    return fetch(input, init)
  }
  return new Twelve({ ...options, fetch: acting }).run()
}

async function requestsOfARun(): Promise<number> {
  const rig = harness()
  await new Twelve(rig.options(MIXED)).run()
  await expectWhole(rig)
  return rig.seen.length
}

const isKept = (seen: Pick<Seen, 'method' | 'path'>): boolean => isKind(seen, 'POST', /batches$|completions$/)

describe('a signal to stop', () => {
  test('at whatever request lets nothing more be sent, and the next run goes on', async () => {
    const most = await requestsOfARun()
    expect(most).toBeGreaterThan(15)
    for (let nth = 1; nth <= most; nth++) {
      const rig = harness()
      const stop = new AbortController()
      const ending = disturbed(rig, nth, () => stop.abort(), { stop: stop.signal })
      const [run] = await Promise.allSettled([ending])
      if (run?.status === 'fulfilled' && run.value.complete) continue
      expect(run).toMatchObject({ status: 'fulfilled', value: { outcome: 'interrupted' } })
      // Of two calls that are let go side by side, and never cut off, one may arrive after the signal.
      const after = rig.seen.slice(nth).filter(({ method, path }) => !isKept({ method, path }))
      expect(after, `stopped at request ${nth}`).toEqual([])
      expect(rig.seen.length - nth).toBeLessThan(2)
      expect(await new Twelve(rig.options(MIXED)).run()).toMatchObject({ complete: true, succeeded: 12 })
      await expectWhole(rig)
      expect(stepsOf(rig.dir, 'uncertain')).toEqual([])
      expect(rig.count('POST', '/v1/chat/completions')).toBe(3)
    }
  })

  test('while a create is looked for and its grace is waited for takes no time', async () => {
    const rig = harness()
    const lost: typeof fetch = async (input, init) => {
      if (isKind(seenOf(input, init, 0), 'POST', '/v1/batches')) throw new TypeError('fetch failed')
      return rig.emulator.fetch(input, init)
    }
    const stop = new AbortController()
    const onEvent = (event: { kind: string; reason?: string }) => {
      if (event.kind === 'waiting' && event.reason?.includes('turns up')) stop.abort()
    }
    const begun = rig.clock.now()
    const run = {
      ...MIXED,
      createGraceMs: 3_600_000,
      fetch: lost,
      stop: stop.signal,
      reporters: [{ onEvent }],
    }
    expect(await new Twelve(rig.options(run)).run()).toMatchObject({ outcome: 'interrupted' })
    expect(stop.signal.aborted).toBe(true)
    expect(rig.clock.now() - begun).toBeLessThan(600_000)
    expect(await new Twelve(rig.options(MIXED)).run()).toMatchObject({ complete: true, succeeded: 12 })
    await expectWhole(rig)
  })
})

const lockOf = (dir: string): string => `${dir}/${NAME}.lock`

/** What another process does that takes the lock over: the same directory, another holder. */
function takeOver(dir: string): void {
  const holder = `${lockOf(dir)}.json`
  writeFileSync(holder, readFileSync(holder, 'utf8').replace(/"epoch":"[^"]*"/, '"epoch":"another"'))
}

describe('a lock that is lost', () => {
  test.each([
    ['taken over', takeOver],
    ['removed', (dir: string) => rmSync(lockOf(dir), { recursive: true })],
    ['moved away', (dir: string) => renameSync(lockOf(dir), `${lockOf(dir)}.old`)],
  ])('(%s) at whatever request stops the run at its next commit', async (_, lose) => {
    const most = await requestsOfARun()
    for (let nth = 1; nth <= most; nth += 2) {
      const rig = harness()
      let before = ''
      const lost = disturbed(rig, nth, () => {
        lose(rig.dir)
        before = readTaskFile(rig.dir, '_ledger.jsonl')
      })
      const [run] = await Promise.allSettled([lost])
      expect(run, `lost at request ${nth}`).toMatchObject({
        status: 'rejected',
        reason: { name: 'LockError', code: 'lock_lost' },
      })
      const after = readTaskFile(rig.dir, '_ledger.jsonl')
      expect(after.startsWith(before)).toBe(true)
      // The commit whose append was under way at that instant.
      expect(after.slice(before.length).split('\n').length - 1).toBeLessThanOrEqual(1)
      for (const end of ['', '.json', '.old']) rmSync(lockOf(rig.dir) + end, { recursive: true, force: true })
      expect(await new Twelve(rig.options(MIXED)).run()).toMatchObject({ complete: true, succeeded: 12 })
      await expectWhole(rig)
    }
  })
})

const HOUR_MS = 3_600_000

/** A task and a server for which the same time passes; but when the task's clock leaps, the server's does not. */
function apart() {
  const rig = harness()
  let leaps = 0
  const clock: Clock = {
    now: () => rig.clock.now() - leaps,
    sleep: (ms, signal, options) => rig.clock.sleep(ms, signal, options),
  }
  const emulator = createEmulator({ clock, latency: { runMs: 5_000 } })
  onTestFinished(() => emulator.close())
  const fetch: typeof globalThis.fetch = (input, init) => {
    rig.seen.push(seenOf(input, init, rig.clock.now()))
    return emulator.fetch(input, init)
  }
  const leap = (ms: number) => {
    leaps += ms
    rig.clock.jump(ms)
  }
  return { rig: { ...rig, emulator }, fetch, leap, passedMs: passed(clock) }
}

const passed = (clock: Clock) => {
  const begun = clock.now()
  return () => clock.now() - begun
}

describe('a clock that leaps', () => {
  test.each([
    ['forward by hours', 9 * HOUR_MS],
    ['forward by days', 3 * 24 * HOUR_MS],
    ['back by hours', -9 * HOUR_MS],
    ['back by days', -3 * 24 * HOUR_MS],
  ])('%s, at whatever request, changes nothing about the run', async (_, ms) => {
    const most = await requestsOfARun()
    for (let nth = 1; nth <= most; nth += 3) {
      const { rig, fetch, leap, passedMs } = apart()
      const run = disturbed(rig, nth, () => leap(ms), { fetch })
      expect(await run).toMatchObject({ complete: true, succeeded: 12 })
      await expectWhole(rig)
      expect(passedMs()).toBeLessThan(2 * 60_000)
    }
  })

  test.each([
    ['forward', 3 * 24 * HOUR_MS],
    ['back', -3 * 24 * HOUR_MS],
  ])('%s while the network is down uses up nothing of maxWait', async (_, ms) => {
    const { rig, fetch, leap } = apart()
    let calls = 0
    const flaky: typeof fetch = async (input, init) => {
      const fails = ++calls % 5 === 0 && !isKind(seenOf(input, init, 0), 'POST', /./)
      if (!fails) return fetch(input, init)
      leap(ms)
      throw new TypeError('fetch failed')
    }
    const run = new Twelve(rig.options({ ...MIXED, fetch: flaky, maxWait: 3_600 })).run()
    expect(await run).toMatchObject({ complete: true, succeeded: 12 })
    await expectWhole(rig)
  })

  test.each([
    ['forward', 24 * HOUR_MS],
    ['back', -24 * HOUR_MS],
  ])(
    '%s while direct calls wait for a server that pushes back is no reason to wait longer',
    async (_, ms) => {
      const { rig, fetch, leap, passedMs } = apart()
      let pushbacks = 0
      const busy: typeof fetch = async (input, init) => {
        if (!isKind(seenOf(input, init, 0), 'POST', /chat/) || pushbacks >= 6) return fetch(input, init)
        if (++pushbacks === 3) leap(ms)
        return new Response('{"error":{"message":"slow down"}}', {
          status: 429,
          headers: { 'retry-after': '20' },
        })
      }
      const over = { forceDirect: true, directConcurrency: 2, fetch: busy, maxWait: 3_600 }
      expect(await new Twelve(rig.options(over)).run()).toMatchObject({ complete: true, succeeded: 12 })
      expect(passedMs()).toBeLessThan(20 * 60_000)
      expect(stepsOf(rig.dir, 'uncertain')).toEqual([])
    },
  )

  test('back by a day lets the grace of a create pass all the same', async () => {
    const { rig, fetch, leap, passedMs } = apart()
    let creates = 0
    const losing: typeof fetch = async (input, init) => {
      const isCreate = isKind(seenOf(input, init, 0), 'POST', '/v1/batches')
      if (!isCreate || ++creates > 1) return fetch(input, init)
      throw new TypeError('fetch failed')
    }
    const onEvent = (event: { kind: string; reason?: string }) => {
      if (event.kind === 'waiting' && event.reason?.includes('turns up')) leap(-24 * HOUR_MS)
    }
    const run = new Twelve(rig.options({ ...MIXED, fetch: losing, reporters: [{ onEvent }] })).run()
    expect(await run).toMatchObject({ complete: true, succeeded: 12 })
    await expectWhole(rig)
    expect(passedMs()).toBeLessThan(HOUR_MS)
  })
})
