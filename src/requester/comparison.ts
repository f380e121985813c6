import type { FileIn } from '../batch/queue-file.ts'
import type { StepOf } from '../batch/steps.ts'
import type { TokenForecast } from '../tokens/forecast.ts'
import type { TokenUsage } from '../tokens/usage.ts'
import { formatCount } from '../util/format.ts'
import type { RequesterSettings } from './settings.ts'

/** Something about the figures of a batch that somebody should look at. */
export interface Complaint {
  readonly code: 'usage_differs' | 'input_estimate' | 'output_estimate'
  readonly message: string
}

/** What was expected of the part of a batch that was answered. */
export function expectedOf({ tokens, requests, expectedNanoUsd = 0 }: FileIn<'ended'>, answers: number) {
  const share = Math.min(1, answers / requests)
  const part = (amount: number) => Math.round(amount * share)
  return {
    input: part(tokens?.input ?? 0),
    output: part(tokens?.output ?? 0),
    costNanoUsd: part(expectedNanoUsd),
  }
}

const CLASSES = [
  ['input', 'prompt tokens'],
  ['cachedInput', 'cached prompt tokens'],
  ['output', 'output tokens'],
  ['reasoning', 'reasoning tokens'],
] as const satisfies readonly (readonly [keyof TokenUsage, string])[]

/** The server's count of the whole batch against the sum of its answers. Costs are by the answers. */
export function usageComplaints({ usage }: FileIn<'ended'>, answered: TokenUsage): Complaint[] {
  if (!usage) return []
  const differences = CLASSES.filter(([name]) => usage[name] !== answered[name]).map(
    ([name, words]) => `${formatCount(usage[name])} ${words} against ${formatCount(answered[name])}`,
  )
  if (differences.length === 0) return []
  const message = `the server's own count differs from the sum of the answers, by which costs are settled: ${differences.join(', ')}`
  return [{ code: 'usage_differs', message }]
}

type Factors = Pick<RequesterSettings, 'warnPredictedInputFactor' | 'warnAssumedCompletionFactor'>

/**
 * Estimates that were wrong by more than the factors that the options give. Of output only where every request has a
 * ceiling (`tokens`, of the whole batch): what is assumed of one without a maximum is no estimate of what it will use.
 */
export function estimateComplaints(
  { expected, usage }: StepOf<'received'>,
  factors: Factors,
  tokens?: TokenForecast,
): Complaint[] {
  if (!expected) return []
  const complaints: Complaint[] = []
  if (isFar(expected.input, usage.input, factors.warnPredictedInputFactor)) {
    const message = `${formatCount(usage.input)} prompt tokens, where ${formatCount(expected.input)} were estimated`
    complaints.push({ code: 'input_estimate', message })
  }
  const isLimited = (tokens?.unbounded ?? 0) === 0
  if (isLimited && isFar(expected.output, usage.output, factors.warnAssumedCompletionFactor)) {
    const message = `${formatCount(usage.output)} output tokens, where ${formatCount(expected.output)} were assumed (--assumed-completion-ratio)`
    complaints.push({ code: 'output_estimate', message })
  }
  return complaints
}

/** Estimates are made for many tokens: of a few nothing follows. */
const LEAST_TOKENS = 1000

function isFar(expected: number, reported: number, factor: number): boolean {
  const [less, more] = expected < reported ? [expected, reported] : [reported, expected]
  return more >= LEAST_TOKENS && less > 0 && more > factor * less
}
