import { customId } from '../batch/custom-id.ts'
import type { RequestState } from '../batch/request-table.ts'
import type { Step, StepOf, WipeScope } from '../batch/steps.ts'
import type { RequestLife } from './history.ts'
import {
  accept,
  type FileStep,
  fileEvent,
  lifeOf,
  lose,
  receive,
  reject,
  type StepPlace,
  type Story,
  send,
  settle,
  tell,
} from './history-story.ts'

interface Group {
  readonly endpoint: string
  readonly model: string
}

/**
 * Picks one key's history out of the steps of a ledger, given in order. What it keeps is that history, and the
 * endpoint and model of each queue file that is still in use.
 */
export class HistoryWatch {
  readonly #key: string
  readonly #stories: Story[] = []
  readonly #groups = new Map<number, Group>()
  #paramsVersions = 0

  constructor(key: string) {
    this.#key = key
  }

  /** Every life of the key, the oldest first; none when it was never added. */
  get lives(): readonly RequestLife[] {
    return this.#stories.map(lifeOf)
  }

  take(step: Step, place: StepPlace): void {
    this.#note(step)
    if (step.kind === 'add') this.#begin(step, place)
    const story = this.#stories.at(-1)
    if (story) this.#continue(story, step, place)
    if (step.kind === 'wiped') this.#groups.clear()
  }

  /** What has to be known of everything. */
  #note(step: Step): void {
    if (step.kind === 'task') this.#paramsVersions = 1
    else if (step.kind === 'params') this.#paramsVersions++
    else if (step.kind === 'wiped' && step.scope === 'task') this.#paramsVersions = 0
    else if (step.kind === 'dropped') this.#groups.delete(step.file)
    else if (step.kind === 'open') this.#groups.set(step.file, { endpoint: step.endpoint, model: step.model })
  }

  #begin(step: StepOf<'add'>, place: StepPlace): void {
    const index = step.keys.indexOf(this.#key)
    if (index < 0) return
    const request = step.first + index
    const meta = step.metas?.[index]
    const story: Story = {
      request,
      sample: step.samples?.[index] ?? this.#key,
      paramsVersion: Math.max(1, this.#paramsVersions),
      ...(meta !== undefined && meta !== null && { meta }),
      state: 'pending',
      customId: customId(request, 0),
      attempts: 0,
      queued: 0,
      unjudged: undefined,
      costs: { nanoUsd: 0, uncertainNanoUsd: 0, unpriced: 0, untold: 0 },
      events: [],
      tags: new Set(),
      strays: new Set(),
      ...this.#placeIn(step.file),
    }
    this.#stories.push(story)
    const waitsFor = step.after?.[index]
    const { file } = step
    const { customId: id } = story
    tell(story, place, { kind: 'added', file, customId: id, ...(waitsFor !== undefined && { waitsFor }) })
  }

  #placeIn(file: number): Pick<Story, 'file' | 'endpoint' | 'model'> {
    const { endpoint, model } = this.#groups.get(file) ?? { endpoint: null, model: null }
    return { file, endpoint, model }
  }

  #continue(story: Story, step: Step, place: StepPlace): void {
    if (isFileStep(step)) followFile(story, step, place)
    else if (isEnd(step)) forget(story, step, place)
    else if (isStrayStep(step)) noteStray(story, step, place)
    else if (step.kind === 'requeue') this.#requeue(story, step, place)
    else if (step.kind === 'accepted') accept(story, step, place)
    else if (step.kind === 'rejected') reject(story, step, place)
    else if (step.kind === 'received') receive(story, step, place)
    else if (step.kind === 'remembered') remember(story, step, place, this.#key)
    else if (step.kind === 'sent') send(story, step, place)
    else if (step.kind === 'uncertain') lose(story, step, place)
  }

  #requeue(story: Story, step: StepOf<'requeue'>, place: StepPlace): void {
    const index = step.requests.indexOf(story.request)
    if (index < 0) return
    const { why, reason, repaired = false, file, ids, costs } = step
    const reply = { requestId: ids?.[index] ?? undefined, cost: costs?.[index] }
    // Only a retry was answered for sure; older ledgers do not tell of the others.
    const judged = why === 'retry' || costs ? settle(story, reply) : {}
    if (why === 'retry') story.attempts++
    story.queued++
    story.customId = customId(story.request, story.queued)
    Object.assign(story, this.#placeIn(file))
    const told = { why, ...(reason !== undefined && { reason }), repaired, ...judged }
    tell(story, place, { kind: 'queued-again', ...told, file, customId: story.customId })
  }
}

const WIPED: Readonly<Record<WipeScope, readonly RequestState[]>> = {
  requests: ['pending'],
  failed: ['pending', 'failed'],
  task: ['pending', 'failed', 'succeeded'],
}

type EndStep = StepOf<'wiped' | 'restored' | 'wipe'>

const isEnd = (step: Step): step is EndStep =>
  step.kind === 'wipe' || step.kind === 'wiped' || step.kind === 'restored'

/** A step that concerns every request of some states. */
function forget(story: Story, step: EndStep, place: StepPlace): void {
  const states = step.kind === 'restored' ? ['failed'] : WIPED[step.scope]
  if (!states.includes(story.state)) return
  if (step.kind === 'wipe') tell(story, place, { kind: 'wipe-begun', scope: step.scope })
  else {
    story.state = 'forgotten'
    story.file = 0
    tell(story, place, step.kind === 'wiped' ? { kind: 'wiped', scope: step.scope } : { kind: 'restored' })
  }
}

type StrayStep = StepOf<'stray' | 'stray-ended' | 'stray-received'>

const isStrayStep = (step: Step): step is StrayStep =>
  step.kind === 'stray' || step.kind === 'stray-ended' || step.kind === 'stray-received'

/** A batch that was given up, or is one too many, may still have answered the request. */
function noteStray(story: Story, step: StrayStep, place: StepPlace): void {
  const { batchId } = step
  if (step.kind === 'stray' && story.tags.has(step.tag)) story.strays.add(batchId)
  if (!story.strays.has(batchId)) return
  if (step.kind === 'stray-received') tell(story, place, { kind: 'stray-received', batchId })
  else tell(story, place, { kind: 'stray-batch', batchId, status: step.status })
}

function remember(story: Story, step: StepOf<'remembered'>, place: StepPlace, key: string): void {
  const { sample, value } = step
  if (step.key === key) tell(story, place, { kind: 'remembered', sample, value })
}

const FILE_STEPS: ReadonlySet<string> = new Set<FileStep['kind']>([
  'seal',
  'intent',
  'uploaded',
  'doubt',
  'fenced',
  'abandoned',
  'created',
  'remote',
  'ended',
])

const isFileStep = (step: Step): step is FileStep => FILE_STEPS.has(step.kind)

function followFile(story: Story, step: FileStep, place: StepPlace): void {
  if (step.file !== story.file) return
  if (step.kind === 'intent') story.tags.add(step.tag)
  tell(story, place, fileEvent(step))
}
