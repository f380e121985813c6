import fc from 'fast-check'

/** When a fault strikes: the first so many times, at most `mostFirst`, or at one to three of the first nine. */
export const fewStrikes = (mostFirst: number) =>
  fc.oneof(
    fc.integer({ min: 1, max: mostFirst }).map((first) => ({ first })),
    fc.uniqueArray(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 3 }).map((nth) => ({ nth })),
  )
