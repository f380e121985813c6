import { budgetOf } from '../batch/budget.ts'
import type { TaskState } from '../batch/task-state.ts'
import { ASSUMED_IMAGE_SIZE } from '../tokens/measure.ts'
import type { RateTier } from '../tokens/prices.ts'
import { amount } from '../util/amount.ts'
import { formatCount } from '../util/format.ts'
import type { Quote, QuotedAmounts, QuotedCost, QuotedModel, QuotedPrice } from './quote.ts'
import { capsOf } from './quote-caps.ts'
import type { Quoter } from './quoter.ts'
import type { RequesterSettings } from './settings.ts'
import { ASSUMED_MOST_OUTPUT, type Valuer } from './valuer.ts'

export interface QuoteFacts {
  readonly valuer: Valuer
  readonly settings: RequesterSettings
  /** The task as it is. */
  readonly state: TaskState
  /** Today, in milliseconds since 1970. */
  readonly nowMs: number
  readonly fetchesImageSizes: boolean
  /** A deadline may move requests from batches to calls. */
  readonly mayHurry: boolean
  /** Requests that no figure is about: those of earlier runs that have no answer and would be kept. */
  readonly pending: number
}

/** What a quoter has added up, with what the limits say to it and what it rests on. */
export function makeQuote(quoter: Quoter, facts: QuoteFacts): Quote {
  const { models } = quoter
  const amounts = sumOf(models)
  const { spending } = facts.state
  const { spentNanoUsd, uncertainNanoUsd, reservedNanoUsd } = budgetOf(facts.state)
  const { estimate, cost } = amounts
  const load = {
    requests: amounts.requests,
    tokens: estimate.inputTokens,
    nanoUsd: (estimate.inputCost + cost.planned.output) * 1e9,
    mostNanoUsd: quoter.mostNanoUsd,
  }
  const usedNanoUsd = spentNanoUsd + uncertainNanoUsd + reservedNanoUsd
  return {
    ...amounts,
    models,
    pending: facts.pending,
    caps: capsOf(load, { spending, usedNanoUsd }, facts.settings.limits),
    assumptions: assumptionsOf(quoter, amounts, facts),
  }
}

const sum = <Item>(items: readonly Item[], of: (item: Item) => number): number =>
  items.reduce((total, item) => total + of(item), 0)

/** Undefined when one of them is. */
function sumKnown<Item>(items: readonly Item[], of: (item: Item) => number | undefined): number | undefined {
  return items.reduce<number | undefined>((total, item) => {
    const one = of(item)
    return total === undefined || one === undefined ? undefined : total + one
  }, 0)
}

function sumOf(models: readonly QuotedModel[]): QuotedAmounts {
  const bytes = sum(models, (model) => model.bytes)
  return {
    requests: sum(models, ({ requests }) => requests),
    batches: sum(models, ({ batches }) => batches),
    batchRequests: sum(models, ({ batchRequests }) => batchRequests),
    directRequests: sum(models, ({ directRequests }) => directRequests),
    bytes,
    inputTokens: sum(models, ({ inputTokens }) => inputTokens),
    countedShare: bytes === 0 ? 1 : sum(models, (model) => model.countedShare * model.bytes) / bytes,
    estimate: {
      inputTokens: sum(models, ({ estimate }) => estimate.inputTokens),
      inputCost: sum(models, ({ estimate }) => estimate.inputCost),
    },
    outputTokens: sum(models, ({ outputTokens }) => outputTokens),
    mostOutputTokens: sumKnown(models, ({ mostOutputTokens }) => mostOutputTokens),
    cost: {
      direct: priceSum(models, ({ direct }) => direct),
      batch: priceSum(models, ({ batch }) => batch),
      planned: priceSum(models, ({ planned }) => planned),
      most: sumKnown(models, ({ cost }) => cost.most),
    },
  }
}

const priceSum = (models: readonly QuotedModel[], of: (cost: QuotedCost) => QuotedPrice): QuotedPrice => ({
  input: sum(models, ({ cost }) => of(cost).input),
  output: sum(models, ({ cost }) => of(cost).output),
  total: sum(models, ({ cost }) => of(cost).total),
})

function assumptionsOf(quoter: Quoter, amounts: QuotedAmounts, facts: QuoteFacts): string[] {
  const { settings } = facts
  const ratio = percent(settings.assumedCompletionRatio)
  const { assumedImages, unlimited, notes } = quoter
  return [
    ...pricesText(quoter.models, facts),
    ...(amounts.outputTokens > 0
      ? [`answers use ${ratio} of the output tokens they may have (--assumed-completion-ratio)`]
      : []),
    ...(unlimited > 0
      ? [
          `${amount(unlimited, 'request')} without a maximum of output tokens: ${formatCount(ASSUMED_MOST_OUTPUT)} is taken for ${unlimited === 1 ? 'it' : 'each'}, and more may be charged`,
        ]
      : []),
    ...(amounts.countedShare < 1
      ? [
          `${percent(amounts.countedShare)} of the text was counted; the rest is estimated by its bytes, and corrected by what the count showed`,
        ]
      : []),
    ...(assumedImages > 0 ? [imagesText(assumedImages, facts.fetchesImageSizes)] : []),
    ...notes,
    ...(facts.mayHurry
      ? [
          'nothing is known of the --deadline: what has to leave its batches for it costs up to the direct price',
        ]
      : []),
    'nothing is counted for answers that must be asked for again, nor taken off for cached prompt tokens, identical requests or answers in a --cache',
  ]
}

function imagesText(count: number, fetched: boolean): string {
  const { width, height } = ASSUMED_IMAGE_SIZE
  const hint = fetched ? '' : '; --fetch-image-sizes reads the sizes of remote ones'
  return `${amount(count, 'image')} of unknown size counted as ${width} x ${height} pixels${hint}`
}

const percent = (share: number): string => `${Number((share * 100).toPrecision(3))} %`

function pricesText(models: readonly QuotedModel[], { valuer, settings, nowMs }: QuoteFacts): string[] {
  const given = Object.values(settings.prices).some((price) => price !== undefined)
  const from = given ? 'as the --cost flags say, else ' : ''
  const day = new Date(nowMs).toISOString().slice(0, 10)
  const names = [...new Set(models.map(({ model }) => model))]
  return names.map((model) => {
    const direct = valuer.card(model, 'direct')
    const batch = valuer.card(model, 'batch')
    const tiers = direct.length > 1 ? ', more for longer prompts' : ''
    return `a million tokens of ${model} cost ${ratesText(direct[0])} directly and ${ratesText(batch[0])} by batch${tiers} (${from}the price table for ${day})`
  })
}

const PICO_PER_TOKEN_TO_USD_PER_MILLION = 1e-6

/** `$0.25 in, $2 out`. */
function ratesText(tier: RateTier | undefined): string {
  const text = (rate: number | undefined): string =>
    rate === undefined ? 'unknown' : `$${Number((rate * PICO_PER_TOKEN_TO_USD_PER_MILLION).toPrecision(6))}`
  const output = tier?.output === undefined ? '' : `, ${text(tier.output)} out`
  return `${text(tier?.input)} in${output}`
}
