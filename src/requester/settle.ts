import { classifyLine, type LineOutcome } from '../batch/line-outcome.ts'
import type { TerminalStatus } from '../batch/steps.ts'
import { lineBody, lineId } from '../batch/wire-line.ts'
import type { Endpoint } from '../openai/wire.ts'
import { readLineChunks } from '../state/json-lines.ts'
import { mostNanoUsd, noForecast, type TokenForecast } from '../tokens/forecast.ts'
import type { RateCard } from '../tokens/prices.ts'
import type { TokenUsage } from '../tokens/usage.ts'
import type { Context } from './context.ts'
import { queueFileName } from './files.ts'
import { answerCost, type Cards, isUnmetered, type Priced, ReplyTotals } from './reply-totals.ts'
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
  /** Of a queue file's own batch, which answers all its lines: how it ended, and the server's count of it. */
  readonly status?: TerminalStatus | undefined
  readonly usage?: TokenUsage | undefined
  readonly tokens?: TokenForecast | undefined
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
  const unmetered = new Set<string>()
  const scan = await scanResults(store, file, (line, request) => {
    const outcome = classifyLine(line, file.endpoint)
    if (isUnmetered(outcome)) unmetered.add(line.custom_id)
    else totals.add(answerCost(outcome, file.model === '' ? cardsBy(outcome) : cards))
    onOutcome(outcome, request)
  })
  if (unmetered.size > 0) await addUnmetered(context, file, { unmetered, totals, cards })
  await addLost(context, file, { scan, totals, card: cards.card })
  return { ...scan, totals, rates: cards.card }
}

interface Unmetered {
  /** Custom ids. Not the answers: there may be as many as the batch has lines. */
  readonly unmetered: Set<string>
  readonly totals: ReplyTotals
  readonly cards: Cards
}

const UNMETERED: Priced = { kind: 'reply' }

/** Answers that say nothing of their tokens, each as dear as its line allows. */
async function addUnmetered(
  { store, valuer }: Context,
  { id, endpoint, model }: ResultFile,
  { unmetered, totals, cards }: Unmetered,
): Promise<void> {
  await valuer.load(model)
  const name = queueFileName(id)
  // Lines that went elsewhere meanwhile are still there to be read.
  for await (const lines of store.length(name) > 0 ? readLineChunks(store.fs, store.path(name)) : []) {
    for (const { text } of lines) {
      const key = lineId(text) ?? ''
      if (!unmetered.delete(key)) continue
      const line = { key, endpoint, model, bodyText: lineBody(text) }
      totals.add(answerCost(UNMETERED, cards, (card) => valuer.mostOf(line, card)))
    }
  }
  for (const _ of unmetered) totals.add(answerCost(UNMETERED, cards))
}

interface Lost {
  readonly scan: ResultScan
  readonly totals: ReplyTotals
  readonly card: RateCard
}

/** What the server may have worked on, and gave no answer to, or one that says nothing of its tokens. */
async function addLost(context: Context, file: ResultFile, { scan, totals, card }: Lost): Promise<void> {
  const { status, usage, tokens } = file
  if (usage && isWhole(usage, totals.usage))
    return totals.lose(mostUncounted(usage, totals, { card, longest: tokens?.longest }))
  // Without a count, a batch that ended early has lost no more than there are lines that nobody can read.
  const most = status === 'completed' ? Number.POSITIVE_INFINITY : status ? scan.oddLines : 0
  if (most === 0) return
  await context.valuer.load(file.model)
  const costs: number[] = []
  for await (const lines of linesOf(context, file)) {
    for (const { request, ...line } of lines)
      if (!scan.index.has(request)) costs.push(context.valuer.mostOf(line, card) ?? 0)
  }
  costs.sort((a, b) => b - a)
  for (const cost of costs.slice(0, most)) totals.lose(cost)
}

/** A count below that of the answers leaves some out, so it does not tell what was lost. */
const isWhole = (counted: TokenUsage, answered: TokenUsage): boolean =>
  counted.input >= answered.input && counted.output >= answered.output

/** The most that tokens cost which the server counts and no answer accounts for, but for what is charged without a count. */
function mostUncounted(
  counted: TokenUsage,
  { usage, unmeteredNanoUsd }: ReplyTotals,
  {
    card,
    longest = Number.POSITIVE_INFINITY,
  }: { readonly card: RateCard; readonly longest?: number | undefined },
): number {
  const mostInput = Math.max(0, counted.input - usage.input)
  const mostOutput = Math.max(0, counted.output - usage.output)
  if (mostInput + mostOutput === 0) return 0
  const forecast = { ...noForecast, mostInput, mostOutput, longest: Math.min(longest, mostInput) }
  return Math.max(0, (mostNanoUsd(forecast, card) ?? 0) - unmeteredNanoUsd)
}

const modelOf = (outcome: LineOutcome): string =>
  outcome.kind === 'reply' && typeof outcome.body.model === 'string' ? outcome.body.model : ''

/** The lines of a queue file whose requests still wait for an answer to them, some at a time. */
export async function* linesOf(
  { store }: Context,
  { id, endpoint, model }: Pick<ResultFile, 'id' | 'endpoint' | 'model'>,
) {
  for await (const lines of readLineChunks(store.fs, store.path(queueFileName(id)))) {
    yield lines.flatMap(({ text }) => {
      const request = requestOf(lineId(text) ?? '', store.durable.requests, id)
      if (request === undefined) return []
      const { key } = store.durable.requests.identity(request)
      return [{ request, key, endpoint, model, bodyText: lineBody(text) }]
    })
  }
}
