import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, renameSync, rmdirSync, writeFileSync } from 'node:fs'
import { readdir, readFile, utimes } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { Worker } from 'node:worker_threads'
import { afterEach, describe, expect, test } from 'vitest'
import { type LockHolder, TaskLock, type TaskLockOptions } from '../../src/state/task-lock.ts'
import { currentProcess, isGone } from '../../src/util/process-identity.ts'
import { temporaryFolder } from '../support/task-harness.ts'
import { VirtualClock } from '../support/virtual-clock.ts'

const makeHome = async () => temporaryFolder()
const acquire = (directory: string, extra: Partial<TaskLockOptions> = {}) =>
  TaskLock.acquire({ directory, name: 'task', clock: new VirtualClock(), ...extra })

const children: ChildProcess[] = []
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL')
})

/** Another process that takes the lock, says so, and waits. */
async function otherProcess(directory: string, more = '') {
  const program = `
    const { TaskLock } = await import(${JSON.stringify(new URL('../../src/state/task-lock.ts', import.meta.url).href)})
    const { systemClock } = await import(${JSON.stringify(new URL('../../src/util/clock.ts', import.meta.url).href)})
    ${more}
    const lock = await TaskLock.acquire({ directory: ${JSON.stringify(directory)}, name: 'task', clock: systemClock })
    console.log('locked')
    setInterval(() => {}, 1000)`
  const child = spawn(process.execPath, ['--input-type=module', '-e', program], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  children.push(child)
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  expect((await lines.next()).value).toBe('locked')
  const ended = once(child, 'exit')
  return { child, ended, nextLine: async () => (await lines.next()).value }
}

describe('one process', () => {
  test('locks, releases and locks again', async () => {
    const home = await makeHome()
    for (const _ of [1, 2]) {
      const lock = await acquire(home)
      lock.check()
      expect((await TaskLock.holder(home, 'task'))?.pid).toBe(process.pid)
      await lock.release()
      await lock.release()
      expect(() => lock.check()).toThrow('released')
    }
    expect(await TaskLock.holder(home, 'task')).toBeUndefined()
    expect(await readdir(home)).toEqual([])
  })

  test('a second lock is refused and names the holder', async () => {
    const home = await makeHome()
    await using _ = await acquire(home)
    await expect(acquire(home)).rejects.toMatchObject({
      name: 'LockError',
      code: 'locked',
      message: expect.stringContaining(`process ${process.pid} on `),
    })
  })

  test('waits as long as allowed, and reports while it waits', async () => {
    const home = await makeHome()
    await using _ = await acquire(home)
    const reports: number[] = []
    const onWaiting = (holder: LockHolder | undefined, waitedMs: number) =>
      reports.push(holder?.pid === process.pid ? waitedMs : -1)
    const waiting = acquire(home, { timeoutMs: 1000, pollMs: 100, statusMs: 400, onWaiting })
    await expect(waiting).rejects.toMatchObject({ code: 'locked' })
    expect(reports).toEqual([0, 400, 800])
  })

  test('waits for ever when asked to, until it is free or the signal comes', async () => {
    const home = await makeHome()
    const first = await acquire(home)
    const onWaiting = (_: unknown, waitedMs: number) => {
      if (waitedMs >= 20_000) void first.release()
    }
    const second = await acquire(home, { timeoutMs: -1, onWaiting })
    const stop = new AbortController()
    const third = acquire(home, { timeoutMs: -1, signal: stop.signal, onWaiting: () => stop.abort() })
    await expect(third).rejects.toMatchObject({ code: 'lock_aborted' })
    second.check()
    await second.release()
  })
})

describe('losing it', () => {
  test('another holder, a removed and a replaced directory are noticed', async () => {
    const home = await makeHome()
    const lock = await acquire(home)
    const holder = join(home, 'task.lock.json')
    const text = await readFile(holder, 'utf8')
    writeFileSync(holder, text.replace(/"epoch":"[^"]*"/, '"epoch":"other"'))
    expect(() => lock.check()).toThrow(expect.objectContaining({ name: 'LockError', code: 'lock_lost' }))
    writeFileSync(holder, text)
    lock.check()
    renameSync(join(home, 'task.lock'), join(home, 'moved'))
    for (const _ of [1, 2]) expect(() => lock.check()).toThrow('removed')
    renameSync(join(home, 'moved'), join(home, 'task.lock'))
    lock.check()
    renameSync(join(home, 'task.lock'), join(home, 'moved'))
    expect(() => lock.check()).toThrow('removed')
    mkdirSync(join(home, 'task.lock'))
    expect(() => lock.check()).toThrow('replaced')
    await lock.release()
    expect(existsSync(join(home, 'task.lock'))).toBe(true)
  })

  test('one that another process moved aside by mistake, and puts back, is not lost', async () => {
    const home = await makeHome()
    const lock = await acquire(home)
    const [from, aside] = [join(home, 'task.lock'), join(home, 'task.lock.stale-1')]
    const mover = new Worker(
      `const { parentPort, workerData: [from, aside] } = require('node:worker_threads')
       const { renameSync } = require('node:fs')
       renameSync(from, aside)
       parentPort.postMessage('moved')
       parentPort.once('message', () => setTimeout(() => renameSync(aside, from), 20))`,
      { eval: true, workerData: [from, aside] },
    )
    await once(mover, 'message')
    mover.postMessage('go')
    lock.check()
    await lock.release()
    expect(await readdir(home)).toEqual([])
    await mover.terminate()
  })

  test('a lock whose lease ran out is taken over, and its holder stops', async () => {
    const home = await makeHome()
    const slept = await acquire(home)
    const past = new Date(Date.now() - 60_000)
    await utimes(join(home, 'task.lock'), past, past)
    const next = await acquire(home)
    next.check()
    expect(() => slept.check()).toThrow(expect.objectContaining({ code: 'lock_lost' }))
    await slept.release()
    next.check()
    await next.release()
    expect(await readdir(home)).toEqual([])
  })
})

describe('another process', () => {
  test('keeps the lock while it lives, and loses it at once when killed', async () => {
    const home = await makeHome()
    const { child, ended } = await otherProcess(home)
    await expect(acquire(home)).rejects.toThrow(`process ${child.pid} on`)
    child.kill('SIGKILL')
    await ended
    const lock = await acquire(home)
    lock.check()
    await lock.release()
    expect(await readdir(home)).toEqual([])
  })

  test('a killed holder is not robbed by two at once', async () => {
    const home = await makeHome()
    const { child, ended } = await otherProcess(home)
    child.kill('SIGKILL')
    await ended
    const tries = await Promise.allSettled(Array.from({ length: 8 }, () => acquire(home)))
    const won = tries.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []))
    expect(won).toHaveLength(1)
    won[0]?.check()
    await won[0]?.release()
  })

  test('a directory that is not the dead holder’s own is left alone', async () => {
    const home = await makeHome()
    const { child, ended } = await otherProcess(home)
    child.kill('SIGKILL')
    await ended
    // What a third process does between making its directory and writing its name.
    renameSync(join(home, 'task.lock'), join(home, 'old'))
    mkdirSync(join(home, 'task.lock'))
    await expect(acquire(home)).rejects.toMatchObject({ code: 'locked' })
    rmdirSync(join(home, 'task.lock'))
    await (await acquire(home)).release()
  })

  test('its own handling of signals goes on working', async () => {
    const home = await makeHome()
    const handler = `process.on('SIGINT', () => {
      console.log('got it')
      setImmediate(async () => { lock.check(); await lock.release(); process.exit(7) })
    })`
    const { child, ended, nextLine } = await otherProcess(home, handler)
    child.kill('SIGINT')
    expect(await nextLine()).toBe('got it')
    expect(await ended).toEqual([7, null])
    expect(await readdir(home)).toEqual([])
  })

  test('without a handler it ends by the signal and leaves no lock', async () => {
    const home = await makeHome()
    const { child, ended } = await otherProcess(home)
    child.kill('SIGTERM')
    expect(await ended).toEqual([null, 'SIGTERM'])
    expect(existsSync(join(home, 'task.lock'))).toBe(false)
  })
})

describe('who is gone', () => {
  const self = currentProcess()
  const known = { ...self, bootId: 'boot', pidNamespace: 'pid:[1]' }

  test('nobody whose machine, boot or namespace is another or unknown', () => {
    const dead = { ...known, pid: 2 ** 22 + 1 }
    expect(isGone(dead, known)).toBe(true)
    expect(isGone({ ...dead, host: 'elsewhere' }, known)).toBe(false)
    expect(isGone({ ...dead, bootId: 'older' }, known)).toBe(false)
    expect(isGone({ ...dead, pidNamespace: 'pid:[2]' }, known)).toBe(false)
    expect(isGone({ ...dead, bootId: undefined }, { ...known, bootId: undefined })).toBe(false)
  })

  test('not a living process, but one whose pid was given to another', () => {
    expect(isGone(known, known)).toBe(false)
    if (self.processStart !== undefined) expect(isGone({ ...known, processStart: '1' }, known)).toBe(true)
  })
})
