import { describe, expect, test } from 'vitest'
import { initialState } from '../../src/batch/task-state.ts'
import type { WireBatch, WireFile } from '../../src/openai/wire.ts'
import {
  type BatchEntry,
  batchEntry,
  fileEntries,
  planCancel,
  type ResultFile,
} from '../../src/requester/housekeeping.ts'
import type { RemoteFacts } from '../../src/requester/remote-facts.ts'

const OWN = '0a1b2c3d'
const OTHER = 'ffffffff'
const NOW = Date.UTC(2026, 0, 10)
const DAY_S = 24 * 3600

const tagOf = (file: number, task = OWN): string => `${task}-${file}-0123456789ab`

const base = {
  endpoint: '/v1/chat/completions',
  model: 'm',
  requests: 1,
  bytes: 1,
  live: 1,
  passed: 0,
} as const

/** A task with one queue file in each phase that has to do with the server; file 9 is done with. */
const facts: RemoteFacts = {
  taskId: OWN,
  state: {
    ...initialState,
    files: new Map([
      [1, { ...base, id: 1, phase: 'intended', tag: tagOf(1) }],
      [2, { ...base, id: 2, phase: 'doubtful', tag: tagOf(2), inputFileId: 'in-2' }],
      [
        3,
        { ...base, id: 3, phase: 'remote', tag: tagOf(3), inputFileId: 'in-3', batchId: 'b-3', status: 'x' },
      ],
      [
        4,
        {
          ...base,
          id: 4,
          phase: 'ended',
          tag: tagOf(4),
          inputFileId: 'in-4',
          batchId: 'b-4',
          status: 'completed',
          outputFileId: 'out-4',
          faults: [],
        },
      ],
    ]),
  },
  batches: new Map([
    ['b-3', 3],
    ['b-4', 4],
    ['b-9', 9],
  ]),
  tags: new Set([1, 2, 3, 4, 5, 9].map((file) => tagOf(file))),
  released: new Set(['in-9', 'out-9']),
  cleaned: new Set(),
}

const batch = (id: string, over: Partial<WireBatch> & { tag?: string } = {}): WireBatch => {
  const { tag, ...rest } = over
  return {
    id,
    endpoint: '/v1/chat/completions',
    input_file_id: `in-${id.slice(2)}`,
    status: 'completed',
    created_at: NOW / 1000 - DAY_S,
    output_file_id: undefined,
    error_file_id: undefined,
    ...(tag !== undefined && { metadata: { nightshift_tag: tag } }),
    ...rest,
  }
}

const upload = (id: string, tag: string, ageSeconds = 40 * DAY_S): WireFile => ({
  id,
  filename: `nightshift-${tag}.jsonl`,
  bytes: 10,
  created_at: NOW / 1000 - ageSeconds,
})

describe('what a remote batch is to a task', () => {
  test.each([
    [
      'the batch of a queue file',
      batch('b-3', { tag: tagOf(3) }),
      { kind: 'in-use', file: 3, phase: 'remote' },
    ],
    ['one whose creation is in doubt', batch('b-x', { tag: tagOf(2) }), { kind: 'in-use', file: 2 }],
    ['the same without its metadata', batch('b-2'), { kind: 'in-use', file: 2 }],
    ['one that is done with', batch('b-9', { tag: tagOf(9) }), { kind: 'finished', file: 9 }],
    ['a second one under a known tag', batch('b-y', { tag: tagOf(3) }), { kind: 'stray' }],
    ['one of an attempt that was given up', batch('b-z', { tag: tagOf(5) }), { kind: 'stray' }],
    ['one that the ledger does not know', batch('b-u', { tag: tagOf(77) }), { kind: 'unknown' }],
    ['one of another task', batch('b-o', { tag: tagOf(1, OTHER) }), { kind: 'other-task', taskId: OTHER }],
    ['one with a tag of another make', batch('b-m', { tag: 'mine' }), { kind: 'foreign' }],
    ['one without a tag', batch('b-n'), { kind: 'foreign' }],
  ])('%s', (_, listed, relation) => {
    expect(batchEntry(listed, facts).relation).toMatchObject(relation)
  })
})

describe('what is cancelled', () => {
  const entries: BatchEntry[] = [
    batch('b-3', { tag: tagOf(3), status: 'in_progress' }),
    batch('b-5', { tag: tagOf(5), status: 'unheard_of' }),
    batch('b-6', { tag: tagOf(5), status: 'cancelling' }),
    batch('b-9', { tag: tagOf(9) }),
    batch('b-o', { tag: tagOf(1, OTHER), status: 'in_progress' }),
    batch('b-n', { status: 'in_progress' }),
  ].map((listed) => batchEntry(listed, facts))
  const idsOf = (some: readonly { readonly id: string }[]) => some.map(({ id }) => id)
  const plan = (ids: readonly string[], all = false) => {
    const { cancel, over, refused } = planCancel(entries, { ids, all })
    return { cancel: idsOf(cancel), over: idsOf(over), refused: idsOf(refused) }
  }

  test('without ids: what is unfinished and of the task', () => {
    expect(plan([])).toEqual({ cancel: ['b-3', 'b-5'], over: ['b-6'], refused: [] })
    expect(plan([], true)).toEqual(plan([]))
  })

  test('with ids: these alone, each once', () => {
    expect(plan(['b-5', 'b-9', 'b-5'])).toEqual({ cancel: ['b-5'], over: ['b-9'], refused: [] })
  })

  test('what is not of the task, only with --all; what is not there, never', () => {
    expect(plan(['b-3', 'b-o', 'b-n', 'b-?']).refused).toEqual(['b-o', 'b-n', 'b-?'])
    expect(plan(['b-o', 'b-n', 'b-?'], true)).toEqual({ cancel: ['b-o', 'b-n'], over: [], refused: ['b-?'] })
  })
})

describe('which files are needed', () => {
  const needed = (files: WireFile[], batches: WireBatch[], results: ResultFile[] = []) =>
    fileEntries({ files, batches }, results, facts, NOW)
      .filter(({ neededFor }) => neededFor !== null)
      .map(({ id }) => id)

  test('the input of whatever the task has under way, however old, and whatever the listing shows', () => {
    const files = [1, 2, 3, 4].map((file) => upload(`in-${file}`, tagOf(file)))
    expect(needed(files, [])).toEqual(['in-1', 'in-2', 'in-3', 'in-4'])
  })

  test('not the input of what is done with or was given up', () => {
    expect(needed([upload('in-9', tagOf(9)), upload('in-5', tagOf(5), 0)], [])).toEqual([])
  })

  test('the input of every unfinished batch, whoever made it, even if the ledger is done with it', () => {
    const files = [upload('in-9', tagOf(9)), upload('in-o', tagOf(1, OTHER)), upload('in-u', tagOf(77))]
    const unfinished = ['b-9', 'b-o', 'b-u'].map((id) => batch(id, { status: 'finalizing' }))
    expect(needed(files, unfinished)).toEqual(['in-9', 'in-o', 'in-u'])
    const over = ['b-9', 'b-o', 'b-u'].map((id) => batch(id, { status: 'expired' }))
    expect(needed(files, over)).toEqual([])
    // One of two users is enough.
    expect(needed(files, [...over, batch('b-2', { input_file_id: 'in-o', status: 'x' })])).toEqual(['in-o'])
  })

  test('an upload that the ledger does not know and no batch uses, for a day', () => {
    const unused = (seconds: number) => [
      upload('in-o', tagOf(1, OTHER), seconds),
      upload('in-u', tagOf(77), seconds),
    ]
    expect(needed(unused(DAY_S - 1), [])).toEqual(['in-o', 'in-u'])
    expect(needed(unused(DAY_S), [])).toEqual([])
    expect(needed([{ ...upload('in-o', tagOf(1, OTHER)), created_at: null }], [])).toEqual(['in-o'])
  })

  test('results until the ledger has received them', () => {
    const result = (id: string, batchId: string): ResultFile => ({ file: { id }, batchId, role: 'output' })
    const results = [result('out-4', 'b-4'), result('out-9', 'b-9'), result('out-z', 'b-z')]
    const batches = [batch('b-4'), batch('b-9'), batch('b-z', { tag: tagOf(5) })]
    expect(needed([], batches, results)).toEqual(['out-4', 'out-z'])
    expect(needed([], [batch('b-9', { status: 'finalizing' })], [result('out-9', 'b-9')])).toEqual(['out-9'])
  })

  test.each([
    'notes.jsonl',
    'nightshift-notes.jsonl',
    `nightshift-${tagOf(9)}.jsonl.bak`,
    `my-nightshift-${tagOf(9)}.jsonl`,
    `nightshift-${tagOf(9)}-2.jsonl`,
    null,
  ])('a file called %s is none of Nightshift', (filename) => {
    const files = [{ ...upload('in-9', tagOf(9)), filename }]
    expect(fileEntries({ files, batches: [] }, [], facts, NOW)).toEqual([])
  })
})
