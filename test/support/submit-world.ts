import { applyStep } from '../../src/batch/apply-step.ts'
import type { QueueFile } from '../../src/batch/queue-file.ts'
import { RequestIndex } from '../../src/batch/request-index.ts'
import type { Step } from '../../src/batch/steps.ts'
import { filesAtLarge, inputsInUse, noteSteps, unsettledStrays } from '../../src/batch/strays.ts'
import type { nextSubmitAction, SubmitAction } from '../../src/batch/submit.ts'
import { nextSweep } from '../../src/batch/sweeps.ts'
import { initialState, type TaskState } from '../../src/batch/task-state.ts'

export type Protocol = typeof nextSubmitAction

interface Attempt {
  readonly tag: string
  readonly input: string
}

/** `doomed`: it will fail, since its input was gone when the server took it up. */
export interface Batch extends Attempt {
  readonly status: 'live' | 'doomed' | 'failed' | 'cancelled'
}

/** What the server promises: that whatever it took up shows within the grace, or not even that. */
export interface Server {
  readonly isPunctual: boolean
}

/**
 * One file on its way to the server, as plain data: what is committed, what the process knows, what the server has,
 * and what is still under way to it. Time is only "since the fence" and "since the doubt": over or not.
 */
export interface World {
  readonly state: TaskState
  readonly tags: number
  /** The process's knowledge; forgotten at a crash. */
  readonly resumed: boolean
  readonly uploadAbsent: boolean
  readonly batchAbsent: boolean
  /** It has looked for batches of attempts at large. */
  readonly looked: boolean
  readonly graceOver: boolean
  /** Uploads that were doubted so far, and those doubts whose grace has passed. */
  readonly doubts: number
  readonly due: readonly number[]
  /** Creates the process has sent, by tag. */
  readonly creates: readonly string[]
  /** Uploads and creates that left the process and have not reached the server. */
  readonly lateUploads: readonly string[]
  readonly lateCreates: readonly Attempt[]
  /** Creates the server has taken up: their batches exist and do not show yet. */
  readonly taken: readonly Batch[]
  readonly files: readonly { readonly id: string; readonly tag: string; readonly deleted: boolean }[]
  readonly batches: readonly Batch[]
}

const START: readonly Step[] = [
  { kind: 'open', file: 1, endpoint: '/v1/responses', model: 'm' },
  { kind: 'add', file: 1, first: 1, keys: ['a'], hashes: ['0'.repeat(16)], bytes: 9 },
  { kind: 'seal', file: 1, as: 'batch' },
]
const requests = new RequestIndex()
const started = START.reduce((state, step) => applyStep(state, requests, step), initialState)

const unknowing = { resumed: false, uploadAbsent: false, batchAbsent: false }

export const firstWorld = (): World => ({
  ...{ state: started, tags: 0, looked: true, ...unknowing, graceOver: false, doubts: 0, due: [] },
  ...{ creates: [], lateUploads: [], lateCreates: [], taken: [], files: [], batches: [] },
})

export function fileOf({ state }: World): QueueFile {
  const file = state.files.get(1)
  if (!file) throw new Error('the file is gone')
  return file
}

/** Steps that say nothing about the file's own way. */
const beside = (world: World, steps: readonly Step[]): World => ({
  ...world,
  state: steps.reduce((state, step) => applyStep(state, requests, step), world.state),
})

/** Committed steps of the file. What the process knew was about the phase before them. */
const commit = (world: World, ...steps: readonly Step[]): World => ({
  ...beside(world, steps),
  ...unknowing,
  graceOver: false,
})

export const crash = (world: World): World => ({ ...world, ...unknowing, resumed: true, looked: false })

/** Nothing new may be made of the file; the same rule as the requester's. */
function isHeld({ looked, state }: World): boolean {
  return (!looked && filesAtLarge(state).has(1)) || unsettledStrays(state).length > 0
}

export function actionOf(world: World, protocol: Protocol, mayStart: boolean): SubmitAction {
  const { resumed, uploadAbsent, batchAbsent, graceOver, state } = world
  const file = fileOf(world)
  return protocol(file, {
    mayStart: mayStart && (file.phase !== 'sealed' || !isHeld(world)),
    mustShrink: false,
    mayCarve: false,
    resumed,
    uploadInDoubt: 'tag' in file && state.uploadDoubts.has(file.tag),
    uploadAbsent,
    batchAbsent,
    graceWaited: false,
    nowMs: graceOver ? 1000 : 0,
    graceMs: 1000,
  })
}

const tagOf = (file: QueueFile): string => ('tag' in file ? file.tag : '')
const attemptOf = (world: World): Attempt => {
  const file = fileOf(world)
  return { tag: tagOf(file), input: 'inputFileId' in file ? file.inputFileId : '' }
}
const isThere = (world: World, input: string): boolean =>
  world.files.some(({ id, deleted }) => id === input && !deleted)

const stored = (world: World, tag: string): World => {
  const id = `${tag}-file${world.files.filter((one) => one.tag === tag).length + 1}`
  return { ...world, files: [...world.files, { id, tag, deleted: false }] }
}
const taken = (world: World, { tag, input }: Attempt, status: Batch['status'] = 'live'): World => ({
  ...world,
  taken: [...world.taken, { tag, input, status }],
})
const appeared = (world: World, batch: Batch): World => ({
  ...world,
  taken: world.taken.filter((one) => one !== batch),
  batches: [...world.batches, batch],
})
const allAppeared = (world: World): World => world.taken.reduce(appeared, world)
const become = (world: World, batch: Batch, status: Batch['status']): World => ({
  ...world,
  batches: world.batches.map((one) => (one === batch ? { ...one, status } : one)),
})

/** What may happen around the process at any time: late messages arrive, batches appear or fail, it crashes. */
export function* surroundings(world: World): Generator<World> {
  if (!world.resumed) yield crash(world)
  for (const tag of world.lateUploads)
    yield { ...stored(world, tag), lateUploads: world.lateUploads.filter((one) => one !== tag) }
  for (const attempt of world.lateCreates) {
    const rest = { ...world, lateCreates: world.lateCreates.filter((one) => one !== attempt) }
    if (isThere(world, attempt.input)) yield taken(rest, attempt)
    else yield* [rest, taken(rest, attempt, 'doomed')]
  }
  for (const batch of world.taken) yield appeared(world, batch)
  for (const batch of world.batches) if (batch.status === 'doomed') yield become(world, batch, 'failed')
}

/** Every world that an action can lead to: answers that come, are lost or come to nothing, and crashes in between. */
export function* outcomes(world: World, { do: what }: SubmitAction, server: Server): Generator<World> {
  switch (what) {
    case 'nothing':
    case 'requeue':
      return
    case 'intend': {
      const tags = world.tags + 1
      return yield { ...commit(world, { kind: 'intent', file: 1, tag: `t${tags}` }), tags }
    }
    case 'doubt-upload':
      return yield doubted(world)
    case 'find-upload':
      return yield* foundUpload(world)
    case 'upload':
      return yield* uploaded(world)
    case 'create':
      return yield* created(world)
    case 'find-batch':
      return yield foundBatch(world)
    case 'delete-input':
      return yield* inputDeleted(world)
    case 'wait':
      return yield { ...(server.isPunctual ? allAppeared(world) : world), graceOver: true }
    case 'abandon':
      return yield commit(world, { kind: 'abandoned', file: 1, why: 'no batch', litter: [] })
  }
}

function doubted(world: World): World {
  const at = world.doubts + 1
  const step: Step = { kind: 'upload-doubt', tag: tagOf(fileOf(world)), at, why: '' }
  return { ...beside(world, [step]), ...unknowing, doubts: at }
}

function* foundUpload(world: World): Generator<World> {
  const found = world.files.filter(({ tag, deleted }) => tag === tagOf(fileOf(world)) && !deleted)
  if (found.length === 0) yield { ...world, uploadAbsent: true }
  for (const { id } of found) yield commit(world, { kind: 'uploaded', file: 1, inputFileId: id })
}

function* uploaded(world: World): Generator<World> {
  const tag = tagOf(fileOf(world))
  const arrived = stored(world, tag)
  const id = arrived.files.at(-1)?.id ?? ''
  const late = { ...world, lateUploads: [...world.lateUploads, tag] }
  yield commit(arrived, { kind: 'uploaded', file: 1, inputFileId: id })
  for (const one of [arrived, late, world]) yield* [crash(one), doubted(one)]
  yield commit(world, { kind: 'abandoned', file: 1, why: 'refused', litter: [] })
}

function* created(before: World): Generator<World> {
  const attempt = attemptOf(before)
  const world = { ...before, creates: [...before.creates, attempt.tag] }
  const doubt: Step = { kind: 'doubt', file: 1, why: 'no answer' }
  if (isThere(world, attempt.input)) {
    const acted = taken(world, attempt)
    const done = allAppeared(acted)
    yield commit(done, createdStep(attempt, false))
    // The server took it up, and its answer was lost; the batch can be seen now or later.
    for (const one of [done, acted]) yield* [crash(one), commit(one, doubt)]
  }
  const late = { ...world, lateCreates: [...world.lateCreates, attempt] }
  for (const one of [late, world]) yield* [crash(one), commit(one, doubt)]
  yield commit(world, { kind: 'abandoned', file: 1, why: 'refused', litter: [attempt.input] })
}

function foundBatch(world: World): World {
  const { tag, input } = attemptOf(world)
  const isFenced = fileOf(world).phase === 'fenced'
  const found = world.batches.find(
    (batch) => (batch.tag === tag || batch.input === input) && !(isFenced && batch.status === 'failed'),
  )
  return found ? commit(world, createdStep(found, true)) : { ...world, batchAbsent: true }
}

const batchId = ({ tag }: Attempt): string => `batch of ${tag}`

const createdStep = (attempt: Attempt, adopted: boolean): Step => ({
  kind: 'created',
  file: 1,
  batchId: batchId(attempt),
  inputFileId: attempt.input,
  ...(adopted && { adopted: true }),
})

function* inputDeleted(world: World): Generator<World> {
  const gone = deleted(world, [attemptOf(world).input])
  yield commit(gone, { kind: 'fenced', file: 1, at: 0 })
  yield crash(gone)
}

const deleted = (world: World, ids: readonly string[]): World => ({
  ...world,
  files: world.files.map((one) => (ids.includes(one.id) ? { ...one, deleted: true } : one)),
})

/** What else the process does: it polls, settles strays, sweeps, tidies up. Each may be cut by a crash. */
export function* besides(world: World): Generator<World> {
  const polled = afterPoll(world)
  if (polled !== world) yield polled
  for (const stray of unsettledStrays(world.state)) yield* afterStray(world, stray.batchId)
  yield* afterSweep(world)
  const litter = [...world.state.litter]
  if (litter.length > 0) {
    const gone = deleted(world, litter)
    yield beside(gone, [{ kind: 'cleaned', remoteFiles: litter }])
    yield crash(gone)
  }
}

/** A look at all batches: strays are noted, and a failed batch of the file's own is begun anew if it was adopted. */
function afterPoll(world: World): World {
  const noted = world.batches.reduce((so, batch) => {
    const { tag, input, status } = batch
    const listed = { id: batchId(batch), tag, inputFileId: input, status }
    return beside(so, noteSteps(so.state, listed, so.doubts + 1))
  }, world)
  const file = fileOf(noted)
  const grown = noted.state.uploadDoubts !== world.state.uploadDoubts ? world.doubts + 1 : world.doubts
  const looked = { ...noted, doubts: grown, looked: true }
  if (file.phase !== 'remote') return noted.state === world.state && world.looked ? world : looked
  const own = noted.batches.find((batch) => batchId(batch) === file.batchId)
  if (own?.status !== 'failed' || !file.adopted) return noted.state === world.state ? world : looked
  const litter = [file.inputFileId]
  return commit(
    looked,
    { kind: 'ended', file: 1, status: 'failed' },
    { kind: 'abandoned', file: 1, why: 'no input', litter },
  )
}

function* afterStray(world: World, id: string): Generator<World> {
  const stray = world.state.strays.get(id)
  const batch = world.batches.find((one) => batchId(one) === id)
  if (!stray || !batch) return
  const usage = { input: 0, cachedInput: 0, cacheWrite: 0, output: 0, reasoning: 0 }
  const litter = [batch.input]
  if (stray.phase === 'live') {
    const over = batch.status === 'failed' ? world : become(world, batch, 'cancelled')
    yield beside(over, [{ kind: 'stray-ended', batchId: id, status: 'cancelled', outputFileId: 'o' }])
    if (over !== world) yield crash(over)
  } else if (stray.phase === 'ended')
    yield beside(world, [{ kind: 'stray-received', batchId: id, usage, litter }])
  else yield beside(world, [{ kind: 'stray-settled', batchId: id, litter: [] }])
}

function* afterSweep(world: World): Generator<World> {
  const waited = new Map([...world.state.uploadDoubts].filter(([, at]) => world.due.includes(at)))
  const action = nextSweep(world.state, { nowMs: 0, graceMs: 1000, waited, givenUp: new Set() })
  if (action.do === 'wait') {
    const due = [...new Set([...world.due, ...action.doubts.values()])].sort()
    // An upload that has not arrived by now never will.
    const landed = world.lateUploads.filter((tag) => action.doubts.has(tag))
    const lateUploads = world.lateUploads.filter((tag) => !action.doubts.has(tag))
    yield { ...landed.reduce(stored, world), lateUploads, due }
    if (landed.length > 0) yield { ...world, lateUploads, due }
  }
  if (action.do === 'search') {
    const used = inputsInUse(world.state)
    const found = world.files.filter(({ id, tag }) => action.doubts.has(tag) && !used.has(id))
    const litter = found.filter((one) => !one.deleted).map(({ id }) => id)
    yield beside(world, [{ kind: 'swept', tags: [...action.doubts.keys()], litter }])
  }
}

export interface Bounds {
  readonly mostTags: number
  /** Uploads that may be doubted; 0: every upload is answered. */
  readonly mostDoubts: number
  /** Uploads under way or stored. */
  readonly mostUploads: number
  readonly server?: Server
}

/** More than a protocol that keeps its word ever sends. */
const MOST_CREATES = 4

/** Every world that can follow on this one, by itself or by what the process does next. */
export function* successors(world: World, protocol: Protocol, server: Server): Generator<World> {
  yield* surroundings(world)
  yield* besides(world)
  for (const mayStart of [true, false]) yield* outcomes(world, actionOf(world, protocol, mayStart), server)
}

/** All worlds that can be reached within the bounds, each once. */
export function explore(protocol: Protocol, bounds: Bounds): World[] {
  const { mostTags, mostDoubts, mostUploads, server = { isPunctual: true } } = bounds
  const seen = new Map<string, World>()
  const queue: World[] = []
  const meet = (world: World) => {
    const uploads = world.lateUploads.length + world.files.length
    const isOut = world.tags > mostTags || uploads > mostUploads || world.creates.length > MOST_CREATES
    if (isOut || world.doubts > mostDoubts || (mostDoubts === 0 && isUploadLost(world))) return
    const id = nameOf(world)
    if (seen.has(id)) return
    seen.set(id, world)
    queue.push(world)
  }
  meet(firstWorld())
  for (let world = queue.pop(); world; world = queue.pop())
    for (const next of successors(world, protocol, server)) meet(next)
  return [...seen.values()]
}

const isUploadLost = (world: World): boolean => world.resumed && fileOf(world).phase === 'intended'

/** The same text for worlds that are the same. */
export function nameOf({ state, ...rest }: World): string {
  const { files, retiredTags, atLarge, strays, uploadDoubts, litter } = state
  const maps = [files, retiredTags, atLarge, strays, uploadDoubts].map((map) => [...map.values()])
  return JSON.stringify([rest, maps, [...uploadDoubts.keys()], [...litter].sort()])
}
