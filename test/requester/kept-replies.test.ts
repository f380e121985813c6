import { existsSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { accept, reject, type Verdict } from '../../src/batch/verdict.ts'
import { holdsReplies, isSideFile, keepsTail, keptFileName } from '../../src/requester/files.ts'
import { keepReplies } from '../../src/requester/kept-replies.ts'
import { TaskStore } from '../../src/requester/store.ts'
import type { FileSystem } from '../../src/state/file-system.ts'
import { TaskManager } from '../../src/task/task-manager.ts'
import type { TaskResponse } from '../../src/task/task-types.ts'
import { type Disk, FaultyFs, PowerLossFs } from '../support/power-loss-fs.ts'
import { randomFrom } from '../support/random.ts'
import { addTo, prepared, storeOptions } from '../support/store-plans.ts'
import { ask, crashing, harness, isKind, names, readTaskFile, taskLines } from '../support/task-harness.ts'

class Four extends TaskManager {
  *generateRequests() {
    for (const key of names(4)) yield { key, body: ask(key) }
  }

  processResponse({ key }: TaskResponse): Verdict | Promise<Verdict> {
    return key === 'k-3' ? reject('not this one') : accept(key)
  }
}

const filesIn = (dir: string): string[] =>
  readdirSync(dir)
    .filter((name) => name.startsWith('task_') && /batch|replies/.test(name))
    .sort()

const KEPT = '_batch1_result_kept.jsonl'
const customIds = (dir: string, suffix: string) => taskLines(dir, suffix).map(({ custom_id: id }) => id)

describe('--keep-replies', () => {
  test('leaves every raw reply of a batch beside the task, and nothing else of it', async () => {
    const rig = harness()
    await new Four(rig.options({ keepReplies: true })).run()
    expect(filesIn(rig.dir)).toEqual([`task${KEPT}`])
    expect(customIds(rig.dir, KEPT).sort()).toEqual(['r1-0', 'r2-0', 'r3-0', 'r4-0'])
    expect(taskLines(rig.dir, KEPT)[0]).toHaveProperty('response.body.choices')
  })

  test('leaves those of direct calls, too', async () => {
    const rig = harness()
    await new Four(rig.options({ keepReplies: true, forceDirect: true })).run()
    expect(filesIn(rig.dir)).toEqual(['task_replies1_kept.jsonl'])
    expect(customIds(rig.dir, '_replies1_kept.jsonl').sort()).toEqual(['r1-0', 'r2-0', 'r3-0', 'r4-0'])
  })

  test('is off by default: replies are removed when all of them are judged', async () => {
    const rig = harness()
    await new Four(rig.options()).run()
    expect(filesIn(rig.dir)).toEqual([])
  })

  test('what was kept stays, whatever is run or wiped later, and stops nothing', async () => {
    const rig = harness()
    await new Four(rig.options({ keepReplies: true })).run()
    const kept = readTaskFile(rig.dir, KEPT)
    expect(await new Four(rig.options()).run()).toMatchObject({ complete: true })
    await new Four(rig.options({ wipeFailed: true })).run()
    await new Four(rig.options({ wipeTask: true, keepReplies: true })).run()
    expect(readTaskFile(rig.dir, KEPT)).toBe(kept)
    expect(filesIn(rig.dir)).toHaveLength(2)
  })

  test('a task that is begun anew under the same name keeps its own replies beside them', async () => {
    const rig = harness()
    writeFileSync(join(rig.dir, `task${KEPT}`), 'replies of long ago\n')
    expect(await new Four(rig.options({ keepReplies: true })).run()).toMatchObject({ complete: true })
    expect(readTaskFile(rig.dir, KEPT)).toBe('replies of long ago\n')
    expect(customIds(rig.dir, '_batch1_result_kept2.jsonl')).toHaveLength(4)
  })

  test('a wipe keeps replies that were never judged', async () => {
    const rig = harness()
    const crashed = crashing(
      rig,
      { at: (seen) => isKind(seen, 'DELETE', /files/) },
      { processConcurrency: 1, keepReplies: true },
    )
    class Stuck extends Four {
      override processResponse() {
        return new Promise<Verdict>(() => {})
      }
    }
    const run = new Stuck(crashed.options).run()
    const folder = await crashed.folder
    crashed.bury()
    run.catch(() => {})
    expect(existsSync(join(folder, 'task_batch1_result.jsonl'))).toBe(true)
    await new Four(
      rig.options({ taskDir: folder, wipeTask: true, keepReplies: true, maxSessionRequests: 0 }),
    ).run()
    expect(customIds(folder, KEPT)).toHaveLength(4)
  })
})

describe('the name of a kept file', () => {
  const suffixes = fc.constantFrom('_batch3_result.jsonl', '_batch12_stray1.jsonl', '_replies4.jsonl')

  test('is that of no side file, be the task called what it may', () => {
    fc.assert(
      fc.property(suffixes, fc.integer({ min: 1, max: 20 }), (suffix, place) => {
        expect(holdsReplies(suffix)).toBe(true)
        const kept = keptFileName(suffix, place)
        // Another task's name may begin with this one's and go on with a part of the suffix.
        for (let at = 0; at < kept.length; at++) {
          const rest = kept.slice(at)
          expect([rest, isSideFile(rest), keepsTail(rest), holdsReplies(rest)]).toEqual([
            rest,
            false,
            false,
            false,
          ])
        }
      }),
    )
  })

  test('is given to nothing but replies', () => {
    for (const suffix of ['_batch3.jsonl', '_output.jsonl', '_failed.jsonl', '_output_part001.jsonl'])
      expect(holdsReplies(suffix)).toBe(false)
  })
})

const RESULT = '{"custom_id":"r1-0","response":{}}\n'.repeat(40)

const opened = (fs: FileSystem): Promise<TaskStore> =>
  TaskStore.open(
    storeOptions(fs, {
      isSideFile,
      keepTail: keepsTail,
      beforeForget: (store, files) => keepReplies(fs, (file) => store.path(file), files),
    }),
  )

/** A store that has received a batch's result; then that is dropped. */
async function dropAfterReceiving(fs: FileSystem, onReady: () => void = () => {}): Promise<void> {
  const store = await opened(fs)
  await store.commit((draft) => addTo(draft, prepared('a')))
  const file = await fs.open(store.path('_batch1_result.jsonl'), 'create')
  await file.append(Buffer.from(RESULT))
  await file.sync()
  await file.close()
  await store.commit((draft) => {
    draft.name('_batch1_result.jsonl')
    draft.apply({ kind: 'seal', file: 1, as: 'direct' })
  })
  onReady()
  await drop(store)
  await store.close()
}

const drop = (store: TaskStore): Promise<void> =>
  store.commit((draft) => {
    draft.apply({ kind: 'rejected', request: 1, reason: 'done' })
    draft.apply({ kind: 'dropped', file: 1 })
    draft.forget('_batch1.jsonl')
    draft.forget('_batch1_result.jsonl')
  })

const replyFiles = (disk: Disk): Record<string, string> =>
  Object.fromEntries(
    [...disk].flatMap(([path, content]) =>
      path.includes('_batch1_result') ? [[path.slice('/t/task'.length), content.toString()]] : [],
    ),
  )

/** Goes on from a disk as the next run would: what is not dropped yet is dropped. */
async function goOn(disk: Disk): Promise<Record<string, string>> {
  const fs = new PowerLossFs(disk)
  const store = await opened(fs)
  if (store.durable.state.files.has(1)) await drop(store)
  await store.close()
  return replyFiles(fs.disk)
}

describe('while replies are kept', () => {
  test.each([
    ['by a second name', (fs: PowerLossFs): FileSystem => fs],
    [
      'by a copy, where a disk has no second names',
      (fs: PowerLossFs): FileSystem => {
        const faulty = new FaultyFs(fs)
        faulty.arm({ op: 'link', nth: 1, code: 'EPERM' })
        return faulty
      },
    ],
  ])('%s: after a power loss at any time they are there, whole, and in the end once', async (_, wrap) => {
    const fs = new PowerLossFs()
    let ready = 0
    await dropAfterReceiving(wrap(fs), () => {
      ready = fs.ops
    })
    expect(fs.ops - ready).toBeGreaterThan(4)
    for (let ops = ready; ops <= fs.ops; ops++) {
      for (let seed = 0; seed < 24; seed++) {
        const disk = fs.diskAfter(ops, randomFrom(seed * 7919 + ops))
        const { [KEPT]: kept, '_batch1_result.jsonl': side } = replyFiles(disk)
        expect([kept, side]).toContain(RESULT)
        expect(kept ?? RESULT).toBe(RESULT)
        expect(await goOn(disk)).toEqual({ [KEPT]: RESULT })
      }
    }
  })

  test('a full disk stops the drop, and changes nothing', async () => {
    const inner = new PowerLossFs()
    const fs = new FaultyFs(inner)
    const arm = () =>
      fs.arm({ op: 'link', nth: 1, code: 'ENOSPC' }, { op: 'append', nth: 1, code: 'ENOSPC', path: '' })
    await expect(dropAfterReceiving(fs, arm)).rejects.toMatchObject({ code: 'disk_full' })
    expect(replyFiles(inner.disk)).toEqual({ '_batch1_result.jsonl': RESULT })
    expect(await goOn(inner.disk)).toEqual({ [KEPT]: RESULT })
  })

  test('a directory that cannot be made durable stops the drop', async () => {
    const inner = new PowerLossFs()
    const fs = new FaultyFs(inner)
    const arm = () => fs.arm({ op: 'syncDirectory', nth: 1, code: 'EIO' })
    await expect(dropAfterReceiving(fs, arm)).rejects.toMatchObject({ code: 'fsync_failed' })
    expect(replyFiles(inner.disk)['_batch1_result.jsonl']).toBe(RESULT)
  })
})
