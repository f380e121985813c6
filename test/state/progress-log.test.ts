import { statSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type FileSystem, nodeFileSystem, type OpenFile } from '../../src/state/file-system.ts'
import { ProgressLog, type ProgressLogOptions } from '../../src/state/progress-log.ts'
import { RowQueue } from '../../src/state/row-queue.ts'
import { temporaryFolder } from '../support/folder.ts'
import { soundNumbers } from '../support/history.ts'
import { type Disk, FaultyFs, PowerLossFs } from '../support/power-loss-fs.ts'
import { VirtualClock } from '../support/virtual-clock.ts'

const PATH = '/t/task_progress.jsonl'

interface Rig {
  readonly clock: VirtualClock
  readonly durable: number[]
  readonly troubles: string[]
  readonly recoveries: number[]
  readonly open: (over?: Partial<ProgressLogOptions>) => ProgressLog
}

function rig(fs: FileSystem): Rig {
  const clock = new VirtualClock(1_000_000)
  const [durable, troubles, recoveries]: [number[], string[], number[]] = [[], [], []]
  const open = (over: Partial<ProgressLogOptions> = {}) => {
    const log = new ProgressLog({
      fs,
      path: PATH,
      clock,
      guard: () => {},
      onDurable: (bytes) => durable.push(bytes),
      onTrouble: (message) => troubles.push(message),
      onRecovered: (lost) => recoveries.push(lost),
      ...over,
    })
    log.start()
    return log
  }
  return { clock, durable, troubles, recoveries, open }
}

const textIn = (disk: Disk): string => disk.get(PATH)?.toString() ?? ''
const lines = (text: string): Record<string, unknown>[] =>
  text
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line))

describe('a history', () => {
  test('is numbered on, and its time goes on, from run to run', async () => {
    const fs = new PowerLossFs()
    const { clock, open } = rig(fs)
    const first = open()
    first.append({ a: 1 })
    await clock.sleep(2_500)
    first.append({ a: 2 })
    expect(await first.close()).toBeUndefined()
    await clock.sleep(60_000)
    const second = open()
    await clock.sleep(500)
    second.append({ a: 3, b: 'x' })
    await second.close()
    expect(textIn(fs.disk)).toBe(
      '{"_step":0,"_timestamp":1000,"_runtime":0,"a":1}\n' +
        '{"_step":1,"_timestamp":1002.5,"_runtime":2.5,"a":2}\n' +
        '{"_step":2,"_timestamp":1063,"_runtime":3,"a":3,"b":"x"}\n',
    )
  })

  test('is told to be durable only when it is, and in whole lines', async () => {
    const fs = new PowerLossFs()
    const { clock, open, durable } = rig(fs)
    const log = open({
      onDurable: (bytes) => {
        durable.push(bytes)
        const kept = fs.diskAfter(fs.ops, () => 0.99).get(PATH)
        expect(kept?.length).toBeGreaterThanOrEqual(bytes)
        expect(kept?.[bytes - 1]).toBe(10)
      },
    })
    for (let row = 0; row < 5; row++) {
      log.append({ row })
      await clock.sleep(700)
    }
    await log.close()
    expect(durable.at(-1)).toBe(textIn(fs.disk).length)
    expect(durable.length).toBeLessThan(6)
    expect(durable).toEqual(durable.toSorted((a, b) => a - b))
  })

  test('is written about once a second, whatever comes', async () => {
    const fs = new PowerLossFs()
    const { clock, open, durable } = rig(fs)
    const log = open()
    for (let row = 0; row < 100; row++) {
      log.append({ row })
      await clock.sleep(50)
    }
    expect(durable.length).toBeGreaterThanOrEqual(4)
    expect(durable.length).toBeLessThanOrEqual(6)
    await log.close()
    expect(lines(textIn(fs.disk))).toHaveLength(100)
  })

  test('adds no time when the clock was set back', async () => {
    const fs = new PowerLossFs()
    const { clock, open } = rig(fs)
    const log = open()
    await clock.sleep(2_000)
    log.append({ a: 1 })
    clock.jump(-3_600_000)
    log.append({ a: 2 })
    await clock.sleep(1_000)
    log.append({ a: 3 })
    await log.close()
    expect(lines(textIn(fs.disk)).map(({ _runtime }) => _runtime)).toEqual([2, 2, 3])
  })

  test('can be read by its owner alone', async () => {
    await using folder = await temporaryFolder()
    const path = join(folder.path, 'task_progress.jsonl')
    const log = rig(nodeFileSystem).open({ path })
    log.append({ a: 1 })
    await log.close()
    expect(statSync(path).mode & 0o777).toBe(0o600)
  })

  test('that was taken and not begun is written nowhere', async () => {
    const fs = new PowerLossFs()
    const log = new ProgressLog({ fs, path: PATH, clock: new VirtualClock(), guard: () => {} })
    log.append({ a: 1 })
    expect(await log.close()).toBeUndefined()
    expect(fs.disk.size).toBe(0)
  })

  test('is not written any more when the lock is gone', async () => {
    const fs = new PowerLossFs()
    const { open } = rig(fs)
    const log = open({
      guard: () => {
        throw new Error('the lock is gone')
      },
    })
    log.append({ a: 1 })
    expect(await log.close()).toContain('the lock is gone')
    expect(fs.disk.size).toBe(0)
  })
})

test('a history is left alone when the lock is lost while it is opened', async () => {
  const torn = `${row(0)}{"_step":1,"_ti`
  const disk = new PowerLossFs(new Map([[PATH, Buffer.from(torn)]]))
  let isOurs = true
  class Slow extends FaultyFs {
    override async open(...args: Parameters<FileSystem['open']>): Promise<OpenFile> {
      const file = await super.open(...args)
      isOurs = false
      return file
    }
  }
  const guard = () => {
    if (!isOurs) throw new Error('the lock is gone')
  }
  const log = rig(new Slow(disk)).open({ guard })
  log.append({ a: 1 })
  expect(await log.close()).toContain('the lock is gone')
  expect(textIn(disk.disk)).toBe(torn)
})

const row = (step: number, more = ''): string =>
  `{"_step":${step},"_timestamp":${step},"_runtime":${step}${more}}\n`
const rows = (count: number): string => Array.from({ length: count }, (_, step) => row(step)).join('')

describe('the end of a history', () => {
  test.each([
    ['nothing', '', 0],
    ['half a row', row(3).slice(0, 20), 3],
    ['a row without its line break', row(3).slice(0, -1), 3],
    ['zeros', '\0'.repeat(300), 3],
    ['a row after zeros', `${'\0'.repeat(80)}\n${row(4)}`, 3],
    ['something else', '{"a":1}\n', 3],
    ['a row that does not follow', row(7), 3],
  ])('with %s behind it is cut to what is sound', async (_, damage, kept) => {
    const before = rows(kept)
    const fs = new PowerLossFs(new Map([[PATH, Buffer.from(before + damage)]]))
    const { open, durable } = rig(fs)
    const log = open()
    log.append({ a: 1 })
    await log.close()
    const text = textIn(fs.disk)
    expect(text.startsWith(before)).toBe(true)
    expect(lines(text.slice(before.length))).toMatchObject([{ _step: kept, a: 1 }])
    soundNumbers(text)
    // What an earlier run has written is durable as soon as this one has looked at it.
    expect(durable[0]).toBe(kept > 0 ? before.length : text.length)
  })

  test('is all of it that is read', async () => {
    const long = rows(200_000)
    const fs = new ReadCounter(new PowerLossFs(new Map([[PATH, Buffer.from(long)]])))
    const log = rig(fs).open()
    log.append({ a: 1 })
    await log.close()
    expect(fs.bytesRead).toBeLessThan(600_000)
    expect(long.length).toBeGreaterThan(8_000_000)
    const text = await fs.readText(PATH)
    expect(text.slice(long.length)).toMatch(/^\{"_step":200000,.*"_runtime":199999,"a":1\}\n$/)
  })

  test('is found also when one row is longer than all that is read at first', async () => {
    const before = rows(3) + row(3, `,"long":"${'x'.repeat(1_200_000)}"`)
    const fs = new PowerLossFs(new Map([[PATH, Buffer.from(`${before}{"_st`)]]))
    const log = rig(fs).open()
    log.append({ a: 1 })
    await log.close()
    expect(lines(textIn(fs.disk).slice(before.length))).toMatchObject([{ _step: 4, _runtime: 3 }])
  })

  test('is sound, wherever the power went, and has what was told to be durable', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.nat(), { minLength: 1, maxLength: 6 }),
        fc.infiniteStream(fc.noBias(fc.integer({ min: 0, max: 99 }))),
        async (cuts, chances) => {
          const random = () => (chances.next().value ?? 0) / 100
          let disk: Disk = new Map()
          let durable = 0
          for (const cut of cuts) {
            const fs = new PowerLossFs(disk)
            const told: { readonly ops: number; readonly bytes: number }[] = []
            const { clock, open } = rig(fs)
            const log = open({ onDurable: (bytes) => told.push({ ops: fs.ops, bytes }) })
            for (let count = 0; count < 4; count++) {
              log.append({ count, text: 'x'.repeat(Math.floor(random() * 200)) })
              await clock.sleep(1_200)
            }
            await log.close()
            const ops = cut % (fs.ops + 1)
            for (const { ops: at, bytes } of told) if (at <= ops) durable = bytes
            disk = fs.diskAfter(ops, random)
            expect(textIn(disk).length).toBeGreaterThanOrEqual(durable)
            soundNumbers(textIn(disk).slice(0, durable))
          }
          const fs = new PowerLossFs(disk)
          const after = rig(fs).open()
          after.append({ end: 1 })
          await after.close()
          soundNumbers(textIn(fs.disk))
        },
      ),
      { numRuns: 150 },
    )
  })
})

describe('a disk that cannot be written to', () => {
  test.each([
    ['a full disk', { op: 'append', code: 'ENOSPC', written: 0.5 } as const],
    ['a file that cannot be opened', { op: 'open', code: 'EACCES' } as const],
    ['a disk that fails to make it durable', { op: 'sync', code: 'EIO' } as const],
  ])('(%s) is told once, loses nothing, and is tried again until it works', async (_, fault) => {
    const inner = new PowerLossFs()
    const fs = new FaultyFs(inner)
    const { clock, open, troubles, recoveries, durable } = rig(fs)
    const log = open()
    log.append({ n: 0 })
    await clock.sleep(1_500)
    fs.arm({ nth: 1, lasting: true, path: '_progress.jsonl', ...fault })
    // A file that is open already is not opened again.
    if (fault.op === 'open')
      fs.arm({ nth: 1, lasting: true, ...fault }, { op: 'append', nth: 1, code: 'EIO', lasting: true })
    for (let n = 1; n < 60; n++) {
      log.append({ n })
      await clock.sleep(1_000)
    }
    expect(troubles).toEqual([expect.stringMatching(/^the history cannot be written to .*the run goes on/)])
    expect(durable).toHaveLength(1)
    fs.arm()
    await clock.sleep(61_000)
    expect(recoveries).toEqual([0])
    log.append({ n: 60 })
    expect(await log.close()).toBeUndefined()
    soundNumbers(textIn(inner.disk))
    expect(lines(textIn(inner.disk)).map(({ n }) => n)).toEqual(Array.from({ length: 61 }, (_, n) => n))
    expect(durable.at(-1)).toBe(textIn(inner.disk).length)
  })

  test('to the end is told at the end', async () => {
    const fs = new FaultyFs(new PowerLossFs())
    fs.arm({ op: 'append', nth: 1, code: 'ENOSPC', lasting: true })
    const { open } = rig(fs)
    const log = open()
    for (let n = 0; n < 3; n++) log.append({ n })
    expect(await log.close()).toMatch(/^3 rows of the history could not be written to .*ENOSPC/)
  })

  test('and never answers holds up nobody who appends', () => {
    const never = new Promise<never>(() => {})
    const fs: FileSystem = { ...nodeFileSystem, open: () => never, size: () => never }
    const log = rig(fs).open()
    for (let n = 0; n < 1_000; n++) expect(log.append({ n })).toBeUndefined()
  })
})

describe('rows that wait', () => {
  const event = { isSample: false, atMs: 0, runMs: 0 }

  test('are never more than there is room for, and what is told of figures is not lost', () => {
    const kinds = fc.array(fc.record({ isSample: fc.boolean(), name: fc.constantFrom('x', 'y', 'z') }), {
      minLength: 3,
      maxLength: 60,
    })
    fc.assert(
      fc.property(kinds, fc.integer({ min: 3, max: 12 }), (list, most) => {
        const queue = new RowQueue(most)
        for (const [index, { isSample, name }] of list.entries()) {
          queue.add({
            ...event,
            isSample,
            fields: { [name]: index, ...(!isSample && { 'Event/kind': index }) },
          })
          expect(queue.size).toBeLessThanOrEqual(most)
        }
        const { rows: left } = queue.take(Number.POSITIVE_INFINITY, () => '')
        const folded = Object.assign({}, ...left.map(({ fields }) => fields))
        const whole = Object.assign({}, ...list.map(({ name }, index) => ({ [name]: index })))
        expect(folded).toMatchObject(whole)
        const events = list.filter(({ isSample }) => !isSample).length
        const kept = left.filter(({ fields }) => 'Event/kind' in fields).length
        expect(queue.forgetLost()).toBe(events - kept)
        expect(queue.forgetLost()).toBe(0)
      }),
      { numRuns: 200 },
    )
  })

  test('lose samples before events', () => {
    const queue = new RowQueue(4)
    for (const [index, isSample] of [false, true, false, true, false, true].entries())
      queue.add({ ...event, isSample, fields: { index } })
    expect(queue.forgetLost()).toBe(0)
    const { rows: left } = queue.take(Number.POSITIVE_INFINITY, () => '')
    expect(left.map(({ fields }) => fields.index)).toEqual([0, 2, 4, 5])
  })

  test('are taken as far as there is room, and one at least', () => {
    const queue = new RowQueue()
    for (let index = 0; index < 5; index++) queue.add({ ...event, fields: { index } })
    expect(queue.take(10, () => 'four').rows).toHaveLength(2)
    const { rows: one, text } = queue.take(1, (taken) => `${taken.fields.index}..`)
    expect([one.length, text]).toEqual([1, '2..'])
    queue.putBack(one)
    expect(queue.take(100, (taken) => `${taken.fields.index}`).text).toBe('234')
  })
})

class ReadCounter extends FaultyFs {
  bytesRead = 0

  override async open(...args: Parameters<FileSystem['open']>): Promise<OpenFile> {
    const file = await super.open(...args)
    const read: OpenFile['read'] = async (into, position) => {
      const got = await file.read(into, position)
      this.bytesRead += got
      return got
    }
    return { ...file, read }
  }
}
