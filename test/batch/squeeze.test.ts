import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { relaxed, type Squeeze, squeezed, UNSQUEEZED } from '../../src/batch/squeeze.ts'

const refusedFor = (begin: Squeeze, refusals: readonly number[]): Squeeze => refusals.reduce(squeezed, begin)
const letIn = (begin: Squeeze, times: number): Squeeze =>
  Array.from({ length: times }).reduce<Squeeze>((squeeze) => relaxed(squeeze), begin)

describe('batches that are refused although there was room', () => {
  test('are halved from the second in a row', () => {
    expect(refusedFor(UNSQUEEZED, [800]).cap).toBeUndefined()
    expect(refusedFor(UNSQUEEZED, [800, 800]).cap).toEqual({ tokens: 400, from: 800 })
    expect(refusedFor(UNSQUEEZED, [800, 800, 390]).cap).toEqual({ tokens: 195, from: 800 })
  })

  test('do not get smaller than a sixteenth', () => {
    expect(refusedFor(UNSQUEEZED, [800, 800, 400, 200, 100, 50, 50]).cap).toEqual({ tokens: 50, from: 800 })
  })

  test('are forgiven when one is let in between', () => {
    expect(squeezed(relaxed(refusedFor(UNSQUEEZED, [800])), 800).cap).toBeUndefined()
  })

  test('grow again after four that were let in, up to what they began with', () => {
    const small = refusedFor(UNSQUEEZED, [800, 800, 400])
    expect(small.cap?.tokens).toBe(200)
    expect(letIn(small, 3).cap?.tokens).toBe(200)
    expect(letIn(small, 4).cap?.tokens).toBe(400)
    expect(letIn(small, 8)).toEqual(UNSQUEEZED)
  })

  test('have a cap within these bounds, and none in the end, whatever happens', () => {
    const event = fc.oneof(fc.constant(undefined), fc.integer({ min: 16, max: 100_000 }))
    fc.assert(
      fc.property(fc.array(event), (events) => {
        const squeeze = events.reduce<Squeeze>(
          (one, tokens) => (tokens === undefined ? relaxed(one) : squeezed(one, tokens)),
          UNSQUEEZED,
        )
        if (squeeze.cap) {
          expect(squeeze.cap.tokens).toBeGreaterThanOrEqual(squeeze.cap.from / 16)
          expect(squeeze.cap.tokens).toBeLessThan(squeeze.cap.from)
        }
        expect(letIn(squeeze, 4 * 4)).toEqual(UNSQUEEZED)
      }),
    )
  })
})
