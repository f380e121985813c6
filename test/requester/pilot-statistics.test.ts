import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  type Observation,
  restInterval,
  shareInterval,
  studentT,
} from '../../src/requester/pilot-statistics.ts'
import { Spread } from '../../src/util/spread.ts'

/** Numbers between 0 and 1 that are the same each time (mulberry32). */
function randomNumbers(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

const spreadOver = <Item>(items: readonly Item[], count: number): readonly Item[] => {
  const spread = new Spread<Item>(count)
  for (const item of items) spread.add(item)
  return spread.items
}

const sum = (numbers: readonly number[]): number => numbers.reduce((total, number) => total + number, 0)

describe('the share of usable answers', () => {
  test.each([
    // Wilson's interval as statsmodels' proportion_confint(method="wilson") gives it.
    [20, 20, 0.8389, 1],
    [0, 10, 0, 0.2775],
    [8, 10, 0.4902, 0.9433],
    [50, 100, 0.4038, 0.5962],
  ])('%i of %i: %d to %d', (hits, tries, low, high) => {
    const interval = shareInterval(hits, tries)
    expect(interval.value).toBe(hits / tries)
    expect(interval.low).toBeCloseTo(low, 3)
    expect(interval.high).toBeCloseTo(high, 3)
  })

  test('contains the share, and the true one in about 95 of 100 cases', () => {
    const random = randomNumbers(1)
    for (const share of [0.5, 0.9, 0.98]) {
      let hit = 0
      for (let trial = 0; trial < 2000; trial++) {
        const hits = Array.from({ length: 50 }, random).filter((number) => number < share).length
        const { low, high, value } = shareInterval(hits, 50)
        expect(low).toBeLessThanOrEqual(value)
        expect(high).toBeGreaterThanOrEqual(value)
        if (low <= share && share <= high) hit++
      }
      expect(hit / 2000).toBeGreaterThan(0.91)
    }
  })

  test('of no answers may be anything', () => {
    expect(shareInterval(0, 0)).toEqual({ value: 0, low: 0, high: 1 })
  })
})

describe("Student's t", () => {
  test.each([
    [1, 12.7062],
    [10, 2.2281],
    [11, 2.201],
    [19, 2.093],
    [30, 2.0423],
    [120, 1.9799],
    [100_000, 1.96],
  ])('with %i degrees of freedom is %d', (degrees, t) => {
    expect(studentT(degrees)).toBeCloseTo(t, 3)
  })

  test('falls with every degree', () => {
    for (let degrees = 1; degrees < 200; degrees++)
      expect(studentT(degrees)).toBeGreaterThan(studentT(degrees + 1))
  })
})

/** A made-up task: what each of its requests will cost, by kind. */
type World = (random: () => number) => Observation

/** Prompts of very different lengths, estimated 9 % too low, and answers of some length. */
const ordinary: World = (random) => {
  const expectedInput = 50 + 2000 * random() ** 3
  return {
    expectedInput,
    input: expectedInput * (1.05 + 0.08 * random()),
    output: 100 + 200 * random(),
    replies: 1,
  }
}
/** One request in ten is asked twice. */
const retried: World = (random) => {
  const { expectedInput, input, output } = ordinary(random)
  const times = random() < 0.1 ? 2 : 1
  return { expectedInput, input: times * input, output: times * output, replies: times }
}
/** One in twenty fails, and costs nothing. */
const failing: World = (random) => {
  const one = ordinary(random)
  return random() < 0.05 ? { ...one, input: 0, output: 0, replies: 0 } : one
}
/** Answers without reasoning are short, and those with it long. */
const uneven: World = (random) => ({
  expectedInput: 100,
  input: 110,
  output: random() < 0.3 ? 3000 + 500 * random() : 100,
  replies: 1,
})

function simulate(world: World, { requests, count, seed }: Readonly<Record<string, number>> & typeof SIZE) {
  const random = randomNumbers(seed)
  const all = Array.from({ length: requests }, () => world(random))
  const sample = spreadOver(all, count)
  const rest = all.filter((one) => !sample.includes(one))
  const truth = sum(rest.map(({ input, output }) => input + output))
  const expectedInput = sum(rest.map((one) => one.expectedInput))
  return { interval: restInterval(sample, { requests: rest.length, expectedInput }), truth }
}

const SIZE = { requests: 600, count: 30, seed: 0 }

describe('what the rest will come to', () => {
  test.each([
    ['prompts of all lengths', ordinary],
    ['some that are asked twice', retried],
    ['some that fail', failing],
    ['answers of two kinds', uneven],
  ])('lies within the limits in more than 92 of 100 tasks: %s', (_, world) => {
    let hit = 0
    const tasks = 600
    for (let seed = 1; seed <= tasks; seed++) {
      const { interval, truth } = simulate(world, { ...SIZE, seed })
      if (interval && interval.low <= truth && truth <= interval.high) hit++
    }
    expect(hit / tasks).toBeGreaterThan(0.92)
  })

  test('the limits are not much wider than they must be', () => {
    const widths = Array.from({ length: 100 }, (_, seed) => {
      const { interval, truth } = simulate(ordinary, { ...SIZE, count: 100, seed })
      return ((interval?.high ?? 0) - (interval?.low ?? 0)) / truth
    })
    expect(Math.max(...widths)).toBeLessThan(0.12)
  })

  test('is known but for how many replies each has, when all are alike but for the length of their prompts', () => {
    fc.assert(
      fc.property(
        fc.array(fc.double({ min: 1, max: 1e9, noNaN: true }), { minLength: 2, maxLength: 40 }),
        fc.double({ min: 0.5, max: 2, noNaN: true }),
        fc.nat(1000),
        (prompts, factor, requests) => {
          const sample = prompts.map((expectedInput) => ({
            expectedInput,
            input: factor * expectedInput,
            output: 7,
            replies: 1,
          }))
          const interval = restInterval(sample, { requests, expectedInput: 100 * requests })
          const truth = (factor * 100 + 7) * requests
          expect(interval?.value).toBeCloseTo(truth, 3)
          const slack = 1e-6 * (1 + truth + sum(prompts) * requests)
          expect(interval?.low).toBeGreaterThanOrEqual(truth * (1 - 3.85 / sample.length) - slack)
          expect(interval?.high).toBeLessThanOrEqual(truth * (1 + 3.85 / sample.length) + slack)
          expect(interval?.high).toBeGreaterThanOrEqual(truth * (1 + 3.84 / sample.length) - slack)
        },
      ),
    )
  })

  test('is never below 0, and its limits are in order', () => {
    const amounts = fc.double({ min: 0, max: 1e12, noNaN: true })
    const observations = fc.record({
      expectedInput: amounts,
      input: amounts,
      output: amounts,
      replies: fc.nat(3),
    })
    fc.assert(
      fc.property(
        fc.array(observations, { maxLength: 20 }),
        fc.nat(1e6),
        amounts,
        (sample, requests, expected) => {
          const interval = restInterval(sample, { requests, expectedInput: expected })
          expect(interval === undefined).toBe(sample.filter(({ replies }) => replies > 0).length < 2)
          if (!interval) return
          expect(interval.low).toBeGreaterThanOrEqual(0)
          expect(interval.low).toBeLessThanOrEqual(interval.value)
          expect(interval.high).toBeGreaterThanOrEqual(interval.value)
        },
      ),
    )
  })

  test('is found closer by the lengths of the prompts than without them', () => {
    const blind: World = (random) => ({ ...ordinary(random), expectedInput: 1 })
    const width = (world: World): number => {
      const { interval } = simulate(world, { ...SIZE, count: 100, seed: 3 })
      return (interval?.high ?? 0) - (interval?.low ?? 0)
    }
    expect(width(ordinary)).toBeLessThan(width(blind) / 2)
  })
})
