import type { LineOutcome } from '../batch/line-outcome.ts'
import type { StepOf } from '../batch/steps.ts'
import { costOf, type RateCard } from '../tokens/prices.ts'
import { addUsage, type TokenUsage, zeroUsage } from '../tokens/usage.ts'

/** What answers are priced by: as they were sent, and as direct calls. */
export interface Cards {
  readonly card: RateCard
  readonly list: RateCard
}

/** What one answer used and cost, in nano-USD. */
export interface AnswerCost {
  readonly usage: TokenUsage
  /** Undefined for a model without a known price. */
  readonly costNanoUsd: number | undefined
  /** What the same tokens cost by a direct call. */
  readonly listNanoUsd: number
  /** An answer that says nothing of its tokens: `costNanoUsd` is the most it can have cost. */
  readonly isUnmetered: boolean
}

/**
 * What an answer cost. A failure without usage costs nothing (reference/batch-api.md: what the server could not answer
 * is not billed); an answer without usage the most its request can, given by `most`.
 */
export function answerCost(
  { kind, usage, charge }: Pick<LineOutcome, 'kind' | 'usage' | 'charge'>,
  { card, list }: Cards,
  most: (card: RateCard) => number | undefined = () => undefined,
): AnswerCost {
  const isUnmetered = kind === 'reply' && !usage
  const costBy = (rates: RateCard) => (usage ? costOf(usage, rates) : isUnmetered ? most(rates) : 0)
  const costNanoUsd = charge ? charge.costNanoUsd : costBy(card)
  return { usage: usage ?? zeroUsage, costNanoUsd, listNanoUsd: costBy(list) ?? 0, isUnmetered }
}

/** What answers used and cost together. */
export class ReplyTotals {
  #usage = zeroUsage
  #costNanoUsd = 0
  #listNanoUsd = 0
  #unpriced = 0
  #unmetered = 0

  add({ usage, costNanoUsd, listNanoUsd, isUnmetered }: AnswerCost): void {
    this.#usage = addUsage(this.#usage, usage)
    this.#listNanoUsd += listNanoUsd
    if (costNanoUsd === undefined) this.#unpriced++
    else this.#costNanoUsd += costNanoUsd
    if (isUnmetered) this.#unmetered++
  }

  /** In the words of a `received` step. */
  get columns(): Pick<
    StepOf<'received'>,
    'usage' | 'costNanoUsd' | 'listNanoUsd' | 'unpriced' | 'unmetered'
  > {
    return {
      usage: this.#usage,
      costNanoUsd: this.#costNanoUsd,
      listNanoUsd: this.#listNanoUsd,
      ...(this.#unpriced > 0 && { unpriced: this.#unpriced }),
      ...(this.#unmetered > 0 && { unmetered: this.#unmetered }),
    }
  }
}
