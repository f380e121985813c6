/** A value and the limits that the true one lies between in about 95 of 100 cases. */
export interface Interval {
  readonly value: number
  readonly low: number
  readonly high: number
}

/** The point that a standard normal variable is below in 97.5 % of all cases. */
const Z = 1.959_963_985

/**
 * The share behind `hits` among `tries`, with Wilson's score interval (E. B. Wilson, "Probable inference, the law of
 * succession, and statistical inference", JASA 22, 1927): unlike the textbook one it holds for few tries and for
 * shares near 0 and 1. Without tries nothing is known: 0 to 1.
 */
export function shareInterval(hits: number, tries: number): Interval {
  if (tries === 0) return { value: 0, low: 0, high: 1 }
  const share = hits / tries
  const square = Z ** 2 / tries
  const centre = (share + square / 2) / (1 + square)
  const half = (Z * Math.sqrt((share * (1 - share)) / tries + square / (4 * tries))) / (1 + square)
  return { value: share, low: Math.max(0, centre - half), high: Math.min(1, centre + half) }
}

/** One request of the sample. All in one unit of money, or of whatever else is summed. */
export interface Observation {
  /** What was expected of its prompt. */
  readonly expectedInput: number
  /** What its prompts came to, and its answers; all replies together. */
  readonly input: number
  readonly output: number
  /** How many replies that was: more than 1 when it was asked again. */
  readonly replies: number
}

/** The requests that were not asked. */
export interface Rest {
  readonly requests: number
  /** What is expected of all their prompts. */
  readonly expectedInput: number
}

/**
 * What the rest will come to, given a sample that was spread over the whole; undefined with fewer than two
 * observations.
 *
 * Prompts are known beforehand but for a factor, so they are summed by a ratio estimate, `r = sum(input) /
 * sum(expectedInput)`; of answers nothing is known but their mean `o`. Together: `r X + N o`, for N requests with an
 * expected X. Two things make it uncertain:
 * - What one reply costs. The residuals `e = (input - r expectedInput) + (output - o)` of n single replies have the
 *   variance s^2 = sum(e^2) / (n - 1); with the correction for a finite population of n + N requests the error is
 *   `s sqrt(N (n + N) / n)`, times Student's t with n - 1 degrees of freedom (W. G. Cochran, Sampling Techniques, 3rd
 *   ed. 1977, sections 2.6 to 2.8 and 6.3 to 6.5).
 * - How many replies each request has: more than one when it must be asked again, none when it fails unpaid. Both are
 *   rare, so that a small sample may well show nothing of them. Their numbers are taken as Poisson variables, with the
 *   score interval for the mean, which is right for a count of 0, too.
 * The limits of all are joined by their distances from the estimate (MOVER: G. Y. Zou and A. Donner, Statistics in
 * Medicine 27, 2008). They are somewhat too narrow where few requests make up most of the cost. None is below 0.
 */
export function restInterval(sample: readonly Observation[], rest: Rest): Interval | undefined {
  const n = sample.length
  const answered = sample.filter(({ replies }) => replies > 0)
  if (answered.length < 2) return undefined
  const value = predict(sample, rest).value
  const single = predict(answered.map(oneReply), rest)
  const half = studentT(answered.length - 1) * single.error
  const times = repliesEach(answered, n)
  const centre = times.value * single.value
  const below = Math.hypot(half * times.value, (times.value - times.low) * single.value)
  const above = Math.hypot(half * times.value, (times.high - times.value) * single.value)
  return { value, low: Math.max(0, Math.min(value, centre - below)), high: Math.max(value, centre + above) }
}

const oneReply = ({ expectedInput, input, output, replies }: Observation): Observation => ({
  expectedInput,
  input: input / replies,
  output: output / replies,
  replies: 1,
})

/** Replies for each of `n` requests, of which these were answered. */
function repliesEach(answered: readonly Observation[], n: number): Interval {
  const again = countInterval(sumOf(answered, ({ replies }) => replies - 1))
  const unpaid = countInterval(n - answered.length)
  const value = 1 + (again.value - unpaid.value) / n
  const below = Math.hypot(again.value - again.low, unpaid.high - unpaid.value) / n
  const above = Math.hypot(again.high - again.value, unpaid.value - unpaid.low) / n
  return { value, low: Math.max(0, value - below), high: value + above }
}

/** The mean of a Poisson variable that was seen to be `count`: the score interval. */
function countInterval(count: number): Interval {
  const centre = count + Z ** 2 / 2
  const half = Z * Math.sqrt(count + Z ** 2 / 4)
  return { value: count, low: Math.max(0, centre - half), high: centre + half }
}

/** What the rest comes to by a ratio estimate, and the standard error of that. */
function predict(sample: readonly Observation[], rest: Rest) {
  const n = sample.length
  const expected = sumOf(sample, ({ expectedInput }) => expectedInput)
  // Of less than a nano-USD no ratio can be told.
  const ratio = expected >= 1 ? sumOf(sample, ({ input }) => input) / expected : 1
  const mean = sumOf(sample, ({ output }) => output) / n
  const residuals = sample.map(
    ({ input, output, expectedInput }) => input - ratio * expectedInput + output - mean,
  )
  const variance = sumOf(residuals, (residual) => residual ** 2) / (n - 1)
  const error = Math.sqrt((variance * rest.requests * (n + rest.requests)) / n)
  return { value: ratio * rest.expectedInput + mean * rest.requests, error }
}

const sumOf = <Item>(items: readonly Item[], of: (item: Item) => number): number =>
  items.reduce((sum, item) => sum + of(item), 0)

/** Student's t at 97.5 %, for 1, 2, ... degrees of freedom. */
const T_TABLE = [12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.306, 2.2622, 2.2281] as const

/**
 * The point that Student's t with so many degrees of freedom (1 or more) is below in 97.5 % of all cases: by table,
 * then by the expansion of Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.5, right to 0.0001.
 */
export function studentT(degrees: number): number {
  const known = T_TABLE[degrees - 1]
  if (known !== undefined) return known
  const first = (Z ** 3 + Z) / 4
  const second = (5 * Z ** 5 + 16 * Z ** 3 + 3 * Z) / 96
  const third = (3 * Z ** 7 + 19 * Z ** 5 + 17 * Z ** 3 - 15 * Z) / 384
  return Z + first / degrees + second / degrees ** 2 + third / degrees ** 3
}
