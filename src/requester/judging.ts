import { inputsOf } from '../batch/embedding-inputs.ts'
import { ruleOnRetry } from '../batch/retry-rules.ts'
import { fateOfFollowers } from '../batch/reuse.ts'
import { tooLarge } from '../batch/sealing.ts'
import type { RequeueReason } from '../batch/steps.ts'
import type { Verdict } from '../batch/verdict.ts'
import { wireLine } from '../batch/wire-line.ts'
import { UsageError } from '../errors.ts'
import { jsonCopy } from '../util/json-text.ts'
import type { Draft } from './draft.ts'
import type { OutputPlacement } from './output-placement.ts'
import { type PrepareOptions, prepareBody } from './prepare.ts'
import { appendFailed, enqueueAgain } from './queue.ts'
import type { RequestResult } from './request-result.ts'
import type { RequesterSettings } from './settings.ts'
import { passOn } from './twins.ts'
import type { Countable, Valuer } from './valuer.ts'

/** What a verdict led to. */
export interface Judgement {
  readonly kind: 'accepted' | 'rejected' | 'queued-again'
  /** Why it was rejected or queued again. */
  readonly reason?: string
}

export interface JudgeTools {
  readonly settings: RequesterSettings
  readonly valuer: Valuer
  readonly output: OutputPlacement
  readonly prepare: PrepareOptions
}

/** What a caller may say differently from the verdict and the result. */
export interface JudgeOverrides {
  /** Written instead of the verdict's output. */
  readonly output?: unknown
  /** The sample that `remember` is kept with. Default: the result's. */
  readonly sample?: string
  /** Whether identical requests may be given the same answer (`--cache`, `--dedupe`), when it is accepted. Default: true. */
  readonly isReusable?: boolean
}

/** A verdict that has passed every check: what is left cannot fail. */
export type CheckedVerdict =
  | { readonly kind: 'accept'; readonly line: string | undefined; readonly remember: unknown }
  | { readonly kind: 'reject'; readonly reason: string; readonly remember: unknown }
  | {
      readonly kind: 'retry'
      readonly reason: string
      readonly repair: { readonly model: string; readonly bodyText: string } | undefined
    }

/** Finds every fault of a verdict before anything is changed. Throws TaskError naming the key. */
export function checkVerdict(
  result: RequestResult,
  verdict: Verdict,
  tools: JudgeTools,
  over: JudgeOverrides,
): CheckedVerdict {
  if (verdict.kind === 'retry') {
    const { body, reason } = verdict
    const repair = body && prepareBody(body, result, tools.prepare)
    // Another body may be one that cannot be sent within the cap, or has no price.
    if (repair) tools.valuer.check({ ...repair, key: result.key })
    return { kind: 'retry', reason, repair }
  }
  const remember =
    verdict.remember === undefined
      ? undefined
      : jsonCopy(verdict.remember, { what: `what to remember of ${JSON.stringify(result.key)}` })
  if (verdict.kind === 'reject') return { kind: 'reject', reason: verdict.reason, remember }
  const output = over.output ?? verdict.output
  return {
    kind: 'accept',
    line: output === undefined ? undefined : tools.output.encode(output, result.key),
    remember,
  }
}

/** Adds one judgement to a draft: verdict, output, sample, for another try the new line, and what follows for identical requests. */
export function addJudgement(
  draft: Draft,
  result: RequestResult,
  verdict: CheckedVerdict,
  tools: JudgeTools,
  over: JudgeOverrides,
): Judgement {
  mustBePending(draft, result)
  const judgement = addVerdict(draft, { result, verdict, tools, over })
  const isRepaired = verdict.kind === 'retry' && verdict.repair !== undefined
  const isReusable = over.isReusable ?? true
  passOn(draft, result, fateOfFollowers({ verdict: judgement.kind, isRepaired, isReusable }), tools.valuer)
  return judgement
}

interface Judged {
  readonly result: RequestResult
  readonly verdict: CheckedVerdict
  readonly tools: JudgeTools
  readonly over: JudgeOverrides
}

function addVerdict(draft: Draft, { result, verdict, tools, over }: Judged): Judgement {
  switch (verdict.kind) {
    case 'accept':
      addAccepted(draft, result, verdict.line, tools.output)
      remember(draft, result, verdict.remember, over)
      return { kind: 'accepted' }
    case 'reject':
      addRejected(draft, result, verdict.reason)
      remember(draft, result, verdict.remember, over)
      return { kind: 'rejected', reason: verdict.reason }
    case 'retry':
      return addRetry(draft, result, verdict, tools)
  }
}

function mustBePending(draft: Draft, { request, key, file }: RequestResult): void {
  const record = draft.requests.get(request)
  if (record.state === 'pending' && record.file === file) return
  throw new UsageError(
    'already_judged',
    `the result of ${JSON.stringify(key)} has its verdict already; judge each result once`,
  )
}

/** What the ledger keeps of the reply that a judgement is about. */
const replyColumns = ({ outcome, costNanoUsd }: RequestResult) => ({
  ids: [outcome.requestId ?? null],
  costs: [costNanoUsd ?? null],
})

function addAccepted(
  draft: Draft,
  result: RequestResult,
  line: string | undefined,
  output: OutputPlacement,
): void {
  const requests = [result.request]
  const { part, lines } = draft.state.output
  if (line === undefined) {
    draft.apply({ kind: 'accepted', requests, lines: 0, part, ...replyColumns(result) })
    return
  }
  const cursor = { part, lines, bytes: draft.length(output.suffix(part)) }
  const placed = output.place(cursor, Buffer.byteLength(line))
  draft.append(output.suffix(placed.part), line)
  draft.apply({ kind: 'accepted', requests, lines: 1, part: placed.part, ...replyColumns(result) })
}

function addRejected(
  draft: Draft,
  { request, key, sample, attempt, outcome, costNanoUsd }: RequestResult,
  reason: string,
  lapsed = false,
): void {
  const reply = outcome.kind === 'reply' ? outcome.body : outcome.failure
  const { requestId } = outcome
  appendFailed(draft, { key, sample, reason, attempts: attempt + 1, reply })
  draft.apply({
    kind: 'rejected',
    request,
    reason,
    ...(lapsed && { lapsed: true as const }),
    ...(requestId !== undefined && { id: requestId }),
    ...(costNanoUsd !== undefined && { cost: costNanoUsd }),
  })
}

function remember(draft: Draft, { key, sample }: RequestResult, value: unknown, over: JudgeOverrides): void {
  if (value !== undefined) draft.apply({ kind: 'remembered', sample: over.sample ?? sample, key, value })
}

function addRetry(
  draft: Draft,
  result: RequestResult,
  { reason, repair }: Extract<CheckedVerdict, { kind: 'retry' }>,
  tools: JudgeTools,
): Judgement {
  const { request, endpoint } = result
  const why = requeueReason(result)
  const line = {
    endpoint,
    model: repair?.model ?? result.model,
    bodyText: repair?.bodyText ?? result.bodyText,
  }
  const end = whyNoMore(draft, { ...line, request, key: result.key, why }, tools)
  if (end !== undefined) {
    const whole = `${reason} (${end})`
    addRejected(draft, result, whole, why === 'expired' || why === 'cancelled')
    return { kind: 'rejected', reason: whole }
  }
  const cause = { why, reason, repaired: repair !== undefined, ...replyColumns(result) } as const
  enqueueAgain(draft, request, line, cause, tools.valuer)
  return { kind: 'queued-again', reason }
}

/** What another try of this request is called, and so what it uses up. */
function requeueReason({ outcome, via }: RequestResult): AnotherTry['why'] {
  if (via === 'reused') return 'unfit'
  if (outcome.kind === 'reply' || outcome.failure.countsAsAttempt) return 'retry'
  if (outcome.failure.refusal) return 'refused'
  return outcome.failure.code === 'batch_cancelled' ? 'cancelled' : 'expired'
}

interface AnotherTry extends Countable {
  readonly request: number
  readonly why: Extract<RequeueReason, 'retry' | 'expired' | 'cancelled' | 'refused' | 'unfit'>
}

/** Why a request cannot be sent again; undefined when it can. */
function whyNoMore(
  draft: Draft,
  line: AnotherTry,
  { settings: { maxRetries, maxExpiries }, valuer }: JudgeTools,
): string | undefined {
  const bytes = Buffer.byteLength(wireLine('', line.endpoint, line.bodyText)) + 64
  const size = { bytes, inputs: inputsOf(line.endpoint, line.bodyText), tokens: valuer.forecast(line) }
  const refusal = tooLarge(line.model, size, valuer.sealing)
  if (refusal !== undefined) return `it cannot be sent again: ${refusal}`
  // It was not tried yet: nothing is used up.
  if (line.why === 'refused' || line.why === 'unfit') return undefined
  const { attempt, expiries } = draft.requests.get(line.request)
  const lapsed = line.why !== 'retry'
  const ruling = ruleOnRetry({ attempt, expiries, maxRetries, maxExpiries, lapsed })
  return ruling.kind === 'exhausted' ? ruling.why : undefined
}
