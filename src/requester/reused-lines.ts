import { customId } from '../batch/custom-id.ts'
import { classifyLine, type LineOutcome, parseResultLine } from '../batch/line-outcome.ts'
import type { QueueFile } from '../batch/queue-file.ts'
import { isFull, REUSE_CHUNK } from '../batch/reuse.ts'
import type { StepOf } from '../batch/steps.ts'
import { fillingFileOf } from '../batch/task-state.ts'
import { wireLine } from '../batch/wire-line.ts'
import type { Endpoint } from '../openai/wire.ts'
import { noForecast } from '../tokens/forecast.ts'
import { zeroUsage } from '../tokens/usage.ts'
import type { Draft } from './draft.ts'
import { queueFileName, resultFileName } from './files.ts'
import { addedColumns, type PreparedRequest } from './queue.ts'
import { replyText } from './reply-line.ts'
import { answerCost } from './reply-totals.ts'
import type { Valuer } from './valuer.ts'

/** A request whose answer is there already. */
export interface AnsweredRequest extends PreparedRequest {
  /** The body of the answer, as JSON text. */
  readonly reply: string
}

/** Adds new requests together with their answers, in files of which nothing is ever sent. */
export function enqueueReused(draft: Draft, requests: readonly AnsweredRequest[], valuer: Valuer): void {
  const groups = Map.groupBy(requests, ({ endpoint, model }) => `${endpoint} ${model}`)
  for (const group of groups.values()) {
    let rest: readonly AnsweredRequest[] = group
    while (rest.length > 0) rest = enqueueSome(draft, rest, valuer)
  }
}

/** Adds as many of one group's requests as its file takes; returns the others. */
function enqueueSome(
  draft: Draft,
  requests: readonly AnsweredRequest[],
  valuer: Valuer,
): readonly AnsweredRequest[] {
  const [one] = requests
  if (!one) return []
  const file = fillingFor(draft, one)
  const chunk = requests.slice(0, REUSE_CHUNK.requests - file.requests)
  const first = draft.requests.last + 1
  const lines = chunk.map((request, offset) => answeredLine(customId(first + offset, 0), request))
  const queued = lines.map(({ line }) => line).join('')
  draft.apply({
    kind: 'add',
    file: file.id,
    first,
    ...addedColumns(chunk),
    bytes: Buffer.byteLength(queued),
    inputs: 0,
    tokens: { ...noForecast, requests: chunk.length },
  })
  addAnswers(draft, file.id, {
    requests: chunk.map((_, offset) => first + offset),
    lines,
    reused: { replies: chunk.length, savedNanoUsd: savedBy(one, lines, valuer) },
  })
  return requests.slice(chunk.length)
}

interface Answers extends Required<Pick<StepOf<'received'>, 'requests' | 'reused'>> {
  readonly lines: readonly AnsweredLine[]
}

/** Lines that are in a file, and their answers. */
function addAnswers(draft: Draft, file: number, { requests, reused, lines }: Answers): void {
  draft.append(queueFileName(file), lines.map(({ line }) => line).join(''))
  draft.append(resultFileName(file), lines.map(({ result }) => result).join(''))
  draft.apply({ kind: 'received', file, requests, usage: zeroUsage, costNanoUsd: 0, reused })
}

/** An answer that others than its own request are given. */
export interface SharedAnswer extends Pick<AnsweredRequest, 'endpoint' | 'model' | 'bodyText' | 'reply'> {
  /** Its own request. */
  readonly of: number
}

/** Gives an answer to requests that waited for it, each behind the one before it. */
export function shareAnswer(
  draft: Draft,
  answer: SharedAnswer,
  followers: readonly number[],
  valuer: Valuer,
): void {
  let leader = answer.of
  for (let rest = followers; rest.length > 0; ) {
    const file = fillingFor(draft, answer)
    const requests = rest.slice(0, REUSE_CHUNK.requests - file.requests)
    const lines = requests.map((request) =>
      answeredLine(customId(request, draft.requests.get(request).queued + 1), answer),
    )
    const queued = lines.map(({ line }) => line).join('')
    draft.apply({
      kind: 'requeue',
      file: file.id,
      why: 'shared',
      requests,
      of: leader,
      bytes: Buffer.byteLength(queued),
      inputs: 0,
      tokens: { ...noForecast, requests: requests.length },
    })
    const savedNanoUsd = requests.length * savedBy(answer, lines.slice(0, 1), valuer)
    const reused = { replies: requests.length, savedNanoUsd, of: answer.of }
    addAnswers(draft, file.id, { requests, lines, reused })
    leader = requests.at(-1) ?? leader
    rest = rest.slice(requests.length)
  }
}

/** The body of an answer as JSON text; undefined without one, or when it is nested too deep to be written. */
export function replyJson(outcome: LineOutcome): string | undefined {
  if (outcome.kind !== 'reply') return undefined
  try {
    return JSON.stringify(outcome.body)
  } catch (error) {
    if (error instanceof RangeError) return undefined
    throw error
  }
}

interface AnsweredLine {
  /** As a request, and as its answer; each with its line break. */
  readonly line: string
  readonly result: string
}

function answeredLine(
  id: string,
  { endpoint, bodyText, reply }: Pick<AnsweredRequest, 'endpoint' | 'bodyText' | 'reply'>,
): AnsweredLine {
  const answer = replyText(id, { status: 200, text: reply, requestId: undefined, retryAfterMs: undefined })
  return { line: `${wireLine(id, endpoint, bodyText)}\n`, result: `${answer}\n` }
}

/** What the answers would have cost, by batch unless everything is sent directly; in nano-USD. */
function savedBy(
  { model, endpoint }: { readonly model: string; readonly endpoint: Endpoint },
  lines: readonly AnsweredLine[],
  valuer: Valuer,
): number {
  const cards = valuer.cards(model, valuer.sealing.forceDirect ? 'direct' : 'batch')
  let saved = 0
  for (const { result } of lines) {
    const answer = parseResultLine(result)
    const cost = answer && answerCost(classifyLine(answer, endpoint), cards).costNanoUsd
    saved += cost ?? 0
  }
  return saved
}

/** The group's file that still takes lines; a full one is closed and a new one opened. */
function fillingFor(draft: Draft, group: Pick<PreparedRequest, 'endpoint' | 'model'>): QueueFile {
  const { endpoint, model } = group
  const current = fillingFileOf(draft.state, endpoint, model)
  if (current && !isFull(current)) return current
  if (current) draft.apply({ kind: 'seal', file: current.id, as: 'reused' })
  const file = draft.state.lastFile + 1
  draft.apply({ kind: 'open', file, endpoint, model, for: 'reuse' })
  const opened = draft.state.files.get(file)
  if (!opened) throw new RangeError(`queue file ${file} was opened and is not there`)
  return opened
}

/** Closes files that are still being filled: from then on they are handed out. */
export function giveReused(draft: Draft, files: readonly number[]): void {
  for (const file of files)
    if (draft.state.files.get(file)?.phase === 'filling') draft.apply({ kind: 'seal', file, as: 'reused' })
}
