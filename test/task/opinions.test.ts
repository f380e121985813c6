import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { OpinionAdviser } from '../../src/task/opinions.ts'

const adviser = new OpinionAdviser({ opinionsMin: 3, opinionsMax: 9, confidence: 0.8 })

describe('advise', () => {
  test('asks for the minimum first', () => {
    expect(adviser.advise([])).toEqual({
      required: 3,
      missing: 3,
      confident: false,
      concluded: false,
      winner: undefined,
      share: 0,
    })
  })

  test('is content with the minimum when all agree', () => {
    const advice = adviser.advise(['joy', 'joy', 'joy'])
    expect(advice).toMatchObject({
      required: 3,
      missing: 0,
      confident: true,
      concluded: true,
      winner: 'joy',
      share: 1,
    })
  })

  test('counts exactly: with a confidence of 0.8, one dissenter takes five opinions, not six', () => {
    expect(adviser.advise(['joy', 'joy', 'fear'])).toMatchObject({
      required: 5,
      missing: 2,
      concluded: false,
    })
    const five = adviser.advise(['joy', 'joy', 'fear', 'joy', 'joy'])
    expect(five).toMatchObject({ required: 5, confident: true, concluded: true, winner: 'joy', share: 0.8 })
  })

  test.each([
    [0.9, 10],
    [0.7, 4],
    [0.78, 5],
    [0.55, 3],
    [0.99, 20],
    [0.1 + 0.2, 3],
    [1e-7, 3],
    [1 - 2 ** -53, 20],
  ])('with a confidence of %d and one dissenter, %d responses are required', (confidence, required) => {
    const patient = new OpinionAdviser({ opinionsMin: 3, opinionsMax: 20, confidence })
    expect(patient.advise(['a', 'a', 'b']).required).toBe(required)
  })

  test('failures use up the maximum but are no opinions', () => {
    expect(adviser.advise(['joy', 'joy'], 1)).toMatchObject({ required: 4, missing: 1, concluded: false })
    expect(adviser.advise(['joy', 'joy'], 7)).toMatchObject({
      required: 9,
      confident: false,
      concluded: true,
    })
    expect(adviser.advise([], 9)).toMatchObject({ missing: 0, concluded: true, winner: undefined, share: 0 })
  })

  test('never takes back responses that are there', () => {
    expect(adviser.advise(Array(12).fill('joy'))).toMatchObject({ required: 12, missing: 0, confident: true })
  })

  test('of equally frequent opinions the one seen first wins', () => {
    expect(adviser.advise(['b', 'a', 'a', 'b'])).toMatchObject({ winner: 'b', share: 0.5 })
  })

  test('compares by value, and tells types apart', () => {
    expect(adviser.advise([1, '1', 1]).winner).toBe(1)
    expect(adviser.advise([null, null, false]).winner).toBeNull()
  })
})

test.each([
  [{ opinionsMin: 0, opinionsMax: 3, confidence: 0.5 }, 'opinionsMin is 0'],
  [{ opinionsMin: 2.5, opinionsMax: 3, confidence: 0.5 }, 'opinionsMin is 2.5'],
  [{ opinionsMin: 4, opinionsMax: 3, confidence: 0.5 }, 'opinionsMax is 3'],
  [{ opinionsMin: 1, opinionsMax: 3, confidence: 1 }, 'confidence is 1'],
  [{ opinionsMin: 1, opinionsMax: 3, confidence: 0 }, 'confidence is 0'],
  [{ opinionsMin: 1, opinionsMax: 3, confidence: Number.NaN }, 'confidence is NaN'],
])('refuses %j', (options, message) => {
  expect(() => new OpinionAdviser(options)).toThrow(
    expect.objectContaining({ code: 'bad_opinion_option', message: expect.stringContaining(message) }),
  )
})

test('refuses failures that cannot be counted', () => {
  expect(() => adviser.advise([], -1)).toThrow('failures is -1')
})

describe('for all options and opinions', () => {
  /** Confidence in whole percent, so that the test can count in integers. */
  const cases = fc.record({
    percent: fc.integer({ min: 1, max: 99 }),
    opinionsMin: fc.integer({ min: 1, max: 6 }),
    extra: fc.integer({ min: 0, max: 12 }),
    opinions: fc.array(fc.constantFrom('a', 'b', 'c'), { maxLength: 20 }),
    failures: fc.integer({ min: 0, max: 5 }),
  })
  type Case = typeof cases extends fc.Arbitrary<infer T> ? T : never

  const advised = ({ percent, opinionsMin, extra, opinions, failures }: Case) => {
    const opinionsMax = opinionsMin + extra
    const advice = new OpinionAdviser({ opinionsMin, opinionsMax, confidence: percent / 100 }).advise(
      opinions,
      failures,
    )
    const agreeing = opinions.filter((opinion) => opinion === advice.winner).length
    return { advice, agreeing, opinionsMax, responses: opinions.length + failures }
  }

  test('it asks for more exactly until it is concluded', () => {
    fc.assert(
      fc.property(cases, (one) => {
        const { advice, responses, opinionsMax } = advised(one)
        expect(advice.missing === 0).toBe(advice.concluded)
        expect(advice.required).toBe(responses + advice.missing)
        expect(advice.required).toBeLessThanOrEqual(Math.max(opinionsMax, responses))
        expect(advice.concluded).toBe(advice.confident || responses >= opinionsMax)
      }),
    )
  })

  test('it asks for the fewest that could make it confident', () => {
    fc.assert(
      fc.property(cases, (one) => {
        const { advice, agreeing, opinionsMax } = advised(one)
        const { opinions, failures, opinionsMin, percent } = one
        const confidentWith = (more: number): boolean =>
          opinions.length + more >= opinionsMin &&
          (agreeing + more) * 100 >= percent * (opinions.length + more)
        expect(advice.confident).toBe(confidentWith(0))
        let more = 0
        while (!confidentWith(more) && opinions.length + failures + more < opinionsMax) more++
        expect(advice.missing).toBe(more)
      }),
    )
  })

  test('it never asks for less once another response came in', () => {
    fc.assert(
      fc.property(cases, fc.constantFrom('a', 'b', undefined), (one, next) => {
        const later =
          next === undefined ? { failures: one.failures + 1 } : { opinions: [...one.opinions, next] }
        const before = advised(one)
        fc.pre(!before.advice.concluded)
        expect(advised({ ...one, ...later }).advice.required).toBeGreaterThanOrEqual(before.advice.required)
      }),
    )
  })
})
