import { customId } from '../batch/custom-id.ts'
import { inputsOf } from '../batch/embedding-inputs.ts'
import type { QueueFile } from '../batch/queue-file.ts'
import { fits, type LineSize, type SealSettings, sealFor, tooLarge, withLine } from '../batch/sealing.ts'
import type { RequeueReason, StepOf } from '../batch/steps.ts'
import { openFileOf } from '../batch/task-state.ts'
import { wireLine } from '../batch/wire-line.ts'
import type { Endpoint } from '../openai/wire.ts'
import { addForecasts, noForecast, type TokenForecast } from '../tokens/forecast.ts'
import type { Draft } from './draft.ts'
import { FAILED_FILE, queueFileName } from './files.ts'
import type { Countable, Valuer } from './valuer.ts'

/** A request that has passed every check and waits to be committed. */
export interface PreparedRequest extends Countable {
  readonly sample: string
  readonly meta: unknown
  readonly hash: string
}

/** One line of `_failed.jsonl`: a request that failed for good. */
export interface FailedLine {
  readonly key: string
  readonly sample: string
  readonly reason: string
  readonly attempts: number
  readonly reply?: unknown
}

/** A request that can never be sent, and why. */
export interface Refused {
  readonly key: string
  readonly reason: string
}

/** Puts new requests into open queue files, group by group, sealing files as they fill up. Returns those that failed alone. */
export function enqueueNew(draft: Draft, requests: readonly PreparedRequest[], valuer: Valuer): Refused[] {
  const settings = valuer.sealing
  const refused: Refused[] = []
  const valued = requests.map((request) => ({ ...request, tokens: valuer.forecast(request) }))
  const groups = Map.groupBy(valued, ({ endpoint, model }) => `${endpoint} ${model}`)
  for (const group of groups.values()) {
    let rest: readonly ValuedRequest[] = group
    while (rest.length > 0) rest = enqueueSome(draft, rest, settings, refused)
  }
  return refused
}

interface ValuedRequest extends PreparedRequest {
  readonly tokens: TokenForecast
}

/** Adds as many of one group's requests as the open file takes, and to `refused` what no file takes; returns the others. */
function enqueueSome(
  draft: Draft,
  requests: readonly ValuedRequest[],
  settings: SealSettings,
  refused: Refused[],
): readonly ValuedRequest[] {
  const first = draft.requests.last + 1
  const chunk: ValuedRequest[] = []
  const lines: QueueLine[] = []
  let file: QueueFile | undefined
  for (const request of requests) {
    const line = lineOf(customId(first + chunk.length, 0), request)
    const refusal = tooLarge(request.model, line, settings)
    if (refusal !== undefined) {
      if (chunk.length > 0) break
      refused.push(refuse(draft, request, refusal))
      return requests.slice(1)
    }
    file ??= openFor(draft, request, line, settings)
    if (!fits(file, line, settings)) break
    chunk.push(request)
    lines.push(line)
    file = withLine(file, line)
  }
  if (file) addChunk(draft, file.id, chunk, lines)
  return requests.slice(chunk.length)
}

interface QueueLine extends LineSize {
  /** With its line break. */
  readonly text: string
}

function lineOf(
  id: string,
  {
    endpoint,
    bodyText,
    tokens,
  }: { readonly endpoint: Endpoint; readonly bodyText: string; readonly tokens: TokenForecast },
): QueueLine {
  const text = `${wireLine(id, endpoint, bodyText)}\n`
  return { text, bytes: Buffer.byteLength(text), inputs: inputsOf(endpoint, bodyText), tokens }
}

const sumOf = (numbers: readonly number[]): number => numbers.reduce((sum, number) => sum + number, 0)

function addChunk(
  draft: Draft,
  file: number,
  chunk: readonly PreparedRequest[],
  lines: readonly QueueLine[],
): void {
  const inputs = lines.flatMap((line) => line.inputs ?? [])
  draft.apply({
    kind: 'add',
    file,
    first: draft.requests.last + 1,
    ...addedColumns(chunk),
    bytes: sumOf(lines.map(({ bytes }) => bytes)),
    ...(inputs.length > 0 && { inputs: sumOf(inputs) }),
    tokens: lines.map(({ tokens }) => tokens).reduce(addForecasts, noForecast),
  })
  draft.append(queueFileName(file), lines.map(({ text }) => text).join(''))
}

/** What an `add` step says of the requests themselves. */
export const addedColumns = (
  requests: readonly PreparedRequest[],
): Pick<StepOf<'add'>, 'keys' | 'hashes' | 'samples' | 'metas'> => ({
  keys: requests.map(({ key }) => key),
  hashes: requests.map(({ hash }) => hash),
  ...(requests.some(({ key, sample }) => sample !== key) && {
    samples: requests.map(({ key, sample }) => (sample === key ? null : sample)),
  }),
  ...(requests.some(({ meta }) => meta !== undefined) && { metas: requests.map(({ meta }) => meta ?? null) }),
})

/** Puts new requests into files of their own, one per group, that are sent directly. Returns those that failed alone. */
export function enqueueDirect(draft: Draft, requests: readonly PreparedRequest[], valuer: Valuer): Refused[] {
  const refused: Refused[] = []
  const settings = { ...valuer.sealing, forceDirect: true }
  const valued = requests.map((request) => ({ ...request, tokens: valuer.forecast(request) }))
  const groups = Map.groupBy(valued, ({ endpoint, model }) => `${endpoint} ${model}`)
  for (const all of groups.values()) {
    const refusals = new Map(
      all.map((one) => [one.key, tooLarge(one.model, lineOf(customId(0, 0), one), settings)] as const),
    )
    for (const one of all) {
      const refusal = refusals.get(one.key)
      if (refusal !== undefined) refused.push(refuse(draft, one, refusal))
    }
    const group = all.filter(({ key }) => refusals.get(key) === undefined)
    const [first] = group
    if (!first) continue
    const file = draft.state.lastFile + 1
    draft.apply({ kind: 'open', file, endpoint: first.endpoint, model: first.model })
    const start = draft.requests.last + 1
    const lines = group.map((one, offset) => lineOf(customId(start + offset, 0), one))
    addChunk(draft, file, group, lines)
    draft.apply({ kind: 'seal', file, as: 'direct' })
  }
  return refused
}

/** A line that passes a limit all by itself can never be sent: it fails alone, the others go on. */
function refuse(draft: Draft, request: PreparedRequest, why: string): Refused {
  const { key, sample } = request
  const number = draft.requests.last + 1
  const reason = `too_large: ${why}`
  draft.apply({ kind: 'add', file: 0, first: number, ...addedColumns([request]), bytes: 0 })
  draft.apply({ kind: 'rejected', request: number, reason })
  appendFailed(draft, { key, sample, reason, attempts: 0 })
  return { key, reason }
}

/** Why a line is queued again, and the reply that led to it. */
export interface RequeueCause {
  readonly why: RequeueReason
  readonly reason?: string
  readonly repaired?: boolean
  readonly ids?: readonly (string | null)[]
  readonly costs?: readonly (number | null)[]
  /** What had been reserved for a direct call that was not made after all, in nano-USD. */
  readonly released?: number
  /** What such a call had been counted with as sent: expected prompt tokens, and cost in nano-USD. */
  readonly takenBack?: { readonly input: number; readonly nanoUsd: number } | undefined
  /** The request behind which this one waited. */
  readonly of?: number
}

/** Queues a request's line again, in the open file of its group, under a new custom id. */
export function enqueueAgain(
  draft: Draft,
  request: number,
  line: { readonly endpoint: Endpoint; readonly model: string; readonly bodyText: string },
  cause: RequeueCause,
  valuer: Valuer,
): void {
  const { key } = draft.requests.identity(request)
  const again = lineAgain(draft, request, { ...line, tokens: valuer.forecast({ key, ...line }) })
  const file = openFor(draft, line, again, valuer.sealing)
  addAgain(draft, file.id, request, again, cause)
}

/** The line by which a request is queued next. */
export function lineAgain(
  draft: Draft,
  request: number,
  line: { readonly endpoint: Endpoint; readonly bodyText: string; readonly tokens: TokenForecast },
): QueueLine {
  return lineOf(customId(request, draft.requests.get(request).queued + 1), line)
}

/** Queues a request's next line in an open file. */
export function addAgain(
  draft: Draft,
  file: number,
  request: number,
  { text, bytes, inputs, tokens }: QueueLine,
  cause: RequeueCause,
): void {
  draft.apply({
    kind: 'requeue',
    file,
    why: cause.why,
    requests: [request],
    bytes,
    tokens,
    ...(inputs !== undefined && { inputs }),
    ...(cause.released && { released: cause.released }),
    ...(cause.takenBack && { takenBack: cause.takenBack }),
    ...(cause.reason !== undefined && { reason: cause.reason }),
    ...(cause.repaired && { repaired: true as const }),
    ...(cause.of !== undefined && { of: cause.of }),
    ...(cause.ids && { ids: [...cause.ids] }),
    ...(cause.costs && { costs: [...cause.costs] }),
  })
  draft.append(queueFileName(file), text)
}

export function appendFailed(draft: Draft, line: FailedLine): void {
  draft.append(FAILED_FILE, `${JSON.stringify(line)}\n`)
}

/** The group's open file if the line fits into it; otherwise that file is sealed and a new one opened. */
function openFor(
  draft: Draft,
  group: { readonly endpoint: Endpoint; readonly model: string },
  line: LineSize,
  settings: SealSettings,
): QueueFile {
  const current = openFileOf(draft.state, group.endpoint, group.model)
  const as = current && sealFor(current, line, settings)
  if (current && as === undefined) return current
  if (current && as) draft.apply({ kind: 'seal', file: current.id, as })
  const file = draft.state.lastFile + 1
  draft.apply({ kind: 'open', file, endpoint: group.endpoint, model: group.model })
  return openFileOf(draft.state, group.endpoint, group.model) ?? current ?? neverMissing(file)
}

function neverMissing(file: number): never {
  throw new RangeError(`queue file ${file} was opened and is not there`)
}
