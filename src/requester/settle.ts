import { classifyLine, type LineOutcome } from '../batch/line-outcome.ts'
import { lineBody, lineId } from '../batch/wire-line.ts'
import type { Endpoint } from '../openai/wire.ts'
import { readLineChunks } from '../state/json-lines.ts'
import type { RateCard } from '../tokens/prices.ts'
import type { Context } from './context.ts'
import { queueFileName } from './files.ts'
import { answerCost, ReplyTotals } from './reply-totals.ts'
import { type ResultScan, requestOf, scanResults } from './result-index.ts'

/** A result file that is on disk, and what it is the result of. */
export interface ResultFile {
  /** The queue file whose lines were answered. */
  readonly id: number
  readonly suffix: string
  readonly endpoint: Endpoint
  /** Empty when it is not known any more: answers name theirs. */
  readonly model: string
  /** The day whose prices hold, in milliseconds since 1970. */
  readonly pricedAt?: number | undefined
}

export interface Settlement extends ResultScan {
  readonly totals: ReplyTotals
  /** What the answers were priced by. */
  readonly rates: RateCard
}

/**
 * Adds up what all answers in a result file used and cost, whoever they belong to: all of them are paid for.
 * `onOutcome` sees each of them.
 */
export async function settle(
  context: Context,
  file: ResultFile,
  onOutcome: (outcome: LineOutcome, request: number | undefined) => void = () => {},
): Promise<Settlement> {
  const { store, valuer } = context
  const cards = valuer.cards(file.model, 'batch', file.pricedAt)
  const cardsBy = (outcome: LineOutcome) => valuer.cards(modelOf(outcome), 'batch', file.pricedAt)
  const totals = new ReplyTotals()
  const unmetered = new Map<number, LineOutcome>()
  const scan = await scanResults(store, file, (line, request) => {
    const outcome = classifyLine(line, file.endpoint)
    const isUnmetered = outcome.kind === 'reply' && !outcome.usage
    if (isUnmetered && request !== undefined) unmetered.set(request, outcome)
    else totals.add(answerCost(outcome, file.model === '' ? cardsBy(outcome) : cards))
    onOutcome(outcome, request)
  })
  if (unmetered.size > 0) {
    await valuer.load()
    for await (const lines of linesOf(context, file)) {
      for (const { request, ...line } of lines) {
        const outcome = unmetered.get(request)
        if (outcome) totals.add(answerCost(outcome, cards, (card) => valuer.mostOf(line, card)))
      }
    }
  }
  return { ...scan, totals, rates: cards.card }
}

const modelOf = (outcome: LineOutcome): string =>
  outcome.kind === 'reply' && typeof outcome.body.model === 'string' ? outcome.body.model : ''

/** The lines of a queue file whose requests still wait for an answer to them, some at a time. */
export async function* linesOf({ store }: Context, { id, endpoint, model }: Omit<ResultFile, 'suffix'>) {
  for await (const lines of readLineChunks(store.fs, store.path(queueFileName(id)))) {
    yield lines.flatMap(({ text }) => {
      const request = requestOf(lineId(text) ?? '', store.durable.requests, id)
      if (request === undefined) return []
      const { key } = store.durable.requests.identity(request)
      return [{ request, key, endpoint, model, bodyText: lineBody(text) }]
    })
  }
}
