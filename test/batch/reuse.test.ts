import { describe, expect, test } from 'vitest'
import { fateOfFollowers, filesToGive, followersOf, isFull, isWholeAnswer } from '../../src/batch/reuse.ts'
import { PHASES, queueFile } from '../support/queue-files.ts'

describe('who waits for the answer to an identical request', () => {
  test.each([
    ['accepted', { isReusable: true, isRepaired: false }, 'share'],
    ['accepted', { isReusable: false, isRepaired: false }, 'alone'],
    ['rejected', { isReusable: true, isRepaired: false }, 'alone'],
    ['queued-again', { isReusable: true, isRepaired: false }, 'wait'],
    ['queued-again', { isReusable: true, isRepaired: true }, 'alone'],
  ] as const)('when that is %s, with %o: %s', (verdict, facts, fate) => {
    expect(fateOfFollowers({ verdict, ...facts })).toBe(fate)
  })

  /** 1 <- 2 <- 3 ... <- 2000 */
  const line = { follower: (request: number) => (request < 2_000 ? request + 1 : 0) }

  test('is served in order, so many at a time as are not too much together', () => {
    expect(followersOf(line, 1, 1_000)).toHaveLength(500)
    expect(followersOf(line, 1, 1_000_000)).toEqual([2, 3, 4, 5])
    expect(followersOf(line, 1, 9_000_000)).toEqual([2])
    expect(followersOf(line, 1_998, 1_000)).toEqual([1_999, 2_000])
    expect(followersOf(line, 2_000, 1_000)).toEqual([])
  })
})

describe('an answer that others may be given later', () => {
  const chat = (...choices: readonly object[]) => ({ object: 'chat.completion', choices })
  const said = (finish_reason: string | null, message: object = { content: 'yes' }) => ({
    finish_reason,
    message,
  })
  const response = (more: object, content: object = { type: 'output_text', text: 'yes' }) => ({
    ...{ object: 'response', status: 'completed', ...more },
    output: [{ type: 'message', content: [content] }],
  })

  test.each([
    ['/v1/chat/completions', chat(said('stop'))],
    ['/v1/chat/completions', chat(said('tool_calls'), said(null))],
    ['/v1/chat/completions', chat(said('a word of another server'))],
    ['/v1/responses', response({})],
    ['/v1/embeddings', { object: 'list', data: [{ index: 0, embedding: [0.5] }] }],
  ] as const)('is whole: %s %j', (endpoint, body) => {
    expect(isWholeAnswer(endpoint, body)).toBe(true)
  })

  test.each([
    ['/v1/chat/completions', chat(said('length'))],
    ['/v1/chat/completions', chat(said('stop'), said('content_filter'))],
    ['/v1/chat/completions', chat(said('stop', { content: null, refusal: 'no' }))],
    ['/v1/chat/completions', chat()],
    ['/v1/chat/completions', { choices: 'none' }],
    [
      '/v1/responses',
      response({ status: 'incomplete', incomplete_details: { reason: 'max_output_tokens' } }),
    ],
    ['/v1/responses', response({ status: 'incomplete' })],
    ['/v1/responses', response({ status: 'failed' })],
    ['/v1/responses', response({}, { type: 'refusal', refusal: 'no' })],
    ['/v1/embeddings', { object: 'list', data: [{ index: 0, embedding: 'AAAA' }] }],
  ] as const)('is not refused, cut, or something else: %s %j', (endpoint, body) => {
    expect(isWholeAnswer(endpoint, body)).toBe(false)
  })
})

describe('files of answers used again', () => {
  const filling = (id: number, requests: number, bytes = 10) => queueFile('filling', { id, requests, bytes })

  test('are full with 500 requests, or 4 MB', () => {
    expect([filling(1, 499), filling(2, 500), filling(3, 2, 4_000_000)].map(isFull)).toEqual([
      false,
      true,
      true,
    ])
  })

  test('are handed out when they are full, or when there is nothing else', () => {
    const files = [
      filling(1, 3),
      filling(2, 500),
      ...PHASES.slice(0, 10).map((phase) => queueFile(phase, { id: 9 })),
    ]
    expect(filesToGive(files, true)).toEqual([2])
    expect(filesToGive(files, false)).toEqual([1, 2])
  })
})
