import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { StateError } from '../../src/errors.ts'
import type { Draft } from '../../src/requester/draft.ts'
import { queueFileName } from '../../src/requester/files.ts'
import { type StoreOptions, TaskStore } from '../../src/requester/store.ts'
import { CommitLog } from '../../src/state/commit-log.ts'
import type { FileSystem } from '../../src/state/file-system.ts'
import { type Disk, type Fault, FaultyFs, PowerLossFs, type Random } from '../support/power-loss-fs.ts'
import { lives, type Move } from '../support/step-walk.ts'
import { addTo, plan, prepared, storeOptions } from '../support/store-plans.ts'
import { dumpTask, type TaskDump } from '../support/task-dump.ts'

const open = (fs: FileSystem) => TaskStore.open(storeOptions(fs))
const textOf = (fs: PowerLossFs, suffix: string) => fs.disk.get(`/t/task${suffix}`)?.toString() ?? ''

/** What a new process would find. */
async function reopened(disk: Disk): Promise<TaskDump> {
  const store = await open(new PowerLossFs(disk))
  const found = dumpTask(store.durable)
  await store.close()
  return found
}

const fault = fc.record<Fault>({
  op: fc.constant('append'),
  nth: fc.integer({ min: 1, max: 25 }),
  code: fc.constantFrom('ENOSPC', 'EIO'),
  written: fc.double({ min: 0, max: 1, noNaN: true }),
})

/** A number generator that fast-check can replay. */
function seeded(seed: number): Random {
  let state = seed >>> 0
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 2 ** 32
  }
}

/** Carries a move out; on whatever it was built, the draft knows how long each queue file will be. */
function lengthsFit(draft: Draft, move: Move): void {
  plan(draft, move)
  const files = [...draft.state.files.values()]
  expect(files.map(({ id }) => draft.length(queueFileName(id)))).toEqual(files.map(({ bytes }) => bytes))
}

/** A store whose guard, which is asked in the middle of each write, does what is put down in `midWrite`. */
async function openBusy(fs: FileSystem, over: Partial<StoreOptions> = {}) {
  const midWrite: (() => void)[] = []
  const store = await TaskStore.open(storeOptions(fs, { ...over, guard: () => midWrite.shift()?.() }))
  return { store, midWrite }
}

/**
 * Commits the moves and gives what each was rejected with. Some are made while another is written, about every third
 * waits for its write: groups of any size come about, built on others of which some fail.
 */
async function live(
  { store, midWrite }: Awaited<ReturnType<typeof openBusy>>,
  moves: readonly Move[],
): Promise<unknown[]> {
  const commits: Promise<unknown>[] = []
  const commit = (move: Move) => {
    const outcome = store.commit((draft) => lengthsFit(draft, move)).catch((error: unknown) => error)
    commits.push(outcome)
    return outcome
  }
  for (const move of moves) {
    // A wipe cuts files that others append to: the task does it alone, when all other work has ended.
    const isAlone = move.what === 'wipe' || move.what === 'drop'
    if (!isAlone && move.pick % 4 === 1) midWrite.push(() => void commit(move))
    else if (isAlone) {
      await store.settled()
      await commit(move)
    } else if (move.pick % 3 === 0) await commit(move)
    else void commit(move)
  }
  await store.settled()
  return (await Promise.all(commits)).filter((error) => error !== undefined)
}

describe('a plan', () => {
  test('shows in the head at once, and in what is durable only when it is written', async () => {
    const fs = new PowerLossFs()
    const store = await open(fs)
    const commit = store.commit((draft) => {
      addTo(draft, prepared('a'), prepared('b'))
      return draft.requests.find('b')
    })
    expect([store.head.requests.find('b'), store.head.state.counters.pending]).toEqual([2, 2])
    expect([store.durable.requests.find('b'), store.durable.state.counters.pending]).toEqual([undefined, 0])
    expect([store.isWriting, store.seq, store.length(queueFileName(1))]).toEqual([true, 0, 0])

    expect(await commit).toBe(2)
    expect([store.durable.requests.find('b'), store.durable.state.counters.pending]).toEqual([2, 2])
    expect([store.isWriting, store.seq]).toEqual([false, 1])
    expect(store.length(queueFileName(1))).toBe(Buffer.byteLength(textOf(fs, queueFileName(1))))
  })

  test('is computed on the plans before it, and all of one turn go into one ledger line', async () => {
    const fs = new PowerLossFs()
    const store = await open(fs)
    const numbers = await Promise.all(
      ['a', 'b', 'c'].map((key) =>
        store.commit((draft) => {
          addTo(draft, prepared(key))
          return draft.requests.last
        }),
      ),
    )
    expect(numbers).toEqual([1, 2, 3])
    expect(store.seq).toBe(1)
    expect(textOf(fs, '_ledger.jsonl').split('\n')).toHaveLength(2)
  })

  test('that adds nothing writes nothing', async () => {
    const fs = new PowerLossFs()
    const store = await open(fs)
    expect(await store.commit(() => 'nothing')).toBe('nothing')
    expect([store.seq, store.isWriting]).toEqual([0, false])
  })

  test('that finds fault before its first step is rejected alone', async () => {
    const store = await open(new PowerLossFs())
    const good = store.commit((draft) => addTo(draft, prepared('a')))
    const bad = store.commit(() => {
      throw new RangeError('not like this')
    })
    await expect(bad).rejects.toThrow('not like this')
    await good
    expect(store.durable.state.counters.requests).toBe(1)
  })

  test('that is made while another is written is built on it, and has a ledger line of its own', async () => {
    const fs = new PowerLossFs()
    const { store, midWrite } = await openBusy(fs)
    let second: Promise<number> | undefined
    midWrite.push(() => {
      expect(store.durable.requests.find('a')).toBeUndefined()
      second = store.commit((draft) => {
        addTo(draft, prepared('b'))
        return draft.length(queueFileName(1))
      })
    })
    await store.commit((draft) => addTo(draft, prepared('a')))
    expect([store.durable.requests.find('a'), store.durable.requests.find('b')]).toEqual([1, undefined])
    expect([store.head.requests.find('b'), store.isWriting]).toEqual([2, true])
    expect(await second).toBe(Buffer.byteLength(textOf(fs, queueFileName(1))))
    expect([store.durable.requests.find('b'), store.seq]).toEqual([2, 2])
  })
})

describe('a write that fails', () => {
  test.each(['_ledger.jsonl', queueFileName(1)])(
    'in %s drops its plans and those built on them',
    async (path) => {
      const disk = new PowerLossFs()
      const fs = new FaultyFs(disk)
      const store = await open(fs)
      await store.commit((draft) => addTo(draft, prepared('a')))
      const before = { memory: dumpTask(store.durable), disk: new Map(disk.disk) }

      fs.arm({ op: 'append', nth: 1, code: 'ENOSPC', path, written: 0.5 })
      const plans = ['b', 'c'].map((key) => store.commit((draft) => addTo(draft, prepared(key))))
      const results = await Promise.allSettled(plans)
      expect(results.map(({ status }) => status)).toEqual(['rejected', 'rejected'])
      expect(results[0]).toMatchObject({ reason: { code: 'disk_full' } })
      expect([dumpTask(store.durable), dumpTask(store.head)]).toEqual([before.memory, before.memory])
      expect(disk.disk).toEqual(before.disk)

      await store.commit((draft) => addTo(draft, prepared('d')))
      expect(store.durable.requests.find('d')).toBe(2)
      expect(await reopened(disk.disk)).toEqual(dumpTask(store.durable))
    },
  )

  test('takes the plans with it that were made while it was written', async () => {
    const disk = new PowerLossFs()
    const fs = new FaultyFs(disk)
    const { store, midWrite } = await openBusy(fs)
    const before = dumpTask(store.durable)
    fs.arm({ op: 'append', nth: 1, code: 'ENOSPC', path: '_ledger.jsonl' })
    let second: Promise<unknown> = Promise.resolve('not made')
    midWrite.push(() => {
      const built = store.commit((draft) => addTo(draft, prepared('b')))
      second = built.catch((error: unknown) => error)
    })
    await expect(store.commit((draft) => addTo(draft, prepared('a')))).rejects.toMatchObject({
      code: 'disk_full',
    })
    expect(await second).toMatchObject({ code: 'disk_full' })
    expect([dumpTask(store.head), store.isWriting]).toEqual([before, false])
    expect(await reopened(disk.disk)).toEqual(before)
  })

  test('of an fsync ends all writing: nobody can tell any more what is on the disk', async () => {
    const fs = new FaultyFs(new PowerLossFs())
    const store = await open(fs)
    await store.commit((draft) => addTo(draft, prepared('a')))
    const before = dumpTask(store.durable)
    fs.arm({ op: 'sync', nth: 1, code: 'EIO' })
    await expect(store.commit((draft) => addTo(draft, prepared('b')))).rejects.toMatchObject({
      code: 'fsync_failed',
    })
    fs.arm()
    await expect(store.commit((draft) => addTo(draft, prepared('c')))).rejects.toMatchObject({
      code: 'fsync_failed',
    })
    expect([dumpTask(store.durable), dumpTask(store.head)]).toEqual([before, before])
  })

  test('at any time leaves memory and disk alike, and acknowledged plans where they were', async () => {
    let hits = 0
    await fc.assert(
      fc.asyncProperty(lives(40), fault, async (moves, broken) => {
        const disk = new PowerLossFs()
        const fs = new FaultyFs(disk)
        const busy = await openBusy(fs)
        const { store } = busy
        fs.arm(broken)
        const failures = await live(busy, moves)
        const code = broken.code === 'EIO' ? 'write_failed' : 'disk_full'
        for (const failure of failures) expect(failure).toMatchObject({ code })
        if (failures.length > 0) hits++
        expect(dumpTask(store.head)).toEqual(dumpTask(store.durable))
        expect(await reopened(disk.disk)).toEqual(dumpTask(store.durable))
      }),
      { numRuns: 150 },
    )
    expect(hits).toBeGreaterThan(20)
  })
})

test('reopening gives the state as it was, and every queue file has the length that its state says', async () => {
  const kinds = new Set<string>()
  await fc.assert(
    fc.asyncProperty(lives(50), async (moves) => {
      const fs = new PowerLossFs()
      const busy = await openBusy(fs)
      const { store } = busy
      expect(await live(busy, moves)).toEqual([])
      for (const suffix of store.sideFiles) kinds.add(suffix.replace(/\d+/, 'N'))
      const { files } = store.durable.state
      for (const { id, bytes } of files.values()) {
        expect(store.length(queueFileName(id))).toBe(bytes)
        expect(Buffer.byteLength(textOf(fs, queueFileName(id)))).toBe(bytes)
      }
      const queues = [...fs.disk.keys()].filter((path) => /_batch\d+\.jsonl$/.test(path))
      expect(queues.length).toBe(files.size)
      const last = dumpTask(store.durable)
      await store.close()
      expect(await reopened(fs.disk)).toEqual(last)
    }),
    { numRuns: 200 },
  )
  expect([...kinds].sort()).toEqual([
    '_batchN.jsonl',
    '_batchN_result.jsonl',
    '_failed.jsonl',
    '_output.jsonl',
  ])
})

test('after a power loss at any operation, all acknowledged groups are there, and at most one more', async () => {
  await fc.assert(
    fc.asyncProperty(lives(25), fc.nat(), async (moves, seed) => {
      const fs = new PowerLossFs()
      const history: { readonly ops: number; readonly task: TaskDump }[] = []
      const note = () => history.push({ ops: fs.ops, task: dumpTask(store.durable) })
      const busy = await openBusy(fs, { onDurable: () => note() })
      const { store } = busy
      note()
      expect(await live(busy, moves)).toEqual([])
      const random = seeded(seed)
      for (let ops = history[0]?.ops ?? 0; ops <= fs.ops; ops += 1 + Math.floor(random() * 4)) {
        const acknowledged = history.findLastIndex((one) => one.ops <= ops)
        const found = await reopened(fs.diskAfter(ops, random))
        const allowed = history.slice(acknowledged, acknowledged + 2).map(({ task }) => task)
        expect(allowed).toContainEqual(found)
      }
    }),
    { numRuns: 40 },
  )
})

test('the meta of a request is read back from the ledger, also by the next process', async () => {
  const fs = new PowerLossFs()
  const store = await open(fs)
  await store.commit((draft) => addTo(draft, prepared('a'), prepared('b', { meta: { n: 'é' } })))
  await store.commit((draft) =>
    addTo(draft, prepared('c', { meta: [1] }), prepared('d'), prepared('e', { meta: 0 })),
  )
  const metas = (one: TaskStore) => Promise.all([1, 2, 3, 4, 5].map((request) => one.meta(request)))
  expect(await metas(store)).toEqual([undefined, { n: 'é' }, [1], undefined, 0])
  await store.close()
  expect(await metas(await open(new PowerLossFs(fs.disk)))).toEqual([
    undefined,
    { n: 'é' },
    [1],
    undefined,
    0,
  ])
})

describe('a ledger that is whole but makes no sense', () => {
  const file = { kind: 'open', file: 1, endpoint: '/v1/responses', model: 'm' }
  test.each<[string, string, readonly unknown[]]>([
    ['newer_version', 'a step nobody knows', [file, { kind: 'teleport', file: 1 }]],
    ['ledger_invalid', 'a step without its fields', [file, { kind: 'seal' }]],
    ['ledger_invalid', 'a step that cannot follow', [file, { ...file, file: 3 }]],
    ['ledger_invalid', 'a request that is not there', [file, { kind: 'rejected', request: 9, reason: 'x' }]],
  ])('stops the start (%s) with its name and line, and stays as it is: %s', async (code, _, steps) => {
    const fs = new PowerLossFs()
    const log = await CommitLog.open(storeOptions(fs))
    await log.commit({ steps: [{ kind: 'account', account: 'a' }], appends: [] })
    await log.commit({ steps, appends: [] })
    await log.close()
    const before = fs.disk
    const opening = open(fs)
    await expect(opening).rejects.toBeInstanceOf(StateError)
    await expect(opening).rejects.toMatchObject({
      code,
      message: expect.stringMatching(/task_ledger\.jsonl, line 2:/),
    })
    expect(fs.disk).toEqual(before)
  })
})
