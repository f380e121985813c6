import fc from 'fast-check'
import { expect, test } from 'vitest'
import { CommitLog, type CommitLogOptions } from '../../src/state/commit-log.ts'
import type { FileSystem } from '../../src/state/file-system.ts'
import type { Group } from '../../src/state/group.ts'
import type { LedgerLine } from '../../src/state/ledger.ts'
import { replaceFile } from '../../src/state/replace-file.ts'
import { type Disk, FaultyFs, PowerLossFs, type Random } from '../support/power-loss-fs.ts'
import { VirtualClock } from '../support/virtual-clock.ts'

/** What the side files hold after a commit, by suffix. */
type Contents = ReadonlyMap<string, string>

interface Action {
  readonly act: 'append' | 'truncate' | 'forget' | 'download'
  readonly size: number
}

/** One action (or none) for each of the three side files. */
type Command = readonly (Action | undefined)[]

const FILES = ['_a.jsonl', '_b.jsonl', '_c.jsonl']

const action = fc.record<Action>({
  act: fc.constantFrom('append', 'append', 'append', 'truncate', 'forget', 'download'),
  size: fc.integer({ min: 0, max: 60 }),
})
const commands = fc.array(fc.tuple(...FILES.map(() => fc.option(action, { nil: undefined }))), {
  minLength: 1,
  maxLength: 6,
})

const optionsFor = (fs: FileSystem, extra: Partial<CommitLogOptions> = {}): CommitLogOptions => ({
  fs,
  directory: '/t',
  name: 'task',
  guard: () => {},
  clock: new VirtualClock(),
  ...extra,
})

/** A number generator that fast-check can replay. */
function seeded(seed: number): Random {
  let state = seed >>> 0
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 2 ** 32
  }
}

/** The group for a command, and what the files hold after it. */
async function groupFor(command: Command, number: number, before: Contents, fs: FileSystem) {
  const after = new Map(before)
  const appends: { file: string; text: string }[] = []
  const truncate: { file: string; length: number }[] = []
  const names: string[] = []
  const forget: string[] = []
  for (const [index, file] of FILES.entries()) {
    const doing = command[index]
    const old = before.get(file) ?? ''
    const text = String.fromCharCode(97 + number).repeat(doing?.size ?? 0)
    if (doing?.act === 'append') {
      appends.push({ file, text: text.slice(0, 5) }, { file, text: text.slice(5) })
      after.set(file, old + text)
    } else if (doing?.act === 'truncate') {
      truncate.push({ file, length: Math.min(old.length, doing.size) })
      after.set(file, old.slice(0, doing.size))
    } else if (doing?.act === 'forget') {
      forget.push(file)
      after.delete(file)
    } else if (doing?.act === 'download' && !before.has(file)) {
      await replaceFile(fs, `/t/task${file}`, text)
      names.push(file)
      after.set(file, text)
    }
  }
  const group: Group = { steps: [{ number, filler: 'é'.repeat(20) }], appends, truncate, names, forget }
  return { group, after }
}

interface Acknowledged {
  /** Operations done when the commit resolved. */
  readonly ops: number
  readonly contents: Contents
}

async function carryOut(fs: PowerLossFs, list: readonly Command[]): Promise<readonly Acknowledged[]> {
  const log = await CommitLog.open(optionsFor(fs))
  const history: Acknowledged[] = [{ ops: 0, contents: new Map() }]
  for (const [number, command] of list.entries()) {
    const { group, after } = await groupFor(command, number, history.at(-1)?.contents ?? new Map(), fs)
    await log.commit(group)
    history.push({ ops: fs.ops, contents: after })
  }
  return history
}

async function reopen(fs: FileSystem): Promise<{ log: CommitLog; numbers: unknown[] }> {
  const numbers: unknown[] = []
  const onLine = (line: LedgerLine) => numbers.push(JSON.stringify(line.steps[0]).slice(0, 11))
  return { log: await CommitLog.open(optionsFor(fs, { onLine })), numbers }
}

/** The side files that the ledger names, as they are on disk. */
const sideFiles = (disk: Disk, log: CommitLog): Contents =>
  new Map([...log.lengths.keys()].map((file) => [file, disk.get(`/t/task${file}`)?.toString() ?? '']))

async function expectIntact(disk: Disk, history: readonly Acknowledged[], acked: number, random: Random) {
  const fs = new PowerLossFs(disk)
  const { log, numbers } = await reopen(fs)
  const found = numbers.length
  expect([acked, acked + 1]).toContain(found)
  expect(numbers).toEqual(Array.from({ length: found }, (_, n) => `{"number":${n}`.slice(0, 11)))
  expect(sideFiles(fs.disk, log)).toEqual(history[found]?.contents)
  const forgotten = [...(history[found - 1]?.contents.keys() ?? [])].filter((file) => !log.lengths.has(file))
  for (const file of forgotten) expect(fs.disk.has(`/t/task${file}`)).toBe(false)

  const again = new PowerLossFs(fs.diskAfter(Math.floor(random() * (fs.ops + 1)), random))
  const second = await reopen(again)
  expect(second.numbers).toEqual(numbers)
  expect(sideFiles(again.disk, second.log)).toEqual(history[found]?.contents)
  await expectUsable(again, second.log, found)
}

async function expectUsable(fs: PowerLossFs, log: CommitLog, found: number) {
  const file = FILES[0] ?? ''
  const kept = log.lengths.has(file) ? (fs.disk.get(`/t/task${file}`)?.toString() ?? '') : ''
  const { seq } = await log.commit({ steps: [{ number: found }], appends: [{ file, text: 'more' }] })
  expect(seq).toBe(found + 1)
  const after = new PowerLossFs(fs.diskAfter(fs.ops, () => 0.99))
  const third = await reopen(after)
  expect(third.numbers).toHaveLength(found + 1)
  expect(after.disk.get(`/t/task${file}`)?.toString()).toBe(`${kept}more`)
}

test('after a power loss at any operation, exactly the acknowledged commits are there, or one more, whole', async () => {
  const crash = async (list: readonly Command[], seed: number) => {
    const fs = new PowerLossFs()
    const history = await carryOut(fs, list)
    const random = seeded(seed)
    for (let ops = 0; ops <= fs.ops; ops++) {
      const acked = history.filter((one) => one.ops <= ops).length - 1
      for (const survival of [() => 0, () => 0.99, random])
        await expectIntact(fs.diskAfter(ops, survival), history, acked, random)
    }
  }
  await fc.assert(fc.asyncProperty(commands, fc.nat(), crash), { numRuns: 12 })
}, 120_000)

test('what open() reports is durable, also a line whose fsync never returned', async () => {
  const disk = new PowerLossFs()
  const faulty = new FaultyFs(disk)
  const log = await CommitLog.open(optionsFor(faulty))
  faulty.arm({ op: 'sync', nth: 1, code: 'EIO', path: '_ledger.jsonl' })
  const group = { steps: [{ number: 0 }], appends: [{ file: '_a.jsonl', text: 'a' }] }
  await expect(log.commit(group)).rejects.toMatchObject({ code: 'fsync_failed' })

  const { numbers } = await reopen(disk)
  expect(numbers).toHaveLength(1)
  const afterLoss = await reopen(new PowerLossFs(disk.diskAfter(disk.ops, () => 0.99)))
  expect(afterLoss.numbers).toEqual(numbers)
})

test('a replaced file is the old one or the new one after a power loss at any operation', async () => {
  const replace = async (older: string, newer: string, seed: number) => {
    const fs = new PowerLossFs()
    await replaceFile(fs, '/t/state.json', older)
    const done = fs.ops
    await replaceFile(fs, '/t/state.json', newer)
    for (let ops = done; ops <= fs.ops; ops++) {
      const found = fs
        .diskAfter(ops, seeded(seed + ops))
        .get('/t/state.json')
        ?.toString()
      expect(ops === fs.ops ? [newer] : [older, newer]).toContain(found)
    }
  }
  await fc.assert(fc.asyncProperty(fc.string(), fc.string(), fc.nat(), replace), { numRuns: 50 })
})
