import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type Fault, hurryBackoffs, live, type Way } from '../support/fault-world.ts'
import { fewStrikes } from '../support/strikes.ts'
import { brokenPromises } from './promises.ts'

const RUNS = 20
/** Enough that nothing fails for good: each fault strikes a few times only. */
const PATIENT = { maxRetries: 30, maxExpiries: 30 } as const

const few = fewStrikes(4)

const acts = fc.constantFrom(true, false)
const error = { message: 'Not now.' }

/** A call that gets no answer, a bad one, or a late one. */
const troubleOn = (route: Extract<Fault, { route?: unknown }>['route'] & string): fc.Arbitrary<Fault> =>
  fc.oneof(
    fc.record({ fault: fc.constant('http-lose' as const), route: fc.constant(route), when: few, acts }),
    fc.record({
      fault: fc.constant('http-answer' as const),
      route: fc.constant(route),
      when: few,
      status: fc.constantFrom(408, 409, 429, 500, 503),
      error: fc.constant(error),
    }),
    fc.record({
      fault: fc.constant('http-cut' as const),
      route: fc.constant(route),
      when: few,
      bytes: fc.integer({ min: 0, max: 60 }),
    }),
    fc.record({
      fault: fc.constant('http-delay' as const),
      route: fc.constant(route),
      when: few,
      ms: fc.integer({ min: 0, max: 20_000 }),
      acts,
    }),
  )

const badReply: fc.Arbitrary<Fault> = fc
  .tuple(
    fc.constantFrom<Fault[]>(
      { fault: 'reply-status', status: 500, error },
      { fault: 'reply-status', status: 429, error },
      { fault: 'reply-status', status: 503, text: '<html>Down</html>' },
      { fault: 'reply-status', status: 200, error: { ...error, code: 'server_error' } },
      { fault: 'reply-text', text: 'I would rather not say.' },
      { fault: 'reply-form', is: 'refusal' },
      { fault: 'reply-form', is: 'cut' },
      { fault: 'reply-form', is: 'no-choices' },
      { fault: 'reply-form', is: 'html' },
      { fault: 'reply-form', is: 'line-separators' },
      { fault: 'reply-form', is: 'null-usage-details' },
    ),
    few,
  )
  .map(([fault, when]) => ({ ...fault, when }))

const badLine: fc.Arbitrary<Fault> = fc
  .tuple(
    fc.constantFrom<Fault[]>(
      { fault: 'line-form', is: 'missing' },
      { fault: 'line-form', is: 'duplicated' },
      { fault: 'line-form', is: 'unknown-id' },
      { fault: 'line-form', is: 'stranger' },
      { fault: 'line-form', is: 'not-json' },
      { fault: 'line-form', is: 'blank' },
      { fault: 'line-form', is: 'crlf' },
      { fault: 'line-form', is: 'both-files' },
      { fault: 'line-form', is: 'contradicted' },
      { fault: 'line-error', code: 'server_error' },
      { fault: 'line-error', code: 'batch_expired' },
      { fault: 'line-error', code: 'insufficient_quota' },
      { fault: 'reply-status', status: 0, via: 'batch' },
      { fault: 'reply-form', is: 'empty', via: 'batch' },
    ),
    few,
  )
  .map(([fault, when]) => ({ ...fault, when }))

const badBatch: fc.Arbitrary<Fault> = fc
  .tuple(
    fc.constantFrom<Fault[]>(
      { fault: 'batch-end', as: 'expired', answered: 0.5 },
      { fault: 'batch-end', as: 'expired' },
      { fault: 'batch-end', as: 'cancelled', answered: 0.7 },
      { fault: 'batch-end', as: 'failed', errors: [{ code: 'token_limit_exceeded', message: 'Full.' }] },
      { fault: 'batch-stuck', in: 'validating', ms: 60_000 },
      { fault: 'batch-stuck', in: 'finalizing', ms: 60_000 },
      { fault: 'batch-status', says: 'pondering', looks: 3 },
      { fault: 'batch-file-id', file: 'both', is: 'null', looks: 2 },
      { fault: 'batch-file-id', file: 'both', is: 'empty', looks: 1 },
      { fault: 'batch-counts', are: { completed: 0, failed: 5 } },
      { fault: 'batch-usage', is: 'null' },
    ),
    few,
  )
  .map(([fault, when]) => ({ ...fault, when }))

const badListing = fc.constantFrom<Fault[]>(
  { fault: 'listing-lag', what: 'batch', ms: 10_000 },
  { fault: 'listing-lag', what: 'file', from: ['create'], ms: 10_000 },
  { fault: 'listing-lag', what: 'file', from: ['list'], ms: 10_000 },
  { fault: 'listing-crowd', what: 'batch', before: 3, after: 9, metadata: { owner: 'team-{n}' } },
  { fault: 'listing-crowd', what: 'file', before: 3, after: 9 },
  { fault: 'listing-pages', what: 'batch', size: 2 },
  { fault: 'listing-pages', what: 'file', size: 2 },
)

const FAULTS: Readonly<Record<Way, fc.Arbitrary<Fault>>> = {
  batch: fc.oneof(
    troubleOn('POST /v1/files'),
    troubleOn('POST /v1/batches'),
    troubleOn('GET /v1/batches'),
    troubleOn('GET /v1/batches/{id}'),
    troubleOn('GET /v1/files'),
    troubleOn('GET /v1/files/{id}'),
    troubleOn('GET /v1/files/{id}/content'),
    troubleOn('DELETE /v1/files/{id}'),
    badReply,
    badLine,
    badBatch,
    badListing,
  ),
  direct: fc.oneof(troubleOn('POST /v1/chat/completions'), badReply),
}

/** Lines that are lost, or there twice, cost what no ledger can know. */
const hidesBill = (fault: Fault): boolean =>
  (fault.fault === 'line-form' && fault.is !== 'crlf' && fault.is !== 'blank') ||
  fault.fault === 'line-error' ||
  (fault.fault === 'reply-status' && fault.status === 0) ||
  (fault.fault === 'reply-form' && fault.is === 'empty')

describe('two or three faults together leave all promises intact', () => {
  hurryBackoffs()

  test.each(['batch', 'direct'] as const)('by %s', { timeout: 120_000 }, async (way) => {
    const faultsTogether = fc.array(FAULTS[way], { minLength: 2, maxLength: 3 })
    await fc.assert(
      fc.asyncProperty(faultsTogether, async (faults) => {
        const evidence = await live({ way, faults, options: PATIENT })
        expect(brokenPromises(evidence, { unbilled: faults.some(hidesBill) })).toEqual([])
      }),
      { numRuns: RUNS, seed: 3 },
    )
  })
})
