import { describe, expect, test } from 'vitest'
import { initialState } from '../../src/batch/task-state.ts'
import { LockError } from '../../src/errors.ts'
import type { View } from '../../src/requester/draft.ts'
import { StateFile, type StateFileOptions, stateFileSchema } from '../../src/requester/state-file.ts'
import { TaskStore } from '../../src/requester/store.ts'
import { FaultyFs, PowerLossFs } from '../support/power-loss-fs.ts'
import { storeOptions } from '../support/store-plans.ts'
import { VirtualClock } from '../support/virtual-clock.ts'

const PATH = '/t/task_state.json'
const HEARTBEAT_MS = 900_000

/** Lets everything happen that does not wait for time to pass. */
async function settled(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve))
}

async function rig(over: Partial<StateFileOptions> = {}) {
  const disk = new PowerLossFs()
  const fs = new FaultyFs(disk)
  const clock = new VirtualClock()
  const file = await StateFile.open({
    fs,
    path: PATH,
    clock,
    guard: () => {},
    heartbeatMs: HEARTBEAT_MS,
    ...over,
  })
  const view: View = (await TaskStore.open(storeOptions(new PowerLossFs()))).durable
  const saved = () => stateFileSchema.parse(JSON.parse(disk.disk.get(PATH)?.toString() ?? ''))
  const passes = async (ms: number) => {
    clock.advance(ms)
    await settled()
  }
  return { disk, fs, clock, file, view, saved, passes }
}

describe('the state file while a run goes on', () => {
  test('is saved at once, then at most once a second, and the last change of a burst is not left out', async () => {
    const { file, view, disk, saved, passes } = await rig()
    file.touch(view, 1)
    await passes(0)
    expect(saved().seq).toBe(1)
    const before = disk.ops
    for (let seq = 2; seq <= 50; seq++) file.touch(view, seq)
    await passes(900)
    expect(disk.ops).toBe(before)
    await passes(100)
    expect(saved().seq).toBe(50)
  })

  test('takes in what changes while it is being written', async () => {
    const { file, view, saved, passes } = await rig()
    file.touch(view, 1)
    file.touch({ ...view, state: { ...initialState, account: 'new' } }, 2)
    await passes(1_000)
    expect(saved()).toMatchObject({ seq: 2, account: 'new' })
  })

  test('shows that the run lives while nothing changes, also when the clock was set back', async () => {
    const { file, view, clock, saved, passes } = await rig()
    file.touch(view, 1)
    await passes(0)
    const first = Date.parse(saved().savedAt)
    await passes(HEARTBEAT_MS)
    expect(Date.parse(saved().savedAt)).toBe(first + HEARTBEAT_MS)
    clock.jump(-86_400_000)
    file.touch(view, 2)
    await passes(1_000)
    expect(saved()).toMatchObject({ seq: 2, savedAt: new Date(clock.now()).toISOString() })
    await passes(HEARTBEAT_MS)
    expect(Date.parse(saved().savedAt)).toBe(clock.now())
  })

  test('begins with a heartbeat when it is up to date', async () => {
    const { file, view, disk, passes } = await rig()
    file.touch(view, 0)
    await passes(HEARTBEAT_MS - 1)
    expect(disk.ops).toBe(0)
    await passes(1)
    expect(disk.disk.has(PATH)).toBe(true)
  })

  test('is tried again after a failure, which is told only when it lasts to the end', async () => {
    const { file, fs, view, saved, passes } = await rig()
    fs.arm({ op: 'append', nth: 1, code: 'ENOSPC' }, { op: 'rename', nth: 2, code: 'ENOSPC' })
    file.touch(view, 1)
    await passes(1_000)
    expect(saved().seq).toBe(1)
    file.touch(view, 2)
    await expect(file.save(view, 2)).rejects.toMatchObject({ code: 'disk_full', retryable: true })
    expect(saved().seq).toBe(1)
  })
})

describe('nothing is written', () => {
  test('after the end of the run', async () => {
    const { file, view, disk, passes } = await rig()
    file.touch(view, 1)
    file.touch(view, 2)
    await file.save(view, 3)
    const after = disk.ops
    file.touch(view, 4)
    await passes(2 * HEARTBEAT_MS)
    expect(disk.ops).toBe(after)
  })

  test.each([
    ['before the write', 1],
    ['during the write', 3],
  ])('when the lock was lost %s', async (_, nth) => {
    let [calls, lostFrom] = [0, Number.POSITIVE_INFINITY]
    const guard = () => {
      if (++calls >= lostFrom) throw new LockError('lock_lost', 'gone')
    }
    const { file, view, disk, saved, passes } = await rig({ guard })
    file.touch(view, 1)
    await passes(0)
    lostFrom = calls + nth
    file.touch(view, 2)
    await passes(5_000)
    expect(saved().seq).toBe(1)
    expect([...disk.disk.keys()]).toEqual([PATH])
    await expect(file.save(view, 2)).rejects.toMatchObject({ code: 'lock_lost' })
    expect(saved().seq).toBe(1)
  })
})
