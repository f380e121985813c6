import { describe, expect, test } from 'vitest'
import { CommitLog } from '../../src/state/commit-log.ts'
import { DiskSpace, SPACE_MARGIN_BYTES } from '../../src/state/disk-space.ts'
import { nodeFileSystem } from '../../src/state/file-system.ts'
import { FaultyFs, PowerLossFs } from '../support/power-loss-fs.ts'
import { VirtualClock } from '../support/virtual-clock.ts'

const MB = 1_000_000
const full = expect.objectContaining({ name: 'StateError', code: 'disk_full', retryable: true })

/** A disk with so much room beyond the margin. */
function rig(free: number | undefined) {
  const disk = new PowerLossFs()
  const fs = new FaultyFs(disk)
  const leave = (bytes: number | undefined) => {
    fs.free = bytes === undefined ? undefined : bytes + SPACE_MARGIN_BYTES
  }
  leave(free)
  const clock = new VirtualClock()
  const space = new DiskSpace({ fs, directory: '/t', clock })
  return { disk, fs, leave, clock, space }
}

describe('a look ahead at the disk', () => {
  test('lets through what fits, and says of what does not: which folder, how much, and what to do', async () => {
    const { space } = rig(5 * MB)
    await space.ensure(5 * MB, 'it')
    await expect(space.ensure(6 * MB, 'the result')).rejects.toEqual(full)
    await expect(space.ensure(6 * MB, 'the result')).rejects.toThrow(
      'the disk is full: the result needs 6 MB and 1.05 MB beside it, and /t has 6.05 MB left.',
    )
  })

  test('counts what is written between two questions, and asks about once a second', async () => {
    const { space, fs, clock } = rig(1_000 * MB)
    for (let n = 0; n < 500; n++) await space.ensure(MB, 'it')
    expect(fs.asked).toBe(1)
    clock.advance(1_000)
    await space.ensure(MB, 'it')
    expect(fs.asked).toBe(2)
    clock.jump(-86_400_000)
    await space.ensure(MB, 'it')
    expect(fs.asked).toBe(3)
  })

  test('asks again before it refuses: room may have been made', async () => {
    const { space, fs, leave } = rig(2 * MB)
    await space.ensure(MB, 'it')
    leave(50 * MB)
    await space.ensure(10 * MB, 'it')
    expect(fs.asked).toBe(2)
  })

  test('refuses nothing where the file system cannot say', async () => {
    const { space } = rig(undefined)
    await space.ensure(1e15, 'it')
    ;(await space.reserve(1e15, 'it')).release()
  })

  test('what is set aside is there for nothing else but answers, until it is spent or given back', async () => {
    const { space } = rig(10 * MB)
    const room = await space.reserve(6 * MB, 'the results')
    await expect(space.ensure(5 * MB, 'it')).rejects.toEqual(full)
    await expect(space.reserve(5 * MB, 'it')).rejects.toEqual(full)
    await space.ensure(11 * MB, 'an answer', true)
    room.spend(4 * MB)
    await space.ensure(5 * MB, 'it')
    room.spend(100 * MB)
    room.release()
    room.release()
    await space.ensure(10 * MB, 'it')
  })

  test('the real disk says how much it has, and nothing about a folder that is not there', async () => {
    expect(await nodeFileSystem.freeBytes('/')).toBeGreaterThan(0)
    expect(await nodeFileSystem.freeBytes('/no/such/folder')).toBeUndefined()
  })
})

describe('a commit that will not fit', () => {
  const group = { steps: [1], appends: [{ file: '_a.jsonl', text: 'x'.repeat(1_000) }] }

  test('is refused before anything is written, and the next one goes on', async () => {
    const { disk, fs, clock, leave } = rig(500)
    const log = await CommitLog.open({ fs, directory: '/t', name: 'task', guard: () => {}, clock })
    const before = disk.ops
    await expect(log.commit(group)).rejects.toEqual(full)
    expect(disk.ops).toBe(before)
    leave(5_000)
    expect((await log.commit(group)).seq).toBe(1)
  })

  test('may use up what is kept free when it records answers', async () => {
    const { fs, clock, leave } = rig(0)
    const log = await CommitLog.open({ fs, directory: '/t', name: 'task', guard: () => {}, clock })
    expect((await log.commit({ ...group, isPaid: true })).seq).toBe(1)
    leave(-SPACE_MARGIN_BYTES)
    clock.advance(1_000)
    await expect(log.commit({ ...group, isPaid: true })).rejects.toEqual(full)
  })
})
