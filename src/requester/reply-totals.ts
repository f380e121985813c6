import type { LineOutcome } from '../batch/line-outcome.ts'
import type { Failure } from '../batch/reply.ts'
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
 * It is, or was meant to be, an answer, and says nothing of its tokens: one that cannot be read was worked on like any
 * other.
 */
export const isUnmetered = ({ kind, usage, failure }: Priced): boolean =>
  !usage && (kind === 'reply' || (failure !== undefined && isUnreadable(failure)))

function isUnreadable({ status, code }: Pick<Failure, 'code' | 'status'>): boolean {
  if (status === undefined) return code === 'empty_reply'
  return status >= 200 && status < 300 && (code === 'empty_reply' || code === 'bad_reply')
}

/** Of an outcome what its price depends on. */
export interface Priced extends Pick<LineOutcome, 'kind' | 'usage' | 'charge'> {
  readonly failure?: Pick<Failure, 'code' | 'status'>
}

/**
 * What an answer cost. A failure without usage costs nothing (reference/batch-api.md: what the server could not answer
 * is not billed); an answer without usage the most its request can, given by `most`.
 */
export function answerCost(
  outcome: Priced,
  { card, list }: Cards,
  most: (card: RateCard) => number | undefined = () => undefined,
): AnswerCost {
  const { usage, charge } = outcome
  const unmetered = isUnmetered(outcome)
  const costBy = (rates: RateCard) => (usage ? costOf(usage, rates) : unmetered ? most(rates) : 0)
  const costNanoUsd = charge ? charge.costNanoUsd : costBy(card)
  return { usage: usage ?? zeroUsage, costNanoUsd, listNanoUsd: costBy(list) ?? 0, isUnmetered: unmetered }
}

/** What answers used and cost together. */
export class ReplyTotals {
  #usage = zeroUsage
  #costNanoUsd = 0
  #listNanoUsd = 0
  #unpriced = 0
  #unmetered = 0
  #unmeteredNanoUsd = 0
  #lostNanoUsd = 0

  /** The most that answers can have cost that never came. */
  lose(nanoUsd: number): void {
    this.#lostNanoUsd += nanoUsd
  }

  /** Of the costs what is charged for answers that say nothing of their tokens. */
  get unmeteredNanoUsd(): number {
    return this.#unmeteredNanoUsd
  }

  get usage(): TokenUsage {
    return this.#usage
  }

  add({ usage, costNanoUsd, listNanoUsd, isUnmetered }: AnswerCost): void {
    this.#usage = addUsage(this.#usage, usage)
    this.#listNanoUsd += listNanoUsd
    if (costNanoUsd === undefined) this.#unpriced++
    else this.#costNanoUsd += costNanoUsd
    if (!isUnmetered) return
    this.#unmetered++
    this.#unmeteredNanoUsd += costNanoUsd ?? 0
  }

  /** In the words of a `received` step. */
  get columns(): Pick<
    StepOf<'received'>,
    'usage' | 'costNanoUsd' | 'listNanoUsd' | 'unpriced' | 'unmetered' | 'lostNanoUsd'
  > {
    return {
      usage: this.#usage,
      costNanoUsd: this.#costNanoUsd,
      listNanoUsd: this.#listNanoUsd,
      ...(this.#unpriced > 0 && { unpriced: this.#unpriced }),
      ...(this.#unmetered > 0 && { unmetered: this.#unmetered }),
      ...(this.#lostNanoUsd > 0 && { lostNanoUsd: this.#lostNanoUsd }),
    }
  }
}
