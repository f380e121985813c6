import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { applyStep } from '../../src/batch/apply-step.ts'
import { inputsOf, inputsOfBody, MAX_EMBEDDING_INPUTS } from '../../src/batch/embedding-inputs.ts'
import { BatchLint, type LintFinding } from '../../src/batch/lint.ts'
import { RequestIndex } from '../../src/batch/request-index.ts'
import { stepSchema } from '../../src/batch/steps.ts'
import { initialState, type TaskState } from '../../src/batch/task-state.ts'
import { Draft } from '../../src/requester/draft.ts'
import { enqueueAgain, enqueueNew, type PreparedRequest } from '../../src/requester/queue.ts'
import { embedding } from '../support/embeddings.ts'
import { plainValuer } from '../support/valuation.ts'

const seal = {
  minBatchRequests: 3,
  maxBatchRequests: 50_000,
  maxBatchBytes: 100_000_000,
  maxDirectRequests: 50,
}
const valuer = plainValuer({ seal })

const newDraft = () => new Draft({ state: initialState, requests: new RequestIndex() }, () => 0)

function filled(counts: readonly number[], by = valuer): Draft {
  const draft = newDraft()
  enqueueNew(
    draft,
    counts.map((count, at) => embedding(`k${at}`, count)),
    by,
  )
  return draft
}

/** The state that the ledger's lines lead to. */
function replayed(draft: Draft): TaskState {
  const table = new RequestIndex()
  return draft
    .group()
    .steps.map((step) => stepSchema.parse(JSON.parse(JSON.stringify(step))))
    .reduce((state, step) => applyStep(state, table, step), initialState)
}

const counts = fc.array(
  fc.constantFrom(0, 1, 2, 24_999, 25_000, 25_001, MAX_EMBEDDING_INPUTS, MAX_EMBEDDING_INPUTS + 1),
  { minLength: 1, maxLength: 9 },
)

describe('the inputs of an embeddings request', () => {
  test.each([
    ['a text', 'Hello', 1],
    ['several texts', ['a', 'b', 'c'], 3],
    ['tokens', [1, 2, 3], 1],
    ['several lists of tokens', [[1, 2], [3]], 2],
    ['none', [], 0],
    ['nothing', undefined, 0],
  ])('given as %s', (_, input, expected) => {
    expect(inputsOfBody({ model: 'e', input })).toBe(expected)
  })

  test('count for nothing at another endpoint', () => {
    expect(inputsOf('/v1/responses', '{"input":["a","b"]}')).toBeUndefined()
    expect(inputsOf('/v1/embeddings', '{"input":["a","b"]}')).toBe(2)
  })
})

describe('a queue of embeddings', () => {
  test('has no file of more inputs than a batch may have, and no server would find fault with one', () => {
    fc.assert(
      fc.property(counts, (list) => {
        const draft = filled(list)
        const texts = new Map(draft.group().appends.map(({ file, text }) => [file, text]))
        for (const { id, inputs, requests, bytes, endpoint, model } of draft.state.files.values()) {
          const found: LintFinding[] = []
          const lint = new BatchLint({
            onFinding: (finding) => found.push(finding),
            expected: { endpoint, model, requests, bytes },
          })
          lint.add(Buffer.from(texts.get(`_batch${id}.jsonl`) ?? ''))
          expect(lint.end().inputs).toBe(inputs)
          expect(inputs).toBeLessThanOrEqual(MAX_EMBEDDING_INPUTS)
          expect(found.filter(({ severity }) => severity === 'error')).toEqual([])
        }
      }),
      { numRuns: 40 },
    )
  })

  test('fails alone the requests that have more, as too large', () => {
    fc.assert(
      fc.property(counts, (list) => {
        const draft = filled(list)
        const failed = list.filter((count) => count > MAX_EMBEDDING_INPUTS).length
        expect(draft.state.counters).toMatchObject({ requests: list.length, failed })
        const lines = draft.group().appends.find(({ file }) => file === '_failed.jsonl')
        expect(lines?.text.match(/too_large: the request has 50001 inputs/g) ?? []).toHaveLength(failed)
      }),
      { numRuns: 40 },
    )
  })

  test('is the same after a restart', () => {
    fc.assert(
      fc.property(counts, (list) => {
        const draft = filled(list)
        expect(replayed(draft)).toEqual(draft.state)
      }),
      { numRuns: 20 },
    )
  })

  test('has a batch of few requests when they are as many inputs as can be', () => {
    const phases = (by = valuer) =>
      [...filled([30_000, 30_000], by).state.files.values()].map(({ phase }) => phase)
    expect(phases()).toEqual(['sealed', 'open'])
    expect(phases(plainValuer({ seal: { ...seal, forceDirect: true } }))).toEqual(['direct', 'open'])
  })

  test('counts the lines that are queued again, several in one step as well', () => {
    const draft = filled([10, 20, 30])
    draft.apply({ kind: 'seal', file: 1, as: 'direct' })
    for (const request of [1, 2, 3]) {
      const { bodyText } = embedding('k', request * 10)
      const line = { endpoint: '/v1/embeddings', model: 'e', bodyText } as const
      enqueueAgain(draft, request, line, { why: 'unsent' }, valuer)
    }
    expect(draft.state.files.get(2)).toMatchObject({ requests: 3, inputs: 60 })
    expect(draft.group().steps.filter(({ kind }) => kind === 'requeue')).toMatchObject([{ inputs: 60 }])
    expect(replayed(draft)).toEqual(draft.state)
  })

  test('that a version before 0.2 began is not added to: it did not count', () => {
    const draft = newDraft()
    draft.apply({ kind: 'open', file: 1, endpoint: '/v1/embeddings', model: 'e' })
    draft.apply({ kind: 'add', file: 1, first: 1, keys: ['a'], hashes: ['0'], bytes: 100 })
    enqueueNew(draft, [embedding('b', 1)], valuer)
    expect([...draft.state.files.values()].map(({ id, phase, requests }) => [id, phase, requests])).toEqual([
      [1, 'sealed', 1],
      [2, 'open', 1],
    ])
  })
})

test('requests of other endpoints have no inputs in the ledger', () => {
  const draft = newDraft()
  const request: PreparedRequest = { ...embedding('a', 2), endpoint: '/v1/responses' }
  enqueueNew(draft, [request], valuer)
  expect(JSON.stringify(draft.group().steps)).not.toContain('inputs')
  expect(draft.state.files.get(1)).not.toHaveProperty('inputs')
})
