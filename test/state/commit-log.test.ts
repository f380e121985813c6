import { describe, expect, test } from 'vitest'
import { LockError } from '../../src/errors.ts'
import { CommitLog, type CommitLogOptions } from '../../src/state/commit-log.ts'
import type { FileSystem } from '../../src/state/file-system.ts'
import type { Group } from '../../src/state/group.ts'
import { type Disk, type Fault, FaultyFs, PowerLossFs } from '../support/power-loss-fs.ts'
import { VirtualClock } from '../support/virtual-clock.ts'

const openLog = (fs: FileSystem, extra: Partial<CommitLogOptions> = {}) =>
  CommitLog.open({ fs, directory: '/t', name: 'task', guard: () => {}, clock: new VirtualClock(5), ...extra })

const append = (file: string, text: string, ...steps: unknown[]): Group => ({
  steps,
  appends: [{ file, text }],
})

const textOf = (disk: Disk, suffix: string) => disk.get(`/t/task${suffix}`)?.toString()

/** A disk with these files of the task changed. */
const changed = (fs: PowerLossFs, files: Readonly<Record<string, string | undefined>>) => {
  const disk = new Map(fs.disk)
  for (const [suffix, text] of Object.entries(files)) {
    if (text === undefined) disk.delete(`/t/task${suffix}`)
    else disk.set(`/t/task${suffix}`, Buffer.from(text))
  }
  return new PowerLossFs(disk)
}

describe('commits', () => {
  test('a group is one line that names the lengths its files have', async () => {
    const fs = new PowerLossFs()
    const log = await openLog(fs)
    const appends = [
      { file: '_a.jsonl', text: 'é' },
      { file: '_b.jsonl', text: '12' },
      { file: '_a.jsonl', text: '\n' },
    ]
    const committed = await log.commit({ steps: ['one', { two: 2 }], appends })
    expect(committed).toMatchObject({ seq: 1, offset: 0, lengths: { '_a.jsonl': 3, '_b.jsonl': 2 } })
    expect(textOf(fs.disk, '_a.jsonl')).toBe('é\n')
    expect(await log.readLine(0)).toMatchObject({ seq: 1, at: 5, steps: ['one', { two: 2 }] })
    expect(log.ledgerBytes).toBe(committed.bytes)
  })

  test('a file that was downloaded is named with its size, and forgotten files are unlinked', async () => {
    const fs = changed(new PowerLossFs(), { '_result.jsonl': '12345' })
    const log = await openLog(fs)
    const named = await log.commit({ steps: [], appends: [], names: ['_result.jsonl'] })
    expect(named.lengths).toEqual({ '_result.jsonl': 5 })
    await log.commit({ steps: [], appends: [], forget: ['_result.jsonl'] })
    expect(textOf(fs.disk, '_result.jsonl')).toBeUndefined()
    expect(log.lengths.has('_result.jsonl')).toBe(false)
    await expect(log.commit({ steps: [], appends: [], names: ['_gone.jsonl'] })).rejects.toMatchObject({
      code: 'file_missing',
    })
  })

  test('impossible groups are refused and write nothing', async () => {
    const fs = new PowerLossFs()
    const log = await openLog(fs)
    await log.commit(append('_a.jsonl', 'abc'))
    const before = fs.ops
    const circular: unknown[] = []
    circular.push(circular)
    const groups: Group[] = [
      append('../a.jsonl', 'x'),
      append('_ledger.jsonl', 'x'),
      append('_b.jsonl', 'x', circular),
      append('_b.jsonl', 'x', 10n),
      { steps: [], appends: [], truncate: [{ file: '_a.jsonl', length: 4 }] },
      { ...append('_a.jsonl', 'x'), truncate: [{ file: '_a.jsonl', length: 1 }] },
      { ...append('_a.jsonl', 'x'), forget: ['_a.jsonl'] },
    ]
    for (const group of groups)
      await expect(log.commit(group)).rejects.toMatchObject({ code: 'group_invalid' })
    expect(fs.ops).toBe(before)
    expect(log.seq).toBe(1)
  })

  test('overlapping commits and commits after close are refused', async () => {
    const log = await openLog(new PowerLossFs())
    const first = log.commit(append('_a.jsonl', 'x'))
    await expect(log.commit(append('_a.jsonl', 'y'))).rejects.toMatchObject({ code: 'commit_overlapping' })
    expect((await first).seq).toBe(1)
    await log.close()
    await expect(log.commit(append('_a.jsonl', 'y'))).rejects.toMatchObject({ code: 'log_closed' })
  })

  test('many more files than handles', async () => {
    const fs = new PowerLossFs()
    const log = await openLog(fs)
    for (const text of ['1', '2'])
      for (let n = 0; n < 100; n++) await log.commit(append(`_batch${n}.jsonl`, text))
    expect(textOf(fs.disk, '_batch7.jsonl')).toBe('12')
    expect((await openLog(fs)).length('_batch99.jsonl')).toBe(2)
  })
})

describe('somebody else', () => {
  test('a guard that throws stops a commit before anything is written', async () => {
    const fs = new PowerLossFs()
    let lost = false
    const guard = () => {
      if (lost) throw new LockError('lock_lost', 'gone')
    }
    const log = await openLog(fs, { guard })
    lost = true
    const before = fs.ops
    await expect(log.commit(append('_a.jsonl', 'x'))).rejects.toMatchObject({ code: 'lock_lost' })
    expect(fs.ops).toBe(before)
  })

  test('a lock lost during the fsyncs leaves the ledger alone and ends the log', async () => {
    const fs = new PowerLossFs()
    let calls = 0
    const guard = () => {
      calls += 1
      if (calls === 3) throw new LockError('lock_lost', 'gone')
    }
    const log = await openLog(fs, { guard })
    await expect(log.commit(append('_a.jsonl', 'x'))).rejects.toMatchObject({ code: 'lock_lost' })
    await expect(log.commit(append('_a.jsonl', 'x'))).rejects.toMatchObject({ code: 'lock_lost' })
    expect(textOf(fs.disk, '_ledger.jsonl')).toBe('')
  })

  test('a ledger that another process wrote to ends the log', async () => {
    const fs = new PowerLossFs()
    const log = await openLog(fs)
    const other = await openLog(fs)
    await other.commit(append('_a.jsonl', 'x'))
    for (const _ of [1, 2])
      await expect(log.commit(append('_a.jsonl', 'y'))).rejects.toMatchObject({
        name: 'LockError',
        code: 'ledger_changed',
      })
    expect(textOf(fs.disk, '_a.jsonl')).toBe('x')
  })

  test('a side file changed or deleted under way is noticed, and the rest of the group undone', async () => {
    const fs = new PowerLossFs()
    const log = await openLog(fs)
    await log.commit(append('_b.jsonl', 'bb'))
    await fs.unlink('/t/task_b.jsonl')
    const appends = [
      { file: '_a.jsonl', text: 'a' },
      { file: '_b.jsonl', text: 'b' },
    ]
    await expect(log.commit({ steps: [], appends })).rejects.toMatchObject({ code: 'file_changed' })
    expect(textOf(fs.disk, '_a.jsonl')).toBe('')
    expect((await log.commit(append('_a.jsonl', 'again'))).seq).toBe(2)
  })
})

describe('failing disks', () => {
  const failing = async (fault: Fault) => {
    const disk = new PowerLossFs()
    const fs = new FaultyFs(disk)
    const log = await openLog(fs)
    await log.commit({ ...append('_a.jsonl', 'old'), steps: [1] })
    fs.arm(fault)
    const appends = [
      { file: '_a.jsonl', text: 'new' },
      { file: '_b.jsonl', text: 'new' },
    ]
    const outcome = await log.commit({ steps: [2], appends }).then(
      () => 'committed',
      (error) => error.code,
    )
    return { disk, fs, log, outcome }
  }

  test.each<[string, Fault]>([
    ['disk_full', { op: 'append', nth: 1, code: 'ENOSPC', written: 0.5 }],
    ['disk_full', { op: 'append', nth: 2, code: 'EDQUOT', written: 0.5 }],
    ['write_failed', { op: 'append', nth: 3, code: 'EIO', written: 0.9 }],
    ['disk_full', { op: 'append', nth: 1, code: 'ENOSPC', written: 0.7, path: '_ledger.jsonl' }],
    ['write_failed', { op: 'open', nth: 1, code: 'EACCES', path: '_b.jsonl' }],
  ])('%s: a failed write is undone and the log goes on (%o)', async (code, fault) => {
    const { disk, log, outcome } = await failing(fault)
    expect(outcome).toBe(code)
    expect([log.seq, log.length('_a.jsonl'), log.length('_b.jsonl')]).toEqual([1, 3, 0])
    expect(textOf(disk.disk, '_a.jsonl')).toBe('old')
    expect((await log.commit(append('_a.jsonl', '+', 2))).seq).toBe(2)
    const again = await openLog(disk)
    expect([again.seq, again.length('_a.jsonl')]).toEqual([2, 4])
  })

  test.each<Fault>([
    { op: 'sync', nth: 1, code: 'EIO' },
    { op: 'sync', nth: 2, code: 'ENOSPC' },
    { op: 'syncDirectory', nth: 1, code: 'EIO' },
    { op: 'sync', nth: 1, code: 'EIO', path: '_ledger.jsonl' },
  ])('a failed fsync ends the log: nothing is tried again (%o)', async (fault) => {
    const { disk, fs, log, outcome } = await failing(fault)
    expect(outcome).toBe('fsync_failed')
    fs.arm()
    const before = disk.ops
    await expect(log.commit(append('_a.jsonl', 'x'))).rejects.toMatchObject({ code: 'fsync_failed' })
    expect(disk.ops).toBe(before)
    expect(textOf(disk.disk, '_a.jsonl')?.slice(0, (await openLog(disk)).length('_a.jsonl'))).toMatch(
      /^old(new)?$/,
    )
  })

  test('a write that cannot be undone ends the log, and the next start repairs', async () => {
    const disk = new PowerLossFs()
    const fs = new FaultyFs(disk)
    const log = await openLog(fs)
    fs.arm({ op: 'append', nth: 1, code: 'ENOSPC', written: 0.5 }, { op: 'truncate', nth: 1, code: 'EIO' })
    for (const _ of [1, 2])
      await expect(log.commit(append('_a.jsonl', '12345678'))).rejects.toMatchObject({
        code: 'cut_back_failed',
      })
    const again = await openLog(disk)
    await again.commit(append('_a.jsonl', 'ok'))
    expect(textOf(disk.disk, '_a.jsonl')).toBe('ok')
  })

  test('a file that cannot be unlinked does not fail the commit that forgot it, and goes later', async () => {
    const disk = new PowerLossFs()
    const fs = new FaultyFs(disk)
    const log = await openLog(fs)
    await log.commit(append('_a.jsonl', 'x'))
    fs.arm({ op: 'unlink', nth: 1, code: 'EBUSY' })
    await log.commit({ steps: [], appends: [], forget: ['_a.jsonl'] })
    expect(textOf(disk.disk, '_a.jsonl')).toBe('x')
    await openLog(disk)
    expect(textOf(disk.disk, '_a.jsonl')).toBeUndefined()
  })

  test('a truncation that fails after its commit keeps the commit and ends the log', async () => {
    const disk = new PowerLossFs()
    const fs = new FaultyFs(disk)
    const log = await openLog(fs)
    await log.commit(append('_a.jsonl', 'abc'))
    fs.arm({ op: 'truncate', nth: 1, code: 'EIO' })
    await log.commit({ steps: [], appends: [], truncate: [{ file: '_a.jsonl', length: 1 }] })
    await expect(log.commit(append('_a.jsonl', 'x'))).rejects.toMatchObject({ code: 'write_failed' })
    await openLog(disk)
    expect(textOf(disk.disk, '_a.jsonl')).toBe('a')
  })
})

describe('opening', () => {
  const twoCommits = async () => {
    const fs = new PowerLossFs()
    const log = await openLog(fs)
    await log.commit(append('_a.jsonl', 'aaa', 1))
    await log.commit(append('_replies1.jsonl', 'r1\n', 2))
    return fs
  }

  test.each([
    ['file_shortened', { '_a.jsonl': 'aa' }],
    ['file_shortened', { '_a.jsonl': undefined }],
    ['ledger_missing', { '_ledger.jsonl': undefined }],
    ['ledger_behind', { '_ledger.jsonl': '' }],
    ['ledger_corrupt', { '_ledger.jsonl': 'this\nis\nno ledger\n' }],
  ])('%s stops and changes nothing', async (code, files) => {
    const fs = changed(await twoCommits(), files)
    const before = fs.disk
    const opening = openLog(fs, {
      isSideFile: (suffix) => suffix.startsWith('_a'),
      leastSeq: code === 'ledger_behind' ? 2 : 0,
    })
    await expect(opening).rejects.toMatchObject({ name: 'StateError', code })
    expect(fs.disk).toEqual(before)
    expect(fs.ops).toBe(0)
  })

  test('a torn last line is dropped and longer side files are cut', async () => {
    const whole = await twoCommits()
    const ledger = textOf(whole.disk, '_ledger.jsonl') ?? ''
    const fs = changed(whole, { '_ledger.jsonl': `${ledger}{"crc":"00`, '_a.jsonl': 'aaaXX' })
    const log = await openLog(fs)
    expect(log.seq).toBe(2)
    expect(textOf(fs.disk, '_ledger.jsonl')).toBe(ledger)
    expect(textOf(fs.disk, '_a.jsonl')).toBe('aaa')
  })

  test('kept tails are reported, and a commit takes over their beginning', async () => {
    const keepTail = (suffix: string) => suffix.startsWith('_replies')
    const fs = changed(await twoCommits(), {
      '_replies1.jsonl': 'r1\nr2\nr',
      '_replies2.jsonl': 'n1\n',
      '_x.jsonl': '?',
    })
    const log = await openLog(fs, { keepTail })
    expect(Object.fromEntries(log.tails)).toEqual({
      '_replies1.jsonl': { length: 3, size: 7 },
      '_replies2.jsonl': { length: 0, size: 3 },
    })
    await expect(log.commit(append('_replies1.jsonl', 'r3\n'))).rejects.toMatchObject({
      code: 'group_invalid',
    })
    const truncate = [
      { file: '_replies1.jsonl', length: 6 },
      { file: '_replies2.jsonl', length: 3 },
    ]
    await log.commit({ steps: ['received'], appends: [], truncate })
    await log.commit(append('_replies1.jsonl', 'r3\n'))
    expect(textOf(fs.disk, '_replies1.jsonl')).toBe('r1\nr2\nr3\n')
    expect((await openLog(fs, { keepTail })).tails.size).toBe(0)
  })

  test('what onLine throws stops the start, and changes nothing', async () => {
    const fs = changed(await twoCommits(), { '_a.jsonl': 'aaa and more' })
    const onLine = () => {
      throw new Error('unknown step')
    }
    await expect(openLog(fs, { onLine })).rejects.toThrow('unknown step')
    expect(fs.ops).toBe(0)
  })

  test('an unwritable folder is a StateError with the cause', async () => {
    const fs = new FaultyFs(new PowerLossFs())
    fs.arm({ op: 'open', nth: 1, code: 'EROFS' })
    await expect(openLog(fs)).rejects.toMatchObject({ code: 'write_failed', cause: { code: 'EROFS' } })
  })
})
