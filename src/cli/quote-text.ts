import type { Quote, QuotedAmounts, QuotedPrice } from '../requester/quote.ts'
import { amount } from '../util/amount.ts'
import { formatCount } from '../util/format.ts'
import { cutText, oneLine } from '../util/text.ts'
import { costText, field, indented, listField } from './layout.ts'

const NAME_WIDTH = 22
const CELL_WIDTH = 11
const PRICE_WIDTH = 15

/** A quote for people, line by line: what would be sent, what it costs by each way, what the limits say to it. */
export function quoteText(quote: Quote, columns: number): string[] {
  const { models, requests } = quote
  const pending =
    quote.pending > 0
      ? indented(
          `${amount(quote.pending, 'request')} of earlier runs still pending; not in these figures`,
          columns,
          2,
        )
      : []
  if (requests === 0) return ['  no new requests', ...pending]
  return [
    ...pending,
    '',
    row('', ['requests', 'batches', 'directly', 'tokens in', 'tokens out']),
    ...models.map((model) => amountsRow(model.model, model)),
    ...(models.length > 1 ? [amountsRow('together', quote)] : []),
    '',
    row('', ['prompts', 'answers', 'total'], PRICE_WIDTH),
    priceRow('all directly', quote.cost.direct),
    priceRow('all by batch', quote.cost.batch),
    priceRow('as it would be sent', quote.cost.planned),
    '',
    ...field('at most', mostText(quote), columns),
    ...field('estimate', estimateText(quote), columns),
    ...field('limits', limitsText(quote), columns),
    ...quote.caps.flatMap(({ flag, text }) => field('', `${flag}: ${text}`, columns)),
    ...listField('assumed', quote.assumptions, columns),
  ]
}

const row = (name: string, cells: readonly string[], width = CELL_WIDTH): string =>
  `  ${cutText(oneLine(name), NAME_WIDTH).padEnd(NAME_WIDTH)}${cells.map((cell) => cell.padStart(width)).join('')}`

const amountsRow = (name: string, amounts: QuotedAmounts): string =>
  row(name, [
    formatCount(amounts.requests),
    formatCount(amounts.batches),
    formatCount(amounts.directRequests),
    tokensText(amounts.inputTokens),
    tokensText(amounts.outputTokens),
  ])

/** In millions when it would not leave room for a space before it: `12,346 M`. */
function tokensText(tokens: number): string {
  const text = formatCount(tokens)
  return text.length < CELL_WIDTH ? text : `${formatCount(Math.round(tokens / 1e6))} M`
}

const priceRow = (name: string, { input, output, total }: QuotedPrice): string =>
  row(name, [input, output, total].map(costText), PRICE_WIDTH)

function mostText({ cost, mostOutputTokens }: Quote): string {
  if (cost.most === undefined || mostOutputTokens === undefined)
    return 'not known: some requests set no maximum of output tokens'
  return `${costText(cost.most)}, if every answer were as long as it may be (${formatCount(mostOutputTokens)} tokens)`
}

function estimateText({ estimate, inputTokens, countedShare }: Quote): string {
  const counted = countedShare < 1 ? 'a count of a sample of the text gives' : 'the tokenizer counts'
  const difference = inputTokens === 0 ? 0 : estimate.inputTokens / inputTokens - 1
  const percent = `${difference < 0 ? '' : '+'}${(difference * 100).toFixed(1)} %`
  return `the limits go by ${formatCount(estimate.inputTokens)} prompt tokens, estimated; ${counted} ${formatCount(inputTokens)} (${percent})`
}

function limitsText({ caps, requests }: Quote): string {
  const isHeldBack = caps.some((cap) => cap.requests < requests)
  if (isHeldBack) return 'not everything may be sent:'
  return `${requests === 1 ? 'the' : 'all'} ${amount(requests, 'request')} may be sent`
}
