import { readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { QuotaFile, type QuotaFileOptions } from '../../src/requester/quota-board.ts'
import { nodeFileSystem } from '../../src/state/file-system.ts'
import { TaskLock } from '../../src/state/task-lock.ts'
import { systemClock } from '../../src/util/clock.ts'
import { temporaryFolder } from '../support/folder.ts'
import { FaultyFs } from '../support/power-loss-fs.ts'
import { runProgram, startProgram } from '../support/program.ts'
import { VirtualClock } from '../support/virtual-clock.ts'

const HAMMER = fileURLToPath(new URL('../support/quota-hammer.ts', import.meta.url))
const VICTIM = fileURLToPath(new URL('../support/quota-victim.ts', import.meta.url))
const MODEL = 'gpt-5-mini'
const MINUTE_MS = 60_000
/** Longer than a busy machine takes. */
const PATIENT_MS = 60_000

/** A folder with the path of a quota file in it, and tasks that share it; all that they are told. */
async function setUp(extra: Partial<QuotaFileOptions> = {}) {
  const folder = await temporaryFolder()
  const path = join(folder.path, 'state', 'quota-0123.json')
  const clock = new VirtualClock()
  const troubles: string[] = []
  const onTrouble = (message: string) => troubles.push(message)
  const task = (name: string, more: Partial<QuotaFileOptions> = {}) =>
    new QuotaFile({ path, clock, task: name, onTrouble, waitMs: PATIENT_MS, ...extra, ...more })
  return {
    folder: folder.path,
    path,
    clock,
    troubles,
    task,
    [Symbol.asyncDispose]: folder[Symbol.asyncDispose],
  }
}

const boardIn = async (path: string) => JSON.parse(await readFile(path, 'utf8'))
const tagsIn = async (path: string): Promise<string[]> =>
  Object.keys((await boardIn(path)).reservations).sort()

describe('tasks that share a file', () => {
  test('share the limit, what one of them learns, and what any of them gives back', async () => {
    await using world = await setUp()
    const [one, two] = [world.task('one'), world.task('two')]
    await one.learn(MODEL, 100, 'refusal')
    expect(two.capOf(MODEL)).toBeUndefined()
    await two.load()
    expect(two.capOf('gpt-5-mini-2025-08-07')).toBe(100)
    expect(await one.reserve('a', MODEL, 70)).toEqual({ ok: true })
    expect(await two.reserve('b', MODEL, 40)).toEqual({ ok: false, limit: 100, reserved: 70 })
    await two.release(['a'])
    expect(await two.reserve('b', MODEL, 40)).toEqual({ ok: true })
    expect(await tagsIn(world.path)).toEqual(['b'])
    expect((await stat(world.path)).mode & 0o777).toBe(0o600)
    expect(world.troubles).toEqual([])
  })

  test('find it as it was in a later run', async () => {
    await using world = await setUp()
    const earlier = world.task('one')
    await earlier.learnAll(
      new Map([
        ['gpt-5', 7],
        [MODEL, 100],
      ]),
      'admin',
    )
    await earlier.reserve('a', MODEL, 70)
    const later = world.task('one')
    await later.load()
    expect([later.capOf('gpt-5'), later.capOf(MODEL)]).toEqual([7, 100])
    expect(await later.reserve('b', MODEL, 31)).toMatchObject({ ok: false, reserved: 70 })
    expect(await later.reserve('a', MODEL, 70)).toEqual({ ok: true })
  })

  test('never pass the limit together when all ask at once', async () => {
    await using world = await setUp()
    const tasks = ['one', 'two', 'three'].map((name) => world.task(name))
    await world.task('zero').learn(MODEL, 50, 'refusal')
    const asked = tasks.flatMap((task, at) =>
      [1, 2, 3, 4].map((batch) => task.reserve(`${at}-${batch}`, MODEL, 10)),
    )
    const given = (await Promise.all(asked)).filter(({ ok }) => ok)
    expect(given).toHaveLength(5)
    expect(await tagsIn(world.path)).toHaveLength(5)
  })

  test('are not held up by one that asks for more than the whole limit', async () => {
    await using world = await setUp()
    const [one, two] = [world.task('one'), world.task('two')]
    await one.learn(MODEL, 100, 'refusal')
    expect(await one.reserve('a', MODEL, 101)).toEqual({ ok: false, limit: 100, reserved: 0 })
    expect(await two.reserve('b', MODEL, 40)).toEqual({ ok: true })
    expect(await one.reserve('a', MODEL, 61)).toMatchObject({ ok: false, reserved: 40 })
    expect(await two.reserve('c', MODEL, 40)).toMatchObject({ ok: false })
    expect(await one.reserve('d', MODEL, 40)).toEqual({ ok: true })
  })

  test('never wait for their own lock: what they do at once is done one after another', async () => {
    await using world = await setUp({ waitMs: 0 })
    const task = world.task('one')
    await Promise.all(['a', 'b', 'c'].map((tag) => task.reserve(tag, MODEL, 10)))
    expect(await tagsIn(world.path)).toEqual(['a', 'b', 'c'])
    expect(world.troubles).toEqual([])
  })

  test('leave the disk alone until there is something to note', async () => {
    await using world = await setUp()
    const task = world.task('one')
    await task.load()
    await task.release([])
    expect(await readdir(world.folder)).toEqual([])
  })
})

test('without a file, a process keeps its own count', async () => {
  await using world = await setUp({ path: undefined })
  const task = world.task('one')
  await task.load()
  await task.learn(MODEL, 100, 'refusal')
  expect(await task.reserve('a', MODEL, 70)).toEqual({ ok: true })
  expect(await task.reserve('b', MODEL, 70)).toEqual({ ok: false, limit: 100, reserved: 70 })
  await task.release(['a'])
  expect(await task.reserve('b', MODEL, 70)).toEqual({ ok: true })
  expect(await readdir(world.folder)).toEqual([])
})

describe('a file that cannot be used', () => {
  test('of a newer version: one warning, and the process goes on by its own count', async () => {
    await using world = await setUp()
    const newer = '{"version":2,"nightshift":"9.0.0"}'
    await world.task('one').learn(MODEL, 10, 'refusal')
    await writeFile(world.path, newer)
    const task = world.task('two')
    await task.load()
    await task.learn(MODEL, 100, 'refusal')
    expect(task.capOf(MODEL)).toBe(100)
    expect(await task.reserve('a', MODEL, 70)).toEqual({ ok: true })
    expect(await task.reserve('b', MODEL, 70)).toMatchObject({ ok: false })
    world.clock.advance(2 * MINUTE_MS)
    await task.release(['a'])
    expect(world.troubles).toHaveLength(1)
    expect(world.troubles[0]).toContain(world.path)
    expect(world.troubles[0]).toContain('needs Nightshift 9.0.0')
    expect(await readFile(world.path, 'utf8')).toBe(newer)
  })

  test('what others hold is forgotten, since nobody could say that they gave it back', async () => {
    await using world = await setUp()
    const fs = new FaultyFs(nodeFileSystem)
    const task = world.task('two', { fs })
    await world.task('one').learn(MODEL, 100, 'refusal')
    await world.task('one').reserve('a', MODEL, 90)
    expect(await task.reserve('b', MODEL, 10)).toEqual({ ok: true })
    fs.arm({ op: 'open', nth: 1, code: 'EACCES', lasting: true })
    await task.release(['unknown', 'b'])
    await task.reserve('b', MODEL, 10)
    expect(await task.reserve('c', MODEL, 91)).toEqual({ ok: false, limit: 100, reserved: 10 })
    expect(await task.reserve('c', MODEL, 90)).toEqual({ ok: true })
    expect(world.troubles).toHaveLength(1)
  })

  test('it is tried again after a minute, and then gets all that was done meanwhile', async () => {
    await using world = await setUp()
    const fs = new FaultyFs(nodeFileSystem)
    const [one, two] = [world.task('one', { fs }), world.task('two')]
    await one.reserve('a', MODEL, 10)
    fs.arm({ op: 'rename', nth: 1, code: 'ENOSPC' })
    await one.reserve('b', MODEL, 20)
    await one.release(['a'])
    await one.learn('gpt-5', 7, 'refusal')
    await two.learn(MODEL, 100, 'refusal')
    await two.reserve('c', MODEL, 90)
    expect(await tagsIn(world.path)).toEqual(['a', 'c'])
    world.clock.advance(MINUTE_MS)
    await one.load()
    expect(one.capOf('gpt-5')).toBe(7)
    expect(await one.reserve('d', MODEL, 1)).toEqual({ ok: false, limit: 100, reserved: 110 })
    expect(await tagsIn(world.path)).toEqual(['b', 'c'])
    await two.release(['b'])
    await one.release(['c'])
    expect(await tagsIn(world.path)).toEqual([])
    expect((await boardIn(world.path)).models['gpt-5'].tokens).toBe(7)
    expect(world.troubles).toHaveLength(1)
  })

  test('while another holds it, nobody waits for it a second time before a minute is over', async () => {
    await using world = await setUp()
    await world.task('one').learn(MODEL, 100, 'refusal')
    const place = { directory: join(world.folder, 'state'), name: 'quota-0123.json', clock: world.clock }
    const holder = await TaskLock.acquire(place)
    const task = world.task('two', { waitMs: 0 })
    expect((await task.reserve('a1', MODEL, 20)).ok).toBe(true)
    await holder.release()
    expect((await task.reserve('a2', MODEL, 20)).ok).toBe(true)
    expect(await tagsIn(world.path)).toEqual([])
    expect(world.troubles).toHaveLength(1)
    world.clock.advance(MINUTE_MS)
    await task.reserve('a3', MODEL, 20)
    expect(await tagsIn(world.path)).toEqual(['a1', 'a2', 'a3'])
  })

  test('a damaged one is put aside at the first look, and begun anew', async () => {
    await using world = await setUp()
    await world.task('one').learn(MODEL, 100, 'refusal')
    await writeFile(world.path, '{"version":1,"models":{"a":{"tokens":"many"}}')
    const [two, three] = [world.task('two'), world.task('three')]
    await two.load()
    expect(two.capOf(MODEL)).toBeUndefined()
    await two.reserve('a', MODEL, 70)
    await three.load()
    expect(await tagsIn(world.path)).toEqual(['a'])
    expect(world.troubles).toHaveLength(1)
    const names = await readdir(join(world.folder, 'state'))
    expect(names.filter((name) => name.includes('.damaged-'))).toHaveLength(1)
    expect(names).toHaveLength(2)
  })

  test.each([
    ['a float of tokens', { models: {}, reservations: { a: { pool: 'p', tokens: 1.5, at: 0, task: 't' } } }],
    ['a limit of zero', { models: { a: { tokens: 0, learnedAt: 0, source: 'admin' } }, reservations: {} }],
    ['a stranger’s word', { models: { a: { tokens: 1, learnedAt: 0, source: 'me' } }, reservations: {} }],
    ['no reservations', { models: {} }],
  ])('%s is no board', async (_, content) => {
    await using world = await setUp()
    await world.task('one').learn(MODEL, 100, 'refusal')
    await writeFile(world.path, JSON.stringify({ version: 1, ...content }))
    const task = world.task('two')
    await task.load()
    expect(world.troubles).toHaveLength(1)
    expect((await readdir(join(world.folder, 'state'))).join()).toContain('.damaged-')
  })
})

describe('processes that share a file', () => {
  const kept = (stderr: string) => [...stderr.matchAll(/^kept (\S+)$/gm)].map(([, tag = '']) => tag)

  test('lose no update of each other, though some are killed at any moment', async () => {
    await using world = await setUp()
    const steady = ['one', 'two'].map((name) => runProgram(HAMMER, [world.path, name, '40']))
    const victims: string[] = []
    for (const at of [4, 8]) {
      const victim = startProgram(HAMMER, [world.path, `victim${at}`, '-1'])
      await victim.says(`kept victim${at}-${at}\n`)
      victim.kill('SIGKILL')
      const { stderr } = await victim.ended
      expect(stderr).not.toContain('trouble')
      victims.push(...kept(stderr))
    }
    const ends = await Promise.all(steady)
    for (const { code, stderr } of ends) {
      expect(stderr).not.toMatch(/trouble|full/)
      expect(code).toBe(0)
      expect(kept(stderr)).toHaveLength(10)
    }
    const wanted = [...ends.flatMap(({ stderr }) => kept(stderr)), ...victims]
    const found = await tagsIn(world.path)
    expect(found).toEqual(expect.arrayContaining(wanted))
    // A victim may have been killed when it had taken room and not yet said so, or not yet given it back.
    const unsaid = found.filter((tag) => !wanted.includes(tag))
    expect(unsaid.every((tag) => tag.startsWith('victim'))).toBe(true)
    expect(new Set(unsaid.map((tag) => tag.split('-')[0])).size).toBe(unsaid.length)
    await world.task('after').learn(MODEL, 100, 'refusal')
    expect(await readdir(join(world.folder, 'state'))).toEqual(['quota-0123.json'])
  })

  test('find the old board or the new one, whole, when others are killed in the middle of writing it', async () => {
    await using world = await setUp()
    const steady = runProgram(HAMMER, [world.path, 'steady', '16'])
    const instants = ['open', 'append', 'sync', 'rename', 'syncDirectory']
    // One after the other: each leaves a lock that all others have to outwait, and five in a row are longer than anybody waits.
    for (const instant of instants) {
      const { signal } = await runProgram(VICTIM, [world.path, instant, instant])
      expect(signal).toBe('SIGKILL')
    }
    const { code, stderr } = await steady
    expect(stderr).not.toContain('trouble')
    expect(code).toBe(0)
    await world.task('after').learn(MODEL, 100, 'refusal')
    expect(await tagsIn(world.path)).toEqual([...kept(stderr), 'syncDirectory-1'].sort())
    expect(await readdir(join(world.folder, 'state'))).toEqual(['quota-0123.json'])
    expect(world.troubles).toEqual([])
  }, 60_000)

  test('never pass the limit together', async () => {
    await using world = await setUp()
    await new QuotaFile({ path: world.path, clock: systemClock, task: 'zero' }).learn(MODEL, 100, 'refusal')
    const ends = await Promise.all(['one', 'two'].map((name) => runProgram(HAMMER, [world.path, name, '40'])))
    expect(ends.map(({ code }) => code)).toEqual([0, 0])
    const given = ends.flatMap(({ stderr }) => kept(stderr))
    expect(given.length).toBeGreaterThan(0)
    expect(given.length).toBeLessThanOrEqual(10)
    expect(await tagsIn(world.path)).toEqual(given.sort())
    expect(ends.map(({ stderr }) => stderr).join()).toContain('full')
    expect(ends.map(({ stderr }) => stderr).join()).not.toContain('trouble')
  })
})
