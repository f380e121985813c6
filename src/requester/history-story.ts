import type { RequestState } from '../batch/request-table.ts'
import type { StepOf } from '../batch/steps.ts'
import { assertNever } from '../util/exhaustive.ts'
import type { Cost, HistoryEvent, RequestLife } from './history.ts'

/** Where a step stands: in whose ledger, its time, and the suffixes of the side files that its line wrote. */
export interface StepPlace {
  readonly task: string
  /** In milliseconds since 1970. */
  readonly at: number
  readonly files: readonly string[]
}

type Happened<Event = HistoryEvent> = Event extends HistoryEvent ? Omit<Event, 'at'> : never

interface CostSum {
  nanoUsd: number
  uncertainNanoUsd: number
  unpriced: number
  untold: number
}

/** A life that is still being told. */
export interface Story extends Omit<RequestLife, 'events' | 'cost'> {
  state: RequestState
  file: number
  endpoint: string | null
  model: string | null
  customId: string
  attempts: number
  queued: number
  /** Cost in nano-USD of a reply that has no verdict yet. */
  unjudged: Cost
  readonly costs: CostSum
  readonly events: HistoryEvent[]
  /** Tags of the attempts to make a batch that held the request. */
  readonly tags: Set<string>
  /** Batches that came of such attempts beside the one that was known. */
  readonly strays: Set<string>
}

export function tell(story: Story, { at }: StepPlace, event: Happened): void {
  story.events.push({ at: new Date(at).toISOString(), ...event })
}

/** The life as it was told so far. */
export function lifeOf({ queued: _, tags: __, strays: ___, unjudged, costs, ...life }: Story): RequestLife {
  const sum = { ...costs }
  if (unjudged !== undefined) addCost(sum, unjudged)
  const { nanoUsd, uncertainNanoUsd, ...gaps } = sum
  const cost = { usd: nanoUsd / NANO, nanoUsd, uncertainUsd: uncertainNanoUsd / NANO, ...gaps }
  return { ...life, cost }
}

/** Steps about a queue file, and so about every request in it. */
export type FileStep = StepOf<
  'seal' | 'intent' | 'uploaded' | 'doubt' | 'fenced' | 'abandoned' | 'created' | 'remote' | 'ended'
>

export function fileEvent(step: FileStep): Happened {
  const { file } = step
  switch (step.kind) {
    case 'seal':
      return { kind: 'sealed', file, as: step.as }
    case 'intent':
      return { kind: 'announced', file, tag: step.tag, ...expectedUsd(step) }
    case 'uploaded':
      return { kind: 'uploaded', file, inputFileId: step.inputFileId }
    case 'doubt':
      return { kind: 'create-in-doubt', file, why: step.why }
    case 'fenced':
      return { kind: 'input-deleted', file }
    case 'abandoned':
      return { kind: 'given-up', file, why: step.why }
    case 'created': {
      const adopted = step.adopted ?? step.tag !== undefined
      return { kind: 'batch-created', file, batchId: step.batchId, adopted }
    }
    case 'remote':
      return { kind: 'batch-status', file, status: step.status }
    case 'ended':
      return { kind: 'batch-ended', file, status: step.status, faults: step.faults ?? [] }
    default:
      return assertNever(step)
  }
}

/** What the ledger says of the reply that a verdict is about. */
interface Reply {
  readonly requestId: string | undefined
  readonly cost: Cost
}

export function accept(story: Story, step: StepOf<'accepted'>, place: StepPlace): void {
  const { requests, lines, part, ids, costs } = step
  const index = requests.indexOf(story.request)
  if (index < 0) return
  const reply = { requestId: ids?.[index] ?? undefined, cost: costs?.[index] }
  // A step that covers requests with and without an output does not say which is which.
  const output = lines === requests.length ? outputFile(place, part) : undefined
  story.state = 'succeeded'
  story.attempts++
  story.file = 0
  tell(story, place, { kind: 'accepted', ...(output !== undefined && { output }), ...settle(story, reply) })
}

export function reject(story: Story, step: StepOf<'rejected'>, place: StepPlace): void {
  if (step.request !== story.request) return
  // What went into no file was never sent.
  const wasTried = story.file !== 0
  story.state = 'failed'
  story.file = 0
  if (wasTried) story.attempts++
  const judged = wasTried ? settle(story, { requestId: step.id, cost: step.cost }) : {}
  tell(story, place, { kind: 'rejected', reason: step.reason, ...judged })
}

export function send(story: Story, step: StepOf<'sent'>, place: StepPlace): void {
  if (!step.requests.includes(story.request)) return
  const { file, tier } = step
  const isAlone = step.requests.length === 1
  tell(story, place, { kind: 'sent', file, ...(tier && { tier }), ...(isAlone && expectedUsd(step)) })
}

/** The answer to a call was lost: what it can have cost is charged. */
export function lose(story: Story, step: StepOf<'uncertain'>, place: StepPlace): void {
  const { file, requests, charged } = step
  if (!requests.includes(story.request)) return
  const isTold = charged !== undefined && requests.length === 1
  if (isTold) story.costs.uncertainNanoUsd += charged
  tell(story, place, { kind: 'uncertain', file, ...(isTold && { chargedUsd: charged / NANO }) })
}

export function receive(story: Story, step: StepOf<'received'>, place: StepPlace): void {
  const { file, requests, reused } = step
  if (requests ? !requests.includes(story.request) : file !== story.file) return
  const isAlone = requests?.length === 1
  const reply = reused ? { reused: true as const } : isAlone ? receivedAlone(story, step) : {}
  tell(story, place, { kind: 'received', file, ...reply })
}

function receivedAlone(story: Story, { usage, costNanoUsd, unpriced, tier, expected }: StepOf<'received'>) {
  const cost = unpriced ? null : (costNanoUsd ?? null)
  story.unjudged = cost
  return {
    inputTokens: usage.input,
    outputTokens: usage.output,
    costUsd: inUsd(cost),
    ...(tier && { tier }),
    ...(expected && {
      expected: {
        inputTokens: expected.input,
        outputTokens: expected.output,
        costUsd: expected.costNanoUsd / NANO,
      },
    }),
  }
}

const expectedUsd = ({ expectedNanoUsd }: { readonly expectedNanoUsd?: number | undefined }) =>
  expectedNanoUsd === undefined ? {} : { expectedUsd: expectedNanoUsd / NANO }

/** Counts what a reply cost, now that it has its verdict, and says so. */
export function settle(story: Story, { requestId, cost: told }: Reply) {
  const cost = told === undefined ? story.unjudged : told
  story.unjudged = undefined
  addCost(story.costs, cost)
  return {
    ...(requestId !== undefined && { requestId }),
    ...(cost !== undefined && { costUsd: inUsd(cost) }),
  }
}

function addCost(sum: CostSum, cost: Cost): void {
  if (cost === undefined) sum.untold++
  else if (cost === null) sum.unpriced++
  else sum.nanoUsd += cost
}

const NANO = 1e9
const inUsd = (nano: number | null): number | null => (nano === null ? null : nano / NANO)

/** Of the output files that a line wrote to, the one that is this part. */
function outputFile({ task, files }: StepPlace, part: number): string | undefined {
  const outputs = files.filter((suffix) => suffix.startsWith('_output'))
  const suffix = outputs.find((one) => Number(/_part(\d+)/.exec(one)?.[1]) === part) ?? outputs[0]
  return suffix === undefined ? undefined : task + suffix
}
