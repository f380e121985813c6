import { applyStep } from '../../src/batch/apply-step.ts'
import type { QueueFile } from '../../src/batch/queue-file.ts'
import { RequestIndex } from '../../src/batch/request-index.ts'
import type { Step } from '../../src/batch/steps.ts'
import type { nextSubmitAction, SubmitAction } from '../../src/batch/submit.ts'
import { initialState, type TaskState } from '../../src/batch/task-state.ts'

export type Protocol = typeof nextSubmitAction

interface Attempt {
  readonly tag: string
  readonly input: string
}

/**
 * One file on its way to the server, as plain data: what is committed, what the process knows, what the server has,
 * and what is still under way to it. Time is only "since the fence": over or not.
 */
export interface World {
  readonly file: QueueFile
  readonly tags: number
  /** The process's knowledge; forgotten at a crash. */
  readonly resumed: boolean
  readonly uploadAbsent: boolean
  readonly batchAbsent: boolean
  readonly graceOver: boolean
  /** Creates the process has sent, by tag. */
  readonly creates: readonly string[]
  /** Uploads and creates that left the process and have not reached the server. */
  readonly lateUploads: readonly string[]
  readonly lateCreates: readonly Attempt[]
  /** Creates the server has taken up: their batches appear within the grace, whatever becomes of the input file. */
  readonly taken: readonly Attempt[]
  readonly files: readonly { readonly id: string; readonly tag: string; readonly deleted: boolean }[]
  readonly batches: readonly Attempt[]
}

const task: { state: TaskState; requests: RequestIndex } = {
  state: initialState,
  requests: new RequestIndex(),
}
const START: readonly Step[] = [
  { kind: 'open', file: 1, endpoint: '/v1/responses', model: 'm' },
  { kind: 'add', file: 1, first: 1, keys: ['a'], hashes: ['0'.repeat(16)], bytes: 9 },
  { kind: 'seal', file: 1, as: 'batch' },
]
for (const step of START) task.state = applyStep(task.state, task.requests, step)

/** The file after a step, by the real rules. */
function after(file: QueueFile, step: Step): QueueFile {
  const next = applyStep({ ...task.state, files: new Map([[1, file]]) }, task.requests, step).files.get(1)
  if (!next) throw new Error('the file is gone')
  return next
}

const unknowing = { resumed: false, uploadAbsent: false, batchAbsent: false }

export function firstWorld(): World {
  const file = task.state.files.get(1)
  if (!file) throw new Error('there is no file')
  const empty = { creates: [], lateUploads: [], lateCreates: [], taken: [], files: [], batches: [] }
  return { file, tags: 0, ...unknowing, graceOver: false, ...empty }
}

/** A committed step. What the process knew was about the phase before it. */
const commit = (world: World, step: Step): World => ({
  ...world,
  ...unknowing,
  file: after(world.file, step),
  graceOver: false,
})

export const crash = (world: World): World => ({ ...world, ...unknowing, resumed: true })

export function actionOf(world: World, protocol: Protocol, mayStart: boolean): SubmitAction {
  const { resumed, uploadAbsent, batchAbsent, graceOver } = world
  const nowMs = graceOver ? 1000 : 0
  return protocol(world.file, {
    mayStart,
    resumed,
    uploadAbsent,
    batchAbsent,
    graceWaited: false,
    nowMs,
    graceMs: 1000,
  })
}

const tagOf = ({ file }: World): string => ('tag' in file ? file.tag : '')
const inputOf = ({ file }: World): string => ('inputFileId' in file ? file.inputFileId : '')
const attemptOf = (world: World): Attempt => ({ tag: tagOf(world), input: inputOf(world) })
const isThere = (world: World, input: string): boolean =>
  world.files.some(({ id, deleted }) => id === input && !deleted)

const stored = (world: World, tag: string): World => {
  const id = `${tag}-file${world.files.filter((one) => one.tag === tag).length + 1}`
  return { ...world, files: [...world.files, { id, tag, deleted: false }] }
}
const taken = (world: World, attempt: Attempt): World => ({ ...world, taken: [...world.taken, attempt] })
const appeared = (world: World, attempt: Attempt): World => ({
  ...world,
  taken: world.taken.filter((one) => one !== attempt),
  batches: [...world.batches, attempt],
})
const allAppeared = (world: World): World => world.taken.reduce(appeared, world)

/** What may happen around the process at any time: late messages arrive, batches appear, it crashes. */
export function* surroundings(world: World): Generator<World> {
  if (!world.resumed) yield crash(world)
  for (const tag of world.lateUploads)
    yield { ...stored(world, tag), lateUploads: world.lateUploads.filter((one) => one !== tag) }
  for (const attempt of world.lateCreates) {
    const rest = { ...world, lateCreates: world.lateCreates.filter((one) => one !== attempt) }
    yield isThere(world, attempt.input) ? taken(rest, attempt) : rest
  }
  for (const attempt of world.taken) yield appeared(world, attempt)
}

/** Every world that an action can lead to: answers that come, are lost or come to nothing, and crashes in between. */
export function* outcomes(world: World, { do: what }: SubmitAction): Generator<World> {
  switch (what) {
    case 'nothing':
      return
    case 'intend':
      return yield {
        ...commit(world, { kind: 'intent', file: 1, tag: `t${world.tags + 1}` }),
        tags: world.tags + 1,
      }
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
      return yield { ...allAppeared(world), graceOver: true }
    case 'abandon':
      return yield commit(world, { kind: 'abandoned', file: 1, why: 'no batch', litter: [] })
  }
}

function* foundUpload(world: World): Generator<World> {
  const found = world.files.filter(({ tag, deleted }) => tag === tagOf(world) && !deleted)
  if (found.length === 0) yield { ...world, uploadAbsent: true }
  for (const { id } of found) yield commit(world, { kind: 'uploaded', file: 1, inputFileId: id })
}

function* uploaded(world: World): Generator<World> {
  const arrived = stored(world, tagOf(world))
  const id = arrived.files.at(-1)?.id ?? ''
  yield commit(arrived, { kind: 'uploaded', file: 1, inputFileId: id })
  yield crash(arrived)
  yield crash({ ...world, lateUploads: [...world.lateUploads, tagOf(world)] })
  yield commit(world, { kind: 'abandoned', file: 1, why: 'refused', litter: [] })
}

function* created(before: World): Generator<World> {
  const attempt = attemptOf(before)
  const world = { ...before, creates: [...before.creates, attempt.tag] }
  const doubt: Step = { kind: 'doubt', file: 1, why: 'no answer' }
  if (isThere(world, attempt.input)) {
    const done = appeared(taken(world, attempt), attempt)
    yield commit(done, createdStep(attempt, false))
    // The server took it up, and its answer was lost; the batch can be seen now or later.
    for (const one of [done, taken(world, attempt)]) yield* [crash(one), commit(one, doubt)]
  }
  const late = { ...world, lateCreates: [...world.lateCreates, attempt] }
  for (const one of [late, world]) yield* [crash(one), commit(one, doubt)]
  yield commit(world, { kind: 'abandoned', file: 1, why: 'refused', litter: [attempt.input] })
}

function foundBatch(world: World): World {
  const { tag, input } = attemptOf(world)
  const found = world.batches.find((batch) => batch.tag === tag || batch.input === input)
  return found ? commit(world, createdStep(found, true)) : { ...world, batchAbsent: true }
}

const createdStep = ({ tag, input }: Attempt, adopted: boolean): Step => ({
  kind: 'created',
  file: 1,
  batchId: `batch of ${tag}`,
  inputFileId: input,
  ...(adopted && { adopted: true }),
})

function* inputDeleted(world: World): Generator<World> {
  const files = world.files.map((one) => (one.id === inputOf(world) ? { ...one, deleted: true } : one))
  const gone = { ...world, files }
  yield commit(gone, { kind: 'fenced', file: 1, at: 0 })
  yield crash(gone)
}

/** Enough for one that was lost, one that came late and one that was seen. */
const MOST_UPLOADS = 3
/** More than a protocol that keeps its word ever sends. */
const MOST_CREATES = 4

/** All worlds that can be reached with at most so many tags and a few uploads of each, each once. */
export function explore(protocol: Protocol, mostTags: number): World[] {
  const seen = new Map<string, World>()
  const queue: World[] = []
  const meet = (world: World) => {
    const id = JSON.stringify(world)
    const uploads = world.lateUploads.length + world.files.length
    if (
      seen.has(id) ||
      world.tags > mostTags ||
      uploads > MOST_UPLOADS ||
      world.creates.length > MOST_CREATES
    )
      return
    seen.set(id, world)
    queue.push(world)
  }
  meet(firstWorld())
  for (let world = queue.pop(); world; world = queue.pop()) {
    for (const next of surroundings(world)) meet(next)
    for (const mayStart of [true, false])
      for (const next of outcomes(world, actionOf(world, protocol, mayStart))) meet(next)
  }
  return [...seen.values()]
}
