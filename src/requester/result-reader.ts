import { parseCustomId } from '../batch/custom-id.ts'
import { type FailedBatchPlan, planFailedBatch } from '../batch/failed-batch.ts'
import {
  classifyLine,
  type LineOutcome,
  missingLine,
  parseReplyLine,
  parseResultLine,
  withWorkingKey,
} from '../batch/line-outcome.ts'
import type { FileIn, QueueFile } from '../batch/queue-file.ts'
import type { Failure } from '../batch/reply.ts'
import type { BatchFault } from '../batch/steps.ts'
import type { Stray } from '../batch/stray.ts'
import { lineBody, lineId } from '../batch/wire-line.ts'
import { StateError } from '../errors.ts'
import { type Line, type Piece, readLineChunks, WindowReader } from '../state/json-lines.ts'
import type { RateCard } from '../tokens/prices.ts'
import type { Context } from './context.ts'
import { queueFileName, repliesFileName, resultFileName } from './files.ts'
import { enqueueAgain } from './queue.ts'
import { answerCost, type Cards, isUnmetered } from './reply-totals.ts'
import type { RequestResult } from './request-result.ts'
import { type ResultIndex, requestOf, scanResults } from './result-index.ts'

type ReadableFile = FileIn<'received' | 'direct' | 'reused'>

const MOST_KEPT = 2

/** What answers were priced by when they were received, as far as it is on record. */
export interface Pricing {
  readonly rates?: RateCard
  /** See `mostOf` of the valuer. */
  readonly safety?: number
}

export const pricingOf = (file: QueueFile | Stray): Pricing => (file.phase === 'received' ? file : {})

/** How the answer of a file's requests came. */
const viaOf = ({ phase }: QueueFile): RequestResult['via'] =>
  phase === 'direct' || phase === 'reused' ? phase : 'batch'

/** Why a line that was never at fault goes again without a verdict. */
type Again = 'healed' | 'recalled'

interface LineAgain {
  readonly request: number
  readonly text: string
  readonly why: Again
}

/** Reads what was received for a file, in the order its requests were queued, skipping what is judged already. */
export class ResultReader {
  readonly #context: Context
  /** Files that were scanned when they were received, to be read soon: need not be scanned again. */
  readonly #scanned = new Map<number, ResultIndex>()

  constructor(context: Context) {
    this.#context = context
  }

  /** Keeps what a scan found until the file is read. A large index has its price in memory: only the last few. */
  keep(file: number, index: ResultIndex): void {
    this.#scanned.set(file, index)
    const [oldest] = this.#scanned.keys()
    if (oldest !== undefined && this.#scanned.size > MOST_KEPT) this.#scanned.delete(oldest)
  }

  /**
   * The results of a received batch, of the answered part of a direct set or of answers used again, but for requests
   * that are `taken`: another answer to them is being looked at. What was never at fault is queued again and is no
   * result. Stops early when the run is to stop.
   */
  async *results(
    file: ReadableFile,
    isTaken: (request: number) => boolean = () => false,
  ): AsyncGenerator<RequestResult> {
    const { store, stop } = this.#context
    const suffix = file.phase === 'direct' ? repliesFileName(file.id) : resultFileName(file.id)
    const index = await this.#indexOf(file.id, suffix)
    const replies = index.size > 0 ? await WindowReader.open(store.fs, store.path(suffix)) : undefined
    try {
      let lineNumber = 0
      for await (const lines of readLineChunks(store.fs, store.path(queueFileName(file.id)))) {
        const again: LineAgain[] = []
        for (const [position, line] of lines.entries()) {
          lineNumber++
          const request = requestOf(lineId(line.text) ?? '', store.head.requests, file.id)
          if (request === undefined || isTaken(request)) continue
          if (stop.aborted) return
          const next = placesAfter(lines, position, index)
          const outcome = await this.#outcome(file, { request, lineNumber, next }, index, replies)
          if (typeof outcome === 'string') again.push({ request, text: line.text, why: outcome })
          else if (outcome) yield await this.describe(file, request, line.text, outcome)
        }
        await this.#queueAgain(file, again)
      }
    } finally {
      await replies?.close()
    }
  }

  /** Everything a judge may want to know about one outcome. */
  async describe(
    file: QueueFile,
    request: number,
    lineText: string,
    outcome: LineOutcome,
    pricing: Pricing = pricingOf(file),
  ): Promise<RequestResult> {
    const { store, valuer } = this.#context
    const { requests, state } = store.durable
    const { key, sample, params, metaAt } = requests.identity(request)
    const via = viaOf(file)
    const bodyText = lineBody(lineText)
    const { endpoint, model } = file
    if (via !== 'reused' && isUnmetered(outcome)) await valuer.load(model)
    const most = (card: RateCard) => valuer.mostOf({ key, endpoint, model, bodyText }, card, pricing.safety)
    // Whoever was given the answer first has paid for it.
    const { costNanoUsd } =
      via === 'reused' ? { costNanoUsd: 0 } : answerCost(outcome, this.#cards(file, pricing), most)
    return {
      request,
      key,
      sample,
      meta: metaAt === undefined ? undefined : await store.meta(request),
      attempt: requests.get(request).attempt,
      params: state.params[params],
      endpoint,
      model,
      file: file.id,
      via,
      bodyText,
      outcome,
      usage: outcome.usage,
      costNanoUsd,
    }
  }

  /** What priced the answers of a file when they were received. */
  #cards(file: QueueFile, { rates }: Pricing): Cards {
    const api = file.phase === 'direct' ? 'direct' : 'batch'
    const cards = this.#context.valuer.cards(file.model, api, file.pricedAt)
    return rates ? { ...cards, card: rates } : cards
  }

  async #indexOf(id: number, suffix: string): Promise<ResultIndex> {
    const { store } = this.#context
    const kept = this.#scanned.get(id)
    this.#scanned.delete(id)
    if (kept) return kept
    return store.length(suffix) > 0 ? (await scanResults(store, { id, suffix })).index : new Map()
  }

  async #outcome(
    file: ReadableFile,
    line: { readonly request: number; readonly lineNumber: number; readonly next: Iterable<Piece> },
    index: ResultIndex,
    replies: WindowReader | undefined,
  ): Promise<LineOutcome | Again | undefined> {
    const place = index.get(line.request)
    if (!place || !replies) return file.phase === 'received' ? unanswered(file, line.lineNumber) : undefined
    const { offset, bytes } = place
    const text = replies.readNow(offset, bytes) ?? (await replies.read(offset, bytes, line.next))
    const result = file.phase === 'direct' ? parseReplyLine(text) : parseResultLine(text)
    if (!result)
      throw new StateError(
        'result_changed',
        `${this.#context.store.path(resultFileName(file.id))} changed while it was read; run the task again`,
      )
    const outcome = classifyLine(result, file.endpoint)
    if (wasRecalled(file, outcome)) return 'recalled'
    // A refused key stops a direct call before anything is recorded; and one that brought answers is a good one.
    return file.phase !== 'received' || file.answers ? withWorkingKey(outcome) : outcome
  }

  /** Lines that were never at fault go again, as one commit. */
  async #queueAgain({ endpoint, model }: ReadableFile, lines: readonly LineAgain[]): Promise<void> {
    const { store, valuer } = this.#context
    await store.commit((draft) => {
      for (const { request, text, why } of lines) {
        const line = { endpoint, model, bodyText: lineBody(text) }
        enqueueAgain(draft, request, line, { why }, valuer)
      }
    })
  }
}

/** Where the answers to the lines that follow are: a server answers in an order of its own. */
function* placesAfter(lines: readonly Line[], position: number, index: ResultIndex): Generator<Piece> {
  for (let after = position + 1; after < lines.length; after++) {
    const place = index.get(parseCustomId(lineId(lines[after]?.text ?? '') ?? '')?.request ?? 0)
    if (place) yield place
  }
}

/** The batch was cut short for the deadline before it came to this request: that is nobody's failure. */
const wasRecalled = ({ recalled }: QueueFile, outcome: LineOutcome): boolean =>
  recalled === true && outcome.kind === 'failure' && outcome.failure.code === 'batch_cancelled'

/** What it means that an ended batch has no line for a request. */
function unanswered(file: FileIn<'received'>, lineNumber: number): LineOutcome | Again {
  switch (file.status) {
    case 'completed':
      return missingLine()
    case 'expired':
    case 'cancelled':
      if (file.status === 'cancelled' && file.recalled) return 'recalled'
      return notTried(
        `batch_${file.status}`,
        `the batch ${file.status === 'expired' ? 'expired' : 'was cancelled'} before it came to this request`,
      )
    case 'failed': {
      const plan = planFailedBatch({ faults: file.faults, requests: file.requests, mayFinalise: true })
      if (plan.kind === 'wait') return accountFull(file.faults)
      // It was worked on all the same, and there was no reason for some of its lines only.
      return file.answers && plan.kind !== 'heal' ? missingLine() : refused(plan, file.faults, lineNumber)
    }
  }
}

function refused(
  plan: FailedBatchPlan,
  faults: readonly BatchFault[],
  lineNumber: number,
): LineOutcome | Again {
  if (plan.kind !== 'heal')
    return fault(faults[0] ?? { code: 'batch_failed', message: 'the server gave no reason' })
  const own = plan.lines.get(lineNumber)
  return own ? fault(own) : 'healed'
}

const failed = (failure: Failure): LineOutcome => ({ kind: 'failure', failure })

const fault = ({ code, message }: BatchFault): LineOutcome =>
  failed({ code, message: `the batch failed: ${message}`, retryable: false, countsAsAttempt: true })

const accountFull = ([fault]: readonly BatchFault[]): LineOutcome =>
  failed({
    code: fault?.code ?? 'batch_failed',
    message: `the batch failed: ${fault?.message ?? 'the server gave no reason'}`,
    retryable: true,
    countsAsAttempt: false,
    refusal: 'account',
  })

const notTried = (code: string, message: string): LineOutcome =>
  failed({ code, message, retryable: true, countsAsAttempt: false })
