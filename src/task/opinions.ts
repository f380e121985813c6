import { TaskError } from '../errors.ts'

export interface OpinionOptions {
  /** Opinions to ask for at least, 1 or more. */
  readonly opinionsMin: number
  /** Responses, failed ones included, after which a sample is concluded in any case; at least `opinionsMin`. */
  readonly opinionsMax: number
  /** Share of the opinions that must agree, above 0 and below 1. Taken as the decimal it is written as: 0.8 is 4/5. */
  readonly confidence: number
}

/** What can be compared by value. */
export type Opinion = string | number | bigint | boolean | null

export interface Advice<Value> {
  /** Responses that the sample needs in total, those it has included; never above `opinionsMax` unless it has more. */
  readonly required: number
  /** Responses still to be asked for: `required` less those it has. 0 exactly when it is concluded. */
  readonly missing: number
  /** Enough opinions, and enough of them agree. */
  readonly confident: boolean
  /** Confident, or out of responses: ask no more. */
  readonly concluded: boolean
  /** The most frequent opinion, of equals the one seen first; undefined without opinions. */
  readonly winner: Value | undefined
  /** Share of the opinions that are the winner's, 0 to 1; 0 without opinions. */
  readonly share: number
}

/**
 * Decides how often to ask the same thing until the answers agree. With `s` opinions, `m` of them for the winner, and
 * `f` failed responses:
 *
 *     confident = s >= opinionsMin and m / s >= confidence
 *     concluded = confident or f + s >= opinionsMax
 *     required  = max(f + s, min(opinionsMax, f + max(opinionsMin, ceil((s - m) / (1 - confidence)))))
 *
 * so `required` is the least number of responses after which the sample could be confident, should all that are
 * missing agree with the winner. Failed responses use up `opinionsMax` but are no opinions. The arithmetic is exact:
 * five opinions of which four agree have a confidence of 0.8.
 */
export class OpinionAdviser {
  readonly #min: number
  readonly #max: number
  readonly #confidence: Fraction

  /** Throws TaskError `bad_opinion_option` for options that cannot be meant. */
  constructor({ opinionsMin, opinionsMax, confidence }: OpinionOptions) {
    requireWhole('opinionsMin', opinionsMin, 1)
    requireWhole('opinionsMax', opinionsMax, opinionsMin)
    if (!(confidence > 0 && confidence < 1)) {
      throw badOption(`confidence is ${confidence}: give a number above 0 and below 1`)
    }
    this.#min = opinionsMin
    this.#max = opinionsMax
    this.#confidence = fractionOf(confidence)
  }

  /**
   * `opinions` in the order they came in; `failures` is how many responses brought none. Throws TaskError
   * `bad_opinion_option` when `failures` is no whole number from 0.
   */
  advise<Value extends Opinion>(opinions: readonly Value[], failures = 0): Advice<Value> {
    requireWhole('failures', failures, 0)
    const [winner, agreeing] = mostFrequent(opinions)
    const responses = failures + opinions.length
    const confident = opinions.length >= this.#min && this.#isReached(agreeing, opinions.length)
    const hoped = failures + Math.max(this.#min, this.#opinionsFor(opinions.length - agreeing))
    const required = Math.max(responses, Math.min(this.#max, hoped))
    const concluded = confident || responses >= this.#max
    const share = opinions.length > 0 ? agreeing / opinions.length : 0
    return { required, missing: required - responses, confident, concluded, winner, share }
  }

  #isReached(agreeing: number, opinions: number): boolean {
    const { numerator, denominator } = this.#confidence
    return BigInt(agreeing) * denominator >= numerator * BigInt(opinions)
  }

  /** The fewest opinions among which this many dissenters leave the rest confident, or `opinionsMax` if that is less. */
  #opinionsFor(dissenting: number): number {
    const { numerator, denominator } = this.#confidence
    const rest = denominator - numerator
    const needed = (BigInt(dissenting) * denominator + rest - 1n) / rest
    return needed < BigInt(this.#max) ? Number(needed) : this.#max
  }
}

interface Fraction {
  readonly numerator: bigint
  readonly denominator: bigint
}

/** A positive number as the fraction that its shortest decimal form is: 0.8 -> 8/10, 1e-7 -> 1/10000000. */
function fractionOf(value: number): Fraction {
  const [mantissa = '', exponent = '0'] = String(value).split('e')
  const [whole = '', decimals = ''] = mantissa.split('.')
  const power = Number(exponent) - decimals.length
  const digits = BigInt(whole + decimals)
  if (power >= 0) return { numerator: digits * 10n ** BigInt(power), denominator: 1n }
  return { numerator: digits, denominator: 10n ** BigInt(-power) }
}

function mostFrequent<Value>(values: readonly Value[]): readonly [Value | undefined, number] {
  const counts = new Map<Value, number>()
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1)
  let winner: readonly [Value | undefined, number] = [undefined, 0]
  for (const entry of counts) if (entry[1] > winner[1]) winner = entry
  return winner
}

function requireWhole(name: string, value: number, least: number): void {
  if (Number.isSafeInteger(value) && value >= least) return
  throw badOption(`${name} is ${value}: give a whole number from ${least}`)
}

const badOption = (message: string): TaskError => new TaskError('bad_opinion_option', message)
