import fc from 'fast-check'
import { LEDGER_FORMAT } from '../../src/batch/ledger-format.ts'
import { inPhase, isUnpushed, type QueueFile } from '../../src/batch/queue-file.ts'
import type { RequestRecord, RequestTable } from '../../src/batch/request-table.ts'
import type { Step, StepOf } from '../../src/batch/steps.ts'
import type { TaskState } from '../../src/batch/task-state.ts'
import { EXPECTED, hasCap, LOST, linesTokens, MOST, receipt } from './step-money.ts'

export interface View {
  readonly state: TaskState
  readonly requests: RequestTable
}

/** One move of a task's life. `pick` chooses among what is possible, `size` says how much of it. */
export interface Move {
  readonly what: keyof typeof MOVES
  readonly pick: number
  readonly size: number
}

type Act = (view: View, pick: number, size: number) => readonly Step[]

const choose = <Item>(items: readonly Item[], pick: number): Item | undefined => items[pick % items.length]
const files = (view: View) => [...view.state.files.values()]
const isOpen = inPhase('open')
const isDirect = inPhase('direct')
const isReadable = inPhase('received', 'direct', 'reused')
const isFilling = inPhase('filling')

/** Pending requests of a file that are in this state of a call. */
function pendingIn(view: View, file: QueueFile | undefined, call?: RequestRecord['call']): number[] {
  const found: number[] = []
  for (let request = 1; file && request <= view.requests.last; request++) {
    const record = view.requests.get(request)
    if (record.state !== 'pending' || record.file !== file.id) continue
    if (call === undefined || record.call === call) found.push(request)
  }
  return found
}

/** The open file of one of two models, with the step that opens it when there is none. */
function openFile(view: View, pick: number): { readonly id: number; readonly steps: readonly Step[] } {
  const model = pick % 2 === 0 ? 'even' : 'odd'
  const open = files(view).find((file) => isOpen(file) && file.model === model)
  if (open) return { id: open.id, steps: [] }
  const file = view.state.lastFile + 1
  return { id: file, steps: [{ kind: 'open', file, endpoint: '/v1/chat/completions', model }] }
}

/** Keys that are not taken: some were forgotten and are given again. */
function freeKeys(view: View, size: number): string[] {
  const keys: string[] = []
  for (let n = 0; keys.length < size; n++) if (view.requests.find(`k${n}`) === undefined) keys.push(`k${n}`)
  return keys
}

function addStep(view: View, file: number, pick: number, size: number): StepOf<'add'> {
  const keys = freeKeys(view, size)
  return {
    kind: 'add',
    file,
    first: view.requests.last + 1,
    keys,
    hashes: keys.map((_, index) => (pick + index).toString(16).padStart(16, '0')),
    bytes: file === 0 ? 0 : size * 100,
    // Versions before 0.3 did not estimate.
    ...(file !== 0 && pick % 7 !== 0 && { tokens: linesTokens(size) }),
    ...(pick % 3 === 0 && { samples: keys.map((_, index) => (index % 2 ? null : `s${pick % 4}`)) }),
    ...(pick % 5 === 0 && { metas: keys.map((_, index) => (index % 2 ? null : { pick })) }),
  }
}

const add: Act = (view, pick, size) => {
  const { id, steps } = openFile(view, pick)
  return [...steps, addStep(view, id, pick, size)]
}

const refuse: Act = (view, pick) => [
  addStep(view, 0, pick, 1),
  { kind: 'rejected', request: view.requests.last + 1, reason: 'too_large' },
]

const seal: Act = (view, pick, size) => {
  const file = choose(files(view).filter(isOpen), pick)
  return file ? [{ kind: 'seal', file: file.id, as: size % 2 ? 'batch' : 'direct' }] : []
}

const usage = (n: number) => ({ input: n, cachedInput: 1, cacheWrite: 2, output: 2 * n, reasoning: 3 })

/** The next step of a batch on its way from sealed to received, one of those the protocol allows. */
function nextOf(file: QueueFile, pick: number): Step | undefined {
  const { id } = file
  const created: StepOf<'created'> = {
    kind: 'created',
    file: id,
    batchId: `b${id}-${pick}`,
    inputFileId: `f${id}`,
  }
  const abandoned: StepOf<'abandoned'> = {
    kind: 'abandoned',
    file: id,
    why: 'no batch',
    litter: [`f${id}-${pick}`],
  }
  const intent: StepOf<'intent'> = {
    ...{ kind: 'intent', file: id, tag: `t${id}-${pick}` },
    ...(pick % 5 !== 0 && { at: pick, expectedNanoUsd: EXPECTED * file.requests }),
    ...(pick % 3 !== 0 && { reserved: MOST * file.requests }),
  }
  const statuses = ['completed', 'expired', 'cancelled', 'failed'] as const
  const ended: StepOf<'ended'> = {
    kind: 'ended',
    file: id,
    status: statuses[pick % 4] ?? 'failed',
    outputFileId: `o${id}`,
    ...(pick % 3 === 0 && { tookMs: pick }),
  }
  const recalled: StepOf<'remote'> = { kind: 'remote', file: id, status: 'cancelling', recalled: true }
  const byPhase: Record<QueueFile['phase'], readonly Step[]> = {
    open: [],
    direct: [],
    sealed: [intent],
    intended: [{ kind: 'uploaded', file: id, inputFileId: `f${id}` }, abandoned],
    uploaded: [created, { kind: 'doubt', file: id, why: 'timeout' }, abandoned],
    doubtful: [
      { ...created, adopted: true },
      { kind: 'fenced', file: id, at: pick },
    ],
    fenced: [{ ...created, adopted: true }, abandoned],
    remote: [{ kind: 'remote', file: id, status: 'finalizing' }, recalled, ended, ended],
    ended: [
      {
        ...{ kind: 'received', file: id, usage: usage(file.live), costNanoUsd: 7, litter: [`o${id}`] },
        ...(pick % 2 === 0 && { ...receipt(pick), answers: file.live, rates: [{ above: -1, input: pick }] }),
      },
      abandoned,
    ],
    received: [],
    filling: [],
    reused: [],
  }
  return choose(byPhase[file.phase], pick)
}

const advance: Act = (view, pick) => {
  const file = choose(
    files(view).filter((one) => isUnpushed(one) || inPhase('remote', 'ended')(one)),
    pick,
  )
  const step = file && nextOf(file, Math.floor(pick / 7))
  return step ? [step] : []
}

const send: Act = (view, pick, size) => {
  const file = choose(files(view).filter(isDirect), pick)
  const requests = pendingIn(view, file, 'queued').slice(0, size)
  if (!file || requests.length === 0) return []
  const { length } = requests
  return [
    {
      ...{ kind: 'sent', file: file.id, requests, tokens: linesTokens(length) },
      expectedNanoUsd: EXPECTED * length,
      ...(hasCap(file) && { reserved: MOST * length }),
      ...(pick % 5 === 0 && { tier: 'flex' }),
    },
  ]
}

const answer: Act = (view, pick, size) => {
  const file = choose(files(view).filter(isDirect), pick)
  const requests = pendingIn(view, file, 'sent').slice(0, size)
  if (!file || requests.length === 0) return []
  return [
    {
      ...{ kind: 'received', file: file.id, requests, usage: usage(requests.length), unpriced: pick % 2 },
      ...(pick % 2 === 0 && receipt(pick)),
      ...(pick % 5 === 0 && { tier: 'flex' }),
      ...(hasCap(file) && { released: MOST * requests.length }),
    },
  ]
}

function requeue(
  view: View,
  why: StepOf<'requeue'>['why'],
  requests: number[],
  pick: number,
  money: Pick<StepOf<'requeue'>, 'released' | 'takenBack'> = {},
): Step[] {
  if (requests.length === 0) return []
  const { id, steps } = openFile(view, pick)
  const { length } = requests
  return [
    ...steps,
    { kind: 'requeue', file: id, why, requests, bytes: length * 100, tokens: linesTokens(length), ...money },
  ]
}

/** Direct lines without a reply go back to the queue: unsent ones, refused calls, and those whose answers were lost. */
const giveBack: Act = (view, pick, size) => {
  const file = choose(files(view).filter(isDirect), pick)
  const call = size % 2 ? 'queued' : 'sent'
  const all = pendingIn(view, file, call)
  const requests = all.slice(0, size)
  if (!file || requests.length === 0) return []
  if (call === 'queued') return requeue(view, 'unsent', requests, pick)
  const released = hasCap(file) ? { released: MOST * requests.length } : {}
  const counted = { input: linesTokens(requests.length).input, nanoUsd: EXPECTED * requests.length }
  if (pick % 3 === 0) return requeue(view, 'unsent', requests, pick, { ...released, takenBack: counted })
  if (pick % 3 === 1) return lose(view, file.id, all, pick)
  const charged = LOST * requests.length
  return [
    { kind: 'uncertain', file: file.id, requests, charged, ...released },
    ...requeue(view, 'uncertain', requests, pick),
  ]
}

/** What the next run does about calls that were on the wire when this one was cut off. */
const lose = (view: View, file: number, requests: number[], pick: number): Step[] => [
  { kind: 'uncertain', file, requests, charged: LOST * requests.length },
  ...requeue(view, 'uncertain', requests, pick),
  { kind: 'reserve', file, reserved: 0 },
]

/** A hard cap comes into force for batches that were sent without one. */
const cap: Act = (view, pick) => {
  const sent = files(view).filter((file) => inPhase('remote', 'ended')(file) && file.reserved === undefined)
  const file = choose(sent, pick)
  return file ? [{ kind: 'reserve', file: file.id, reserved: MOST * file.requests }] : []
}

/** The file of answers used again of one of two models, with the step that opens it when there is none. */
function fillingFile(view: View, pick: number): { readonly id: number; readonly steps: readonly Step[] } {
  const model = pick % 2 === 0 ? 'even' : 'odd'
  const filling = files(view).find((file) => isFilling(file) && file.model === model)
  if (filling) return { id: filling.id, steps: [] }
  const file = view.state.lastFile + 1
  return { id: file, steps: [{ kind: 'open', file, endpoint: '/v1/chat/completions', model, for: 'reuse' }] }
}

const reusedReplies = (file: number, requests: number[], of?: number): Step => ({
  ...{ kind: 'received', file, requests, usage: usage(0), costNanoUsd: 0 },
  reused: { replies: requests.length, savedNanoUsd: 3 * requests.length, ...(of !== undefined && { of }) },
})

/** New requests whose answers are there already. */
const fill: Act = (view, pick, size) => {
  const { id, steps } = fillingFile(view, pick)
  const step = addStep(view, id, pick, size)
  return [
    ...steps,
    step,
    reusedReplies(
      id,
      step.keys.map((_, index) => step.first + index),
    ),
  ]
}

const give: Act = (view, pick) => {
  const file = choose(files(view).filter(isFilling), pick)
  return file ? [{ kind: 'seal', file: file.id, as: 'reused' }] : []
}

/** New requests wait behind one that is pending, each behind the one before it. */
const wait: Act = (view, pick, size) => {
  const free: number[] = []
  for (let request = 1; request <= view.requests.last; request++) {
    if (view.requests.get(request).state === 'pending' && view.requests.follower(request) === 0)
      free.push(request)
  }
  const leader = choose(free, pick)
  if (leader === undefined) return []
  const step = addStep(view, 0, pick, size)
  return [{ ...step, after: step.keys.map((_, index) => (index === 0 ? leader : step.first + index - 1)) }]
}

function followersOf(view: View, request: number, most: number): number[] {
  const next = view.requests.follower(request)
  return next === 0 || most === 0 ? [] : [next, ...followersOf(view, next, most - 1)]
}

/** What a verdict means for those that wait: they get the answer, or are asked for themselves. */
function passOn(view: View, leaders: readonly number[], pick: number, size: number): Step[] {
  const waiting = leaders
    .map((of) => ({ of, requests: followersOf(view, of, size) }))
    .filter(({ requests }) => requests.length > 0)
  if (waiting.length === 0) return []
  const isShared = pick % 8 < 4
  const { id, steps } = isShared ? fillingFile(view, pick) : openFile(view, pick)
  const why = isShared ? 'shared' : 'alone'
  const moves = waiting.flatMap(({ of, requests }): Step[] => {
    const bytes = requests.length * 100
    const requeued: Step = { kind: 'requeue', file: id, why, requests, bytes, of }
    return isShared ? [requeued, reusedReplies(id, requests, of)] : [requeued]
  })
  return [...steps, ...moves]
}

const judge: Act = (view, pick, size) => {
  const file = choose(files(view).filter(isReadable), pick)
  const answered = pendingIn(view, file, file?.phase === 'direct' ? 'received' : undefined)
  const requests = answered.slice(0, size)
  const [request] = requests
  if (request === undefined) return []
  const { key, sample } = view.requests.identity(request)
  const part = view.state.output.part + (pick % 3 === 0 ? 1 : 0)
  const remembered: StepOf<'remembered'> = {
    kind: 'remembered',
    sample: pick % 2 ? sample : 'other',
    key,
    value: pick,
  }
  switch (pick % 4) {
    case 0:
      return [
        { kind: 'accepted', requests, lines: requests.length, part },
        remembered,
        ...passOn(view, requests, pick, size),
      ]
    case 1:
      return [
        { kind: 'rejected', request, reason: 'no good' },
        remembered,
        ...passOn(view, [request], pick, size),
      ]
    case 2:
      return requeue(view, size % 2 ? 'retry' : 'healed', requests, pick)
    default:
      return requeue(view, size % 2 ? 'expired' : 'cancelled', requests, pick)
  }
}

const drop: Act = (view, pick) => {
  const file = choose(
    files(view).filter((one) => isReadable(one) && one.live === 0),
    pick,
  )
  return file
    ? [
        { kind: 'dropped', file: file.id },
        { kind: 'breaker', passFailures: pick % 3 },
      ]
    : []
}

const tidy: Act = (view, pick, size) => {
  const litter = [...view.state.litter].slice(0, size)
  const tag = choose([...view.state.retiredTags.keys()], pick)
  const stray: StepOf<'stray'> = {
    kind: 'stray',
    tag: tag ?? '',
    batchId: `x${pick % 3}`,
    status: 'failed',
    litter: [],
  }
  return [...(tag === undefined ? [] : [stray]), { kind: 'cleaned', remoteFiles: litter }]
}

/** What is known of a stray goes on by a step. */
const settle: Act = (view, pick) => {
  const stray = choose(
    [...view.state.strays.values()].filter(({ phase }) => phase !== 'settled'),
    pick,
  )
  if (!stray) return []
  const { batchId } = stray
  const settled: Step = { kind: 'stray-settled', batchId, litter: [`i${pick}`] }
  const ended: Step = { kind: 'stray-ended', batchId, status: 'cancelled', outputFileId: `o${pick}` }
  if (stray.phase === 'live') return pick % 2 === 0 ? [ended] : [ended, settled]
  if (stray.phase === 'received' || pick % 3 === 0) return [settled]
  return [
    {
      kind: 'stray-received',
      batchId,
      usage: usage(3),
      costNanoUsd: 5,
      litter: [`o${pick}`],
      ...receipt(pick),
    },
  ]
}

/** An upload is in doubt, or has been searched for; a late batch becomes that of a file that has none. */
const doubt: Act = (view, pick) => {
  const tags = [...view.state.uploadDoubts.keys()]
  if (pick % 3 === 0 && tags.length > 0) return [{ kind: 'swept', tags, litter: [`u${pick}`] }]
  const intended = choose(files(view).filter(inPhase('intended')), pick)
  if (intended && pick % 3 === 1) return [{ kind: 'upload-doubt', tag: intended.tag, at: pick, why: 'reset' }]
  const tag = choose([...view.state.atLarge.keys()], pick)
  const file = view.state.files.get(view.state.retiredTags.get(tag ?? '') ?? 0)
  if (tag === undefined || !file || !inPhase('sealed', 'intended')(file)) return []
  return [
    { kind: 'created', file: file.id, batchId: `l${pick}`, inputFileId: `f${pick}`, adopted: true, tag },
  ]
}

const rename: Act = (view, pick) => {
  const code = { className: `C${pick % 3}`, endpoint: '/v1/responses', schema: '' }
  const task: Step = { kind: 'task', version: 1, taskId: 'id', ...code, params: { pick } }
  if (!view.state.identity) return [{ kind: 'format', ...LEDGER_FORMAT }, task]
  if (pick % 3 === 0) return [{ kind: 'account', account: `a${pick}` }]
  return pick % 3 === 1 ? [{ kind: 'drift', ...code }] : [{ kind: 'params', params: { pick } }]
}

const wipe: Act = (view, pick) => {
  const { pending, failed, succeeded } = view.state.counters
  const scopes = ['requests', 'failed', 'task'] as const
  const scope = scopes[pick % 3] ?? 'requests'
  if (pick % 4 !== 0) return [{ kind: 'restored', failed }]
  return [
    { kind: 'wipe', scope },
    { kind: 'wiped', scope, pending, failed, thrownAway: succeeded },
  ]
}

const MOVES = {
  ...{ add, refuse, seal, advance, send, answer, giveBack, judge, drop, tidy, settle, doubt, rename, wipe },
  ...{ cap, fill, give, wait },
} as const

const OFTEN = [
  'add',
  'seal',
  'advance',
  'advance',
  'advance',
  'advance',
  'send',
  'answer',
  'judge',
  'judge',
  'wait',
] as const

/** Lives of a task: moves that are carried out as far as they are possible when their turn comes. */
export const lives = (maxLength: number): fc.Arbitrary<Move[]> => {
  const move = fc.record<Move>({
    what: fc.oneof(
      { weight: 8, arbitrary: fc.constantFrom(...OFTEN) },
      {
        weight: 3,
        arbitrary: fc.constantFrom(
          'giveBack',
          'drop',
          'tidy',
          'settle',
          'doubt',
          'rename',
          'refuse',
          'cap',
          'fill',
          'give',
        ),
      },
      { weight: 1, arbitrary: fc.constant('wipe') },
    ),
    pick: fc.nat(1000),
    size: fc.integer({ min: 1, max: 4 }),
  })
  return fc.array(move, { maxLength, size: 'max' })
}

/** The steps of a move, all valid one after another; none when it is not possible now. */
export const stepsOf = (view: View, { what, pick, size }: Move): readonly Step[] =>
  MOVES[what](view, pick, size)
