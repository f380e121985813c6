import fc from 'fast-check'
import { LEDGER_FORMAT } from '../../src/batch/ledger-format.ts'
import { inPhase, isUnpushed, type QueueFile } from '../../src/batch/queue-file.ts'
import type { RequestRecord, RequestTable } from '../../src/batch/request-table.ts'
import type { Step, StepOf } from '../../src/batch/steps.ts'
import type { TaskState } from '../../src/batch/task-state.ts'

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
const isReadable = inPhase('received', 'direct')

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
  const statuses = ['completed', 'expired', 'cancelled', 'failed'] as const
  const ended: StepOf<'ended'> = {
    kind: 'ended',
    file: id,
    status: statuses[pick % 4] ?? 'failed',
    outputFileId: `o${id}`,
  }
  const byPhase: Record<QueueFile['phase'], readonly Step[]> = {
    open: [],
    direct: [],
    sealed: [{ kind: 'intent', file: id, tag: `t${id}-${pick}` }],
    intended: [{ kind: 'uploaded', file: id, inputFileId: `f${id}` }, abandoned],
    uploaded: [created, { kind: 'doubt', file: id, why: 'timeout' }, abandoned],
    doubtful: [
      { ...created, adopted: true },
      { kind: 'fenced', file: id, at: pick },
    ],
    fenced: [{ ...created, adopted: true }, abandoned],
    remote: [{ kind: 'remote', file: id, status: 'finalizing' }, ended, ended],
    ended: [
      { kind: 'received', file: id, usage: usage(file.live), costNanoUsd: 7, litter: [`o${id}`] },
      abandoned,
    ],
    received: [],
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
  return file && requests.length > 0 ? [{ kind: 'sent', file: file.id, requests }] : []
}

const answer: Act = (view, pick, size) => {
  const file = choose(files(view).filter(isDirect), pick)
  const requests = pendingIn(view, file, 'sent').slice(0, size)
  if (!file || requests.length === 0) return []
  return [{ kind: 'received', file: file.id, requests, usage: usage(requests.length), unpriced: pick % 2 }]
}

function requeue(view: View, why: StepOf<'requeue'>['why'], requests: number[], pick: number): Step[] {
  if (requests.length === 0) return []
  const { id, steps } = openFile(view, pick)
  return [...steps, { kind: 'requeue', file: id, why, requests, bytes: requests.length * 100 }]
}

/** Direct lines without a reply go back to the queue: unsent ones, or those on the wire when a run was cut. */
const giveBack: Act = (view, pick, size) => {
  const file = choose(files(view).filter(isDirect), pick)
  const call = size % 2 ? 'queued' : 'sent'
  const requests = pendingIn(view, file, call).slice(0, size)
  if (!file || requests.length === 0) return []
  if (call === 'queued') return requeue(view, 'unsent', requests, pick)
  return [{ kind: 'uncertain', file: file.id, requests }, ...requeue(view, 'uncertain', requests, pick)]
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
      return [{ kind: 'accepted', requests, lines: requests.length, part }, remembered]
    case 1:
      return [{ kind: 'rejected', request, reason: 'no good' }, remembered]
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
  return [{ kind: 'stray-received', batchId, usage: usage(3), costNanoUsd: 5, litter: [`o${pick}`] }]
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
] as const

/** Lives of a task: moves that are carried out as far as they are possible when their turn comes. */
export const lives = (maxLength: number): fc.Arbitrary<Move[]> => {
  const move = fc.record<Move>({
    what: fc.oneof(
      { weight: 8, arbitrary: fc.constantFrom(...OFTEN) },
      {
        weight: 3,
        arbitrary: fc.constantFrom('giveBack', 'drop', 'tidy', 'settle', 'doubt', 'rename', 'refuse'),
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
