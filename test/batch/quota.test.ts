import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  EMPTY_BOARD,
  hold,
  learn,
  learnAll,
  limitIn,
  limitOf,
  onlyOf,
  type QuotaBoard,
  quotaPool,
  release,
  reserve,
  reservedOf,
  standInLine,
} from '../../src/batch/quota.ts'

const NOW = Date.UTC(2026, 0, 1)
const HOUR_MS = 3_600_000
const MODEL = 'gpt-5-mini'

const ask = (tag: string, tokens: number, extra: { model?: string; now?: number; task?: string } = {}) => ({
  tag,
  tokens,
  model: MODEL,
  task: 'task',
  now: NOW,
  ...extra,
})
const knowing = (tokens: number, now = NOW, model = MODEL): QuotaBoard =>
  learn(EMPTY_BOARD, { model, tokens, source: 'refusal', now })

/** Reserves all, each of which must fit. */
const holding = (board: QuotaBoard, ...requests: readonly ReturnType<typeof ask>[]): QuotaBoard =>
  requests.reduce((sum, request) => {
    const answer = reserve(sum, request)
    if (!answer.ok) throw new Error(`${request.tag} does not fit`)
    return answer.board
  }, board)

describe('the pool of a model', () => {
  test.each([
    ['gpt-5-mini', 'gpt-5-mini'],
    ['gpt-4o-2024-08-06', 'gpt-4o'],
    ['gpt-4-0613', 'gpt-4'],
    ['gpt-3.5-turbo-16k-0613', 'gpt-3.5-turbo-16k'],
    ['o1-preview-2024-09-12', 'o1-preview'],
    ['ft:gpt-4o-mini-2024-07-18:acme::abc123', 'gpt-4o-mini'],
    ['ft:gpt-4.1-2025-04-14:acme:name:abc123:ckpt-step-90', 'gpt-4.1'],
    ['text-embedding-ada-002', 'text-embedding-ada-002'],
    ['gpt-4-1106-preview', 'gpt-4-1106-preview'],
    ['local-2048', 'local-2048'],
    ['local-1399', 'local-1399'],
  ])('%s: %s', (model, pool) => {
    expect(quotaPool(model)).toBe(pool)
  })
})

describe('the limit in a refusal', () => {
  const text = (limit: string) =>
    `Enqueued token limit reached for gpt-4o-2024-08-06 in organization org-12345678. ${limit}. ` +
    'Please try again once some in_progress batches have been completed.'

  test.each([
    ['Limit: 90000 enqueued tokens', 90_000],
    ['Limit: 90,000 enqueued tokens', 90_000],
    ['Limit: 2,000,000 enqueued tokens', 2_000_000],
    ['Limit: 1.350.000 enqueued tokens', 1_350_000],
    ['Limit: 1 350 000 tokens', 1_350_000],
    ['Limit: 1\u202f350\u202f000 tokens', 1_350_000],
    ['limit is 900 enqueued tokens', 900],
    ['Limit: 90,000', 90_000],
    ['Limit: 2M enqueued tokens', undefined],
    ['Limit: 1.5 million enqueued tokens', undefined],
    ['Limit: 0 enqueued tokens', undefined],
    ['Limit: 99999999999999999999 enqueued tokens', undefined],
    ['Limit: 1,234,5678 enqueued tokens', undefined],
    ['No figure', undefined],
  ])('%s', (limit, tokens) => {
    expect(limitIn(text(limit))).toBe(tokens)
  })

  test('is not that of tokens per minute, nor a digit of a name', () => {
    expect(
      limitIn('Rate limit reached for gpt-4o on tokens per min (TPM): Limit: 30000 tokens.'),
    ).toBeUndefined()
    expect(limitIn('Enqueued token limit reached for 4 tokens')).toBeUndefined()
    expect(limitIn('')).toBeUndefined()
  })

  test('is read however it is grouped', () => {
    const limits = fc.integer({ min: 1, max: 1_000_000_000 })
    fc.assert(
      fc.property(limits, fc.constantFrom(',', '.', ' ', '_', "'", '\u00a0', ''), (tokens, separator) => {
        const shown = String(tokens).replace(/\B(?=(\d{3})+$)/g, separator)
        expect(limitIn(text(`Limit: ${shown} enqueued tokens`))).toBe(tokens)
      }),
    )
  })
})

describe('a reservation', () => {
  test('always fits as long as no limit is known', () => {
    const board = holding(EMPTY_BOARD, ask('a', 1e9), ask('b', 1e9))
    expect(Object.keys(board.reservations)).toEqual(['a', 'b'])
  })

  test('fits up to the very limit, and says what stands in its way beyond', () => {
    const board = holding(knowing(100), ask('a', 60), ask('b', 40))
    expect(reserve(board, ask('c', 1))).toEqual({ ok: false, limit: 100, reserved: 100 })
    expect(reserve(release(board, ['b']), ask('c', 40)).ok).toBe(true)
  })

  test('counts against its own pool only, which snapshots and fine-tunes share', () => {
    const board = holding(knowing(100), ask('a', 90, { model: 'gpt-5-mini-2025-08-07' }))
    expect(reserve(board, ask('b', 20, { model: 'ft:gpt-5-mini:acme::1' })).ok).toBe(false)
    expect(reserve(board, ask('b', 20, { model: 'gpt-5' })).ok).toBe(true)
  })

  test('larger than the whole limit never fits', () => {
    expect(reserve(knowing(100), ask('a', 101))).toEqual({ ok: false, limit: 100, reserved: 0 })
  })

  test('asked for again under the same tag is counted once, and kept when others have filled the rest', () => {
    const board = holding(knowing(100), ask('a', 60), ask('a', 60), ask('b', 40), ask('a', 60), ask('a', 50))
    expect(reserve(board, ask('c', 1))).toMatchObject({ ok: false, reserved: 100 })
    expect(reserve(board, ask('a', 61))).toEqual({ ok: false, limit: 100, reserved: 40 })
    const lowered = learn(board, { model: MODEL, tokens: 50, source: 'refusal', now: NOW })
    expect(reserve(lowered, ask('a', 60)).ok).toBe(true)
  })

  test('of a batch that must have ended does not count, and is dropped', () => {
    const board = holding(knowing(100, NOW + 24 * HOUR_MS), ask('a', 100))
    const later = (hours: number) => ask('b', 100, { now: NOW + hours * HOUR_MS })
    expect(reserve(board, later(25)).ok).toBe(false)
    expect(Object.keys(holding(board, later(25.1)).reservations)).toEqual(['b'])
    expect(Object.keys(holding(board, later(-25.1)).reservations)).toEqual(['b'])
  })

  test('can be noted without asking, and forgotten by task', () => {
    const board = hold(hold(knowing(10), ask('a', 60.2)), ask('b', 5, { task: 'other' }))
    expect(board.reservations.a).toEqual({ pool: MODEL, tokens: 61, at: NOW, task: 'task' })
    expect(Object.keys(onlyOf(board, 'other').reservations)).toEqual(['b'])
    expect(onlyOf(board, 'other').models).toEqual(board.models)
  })

  test('released twice, or never made, changes nothing', () => {
    const board = holding(knowing(100), ask('a', 60))
    expect(release(board, ['b', 'toString'])).toBe(board)
    expect(release(release(board, ['a']), ['a']).reservations).toEqual({})
  })

  test('a model and a tag may be called like what every object has', () => {
    expect(limitOf(EMPTY_BOARD, 'constructor', NOW)).toBeUndefined()
    const board = holding(EMPTY_BOARD, ask('toString', 5, { model: 'constructor' }))
    expect(board.reservations.toString).toMatchObject({ tokens: 5, pool: 'constructor' })
  })
})

describe('a limit', () => {
  test('is the newest word, whoever said it', () => {
    const by = (source: 'refusal' | 'admin', tokens: number) => ({ model: MODEL, tokens, source, now: NOW })
    const told = learn(learn(EMPTY_BOARD, by('admin', 500)), by('refusal', 90))
    expect(told.models).toEqual({ [MODEL]: { tokens: 90, learnedAt: NOW, source: 'refusal' } })
    expect(limitOf(learn(told, by('admin', 700)), 'gpt-5-mini-2025-08-07', NOW)).toBe(700)
  })

  test.each([0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY])('is not %d', (tokens) => {
    expect(knowing(tokens)).toBe(EMPTY_BOARD)
  })

  test('is tried anew after a day: the account may have grown', () => {
    const board = knowing(100)
    expect(limitOf(board, MODEL, NOW + 24 * HOUR_MS)).toBe(100)
    expect(limitOf(board, MODEL, NOW + 24 * HOUR_MS + 1)).toBeUndefined()
    expect(reserve(board, ask('a', 101, { now: NOW + 25 * HOUR_MS })).ok).toBe(true)
  })

  test('of a list is that of the name itself, else the least of those that share it', () => {
    const limits = new Map([
      ['gpt-4o-2024-05-13', 10],
      ['gpt-4o', 90],
      ['gpt-4o-2024-08-06', 100],
      ['o9-2026-01-01', 50],
      ['o9-2026-02-01', 40],
      ['none', 0],
    ])
    const { models } = learnAll(EMPTY_BOARD, limits, { source: 'admin', now: NOW })
    expect(Object.entries(models).map(([pool, { tokens }]) => [pool, tokens])).toEqual([
      ['gpt-4o', 90],
      ['o9', 40],
    ])
  })
})

/** The same by a plain list: what is out, of which pool, how much, since when. */
interface Naive {
  limit: number | undefined
  out: { tag: string; tokens: number; at: number }[]
}

const actions = fc.array(
  fc.oneof(
    fc.record({ do: fc.constant('reserve' as const), tag: fc.nat(12), tokens: fc.nat(60) }),
    fc.record({ do: fc.constant('release' as const), tag: fc.nat(12) }),
    fc.record({ do: fc.constant('learn' as const), tokens: fc.integer({ min: 1, max: 150 }) }),
    fc.record({ do: fc.constant('pass' as const), hours: fc.nat(9) }),
  ),
  { maxLength: 60 },
)

test('whatever is done, a batch gets room exactly when there is room beside the live ones', () => {
  fc.assert(
    fc.property(actions, (steps) => {
      const naive: Naive = { limit: undefined, out: [] }
      let [board, now, learnedAt] = [EMPTY_BOARD, NOW, NOW]
      for (const step of steps) {
        if (step.do === 'pass') {
          now += step.hours * HOUR_MS
          naive.out = naive.out.filter(({ at }) => now - at <= 25 * HOUR_MS)
          if (now - learnedAt > 24 * HOUR_MS) naive.limit = undefined
        } else if (step.do === 'learn') {
          learnedAt = now
          naive.limit = step.tokens
          board = learn(board, { model: MODEL, tokens: step.tokens, source: 'refusal', now })
        } else if (step.do === 'release') {
          naive.out = naive.out.filter(({ tag }) => tag !== `t${step.tag}`)
          board = release(board, [`t${step.tag}`])
        } else {
          const request = ask(`t${step.tag}`, step.tokens, { now })
          const others = naive.out.filter(({ tag }) => tag !== request.tag)
          const holds = naive.out.some(({ tag, tokens }) => tag === request.tag && tokens >= request.tokens)
          const used = others.reduce((sum, { tokens }) => sum + tokens, 0)
          const fits = holds || naive.limit === undefined || used + request.tokens <= naive.limit
          const answer = reserve(board, request)
          expect(answer).toMatchObject(
            fits ? { ok: true } : { ok: false, limit: naive.limit, reserved: used },
          )
          if (!answer.ok) continue
          board = answer.board
          if (!holds) naive.out = [...others, { tag: request.tag, tokens: request.tokens, at: now }]
        }
      }
      const live = naive.out.map(({ tag }) => tag)
      const kept = Object.entries(board.reservations).filter(([, { at }]) => now - at <= 25 * HOUR_MS)
      expect(kept.map(([tag]) => tag).sort()).toEqual(live.sort())
    }),
    { numRuns: 300 },
  )
})

describe('tasks that wait for room', () => {
  const MINUTE_MS = 60_000
  const by = (task: string, tag: string, now: number, tokens = 60) => ask(tag, tokens, { task, now })
  /** Asks, and stands in line when there is no room. */
  const asking = (board: QuotaBoard, request: ReturnType<typeof ask>): [boolean, QuotaBoard] => {
    const answer = reserve(board, request)
    return answer.ok ? [true, answer.board] : [false, standInLine(board, request)]
  }

  test('get it in the order they came, and stand last again after they got some', () => {
    let board = holding(knowing(100), by('x', 'x1', NOW))
    let got: boolean
    ;[got, board] = asking(board, by('a', 'a1', NOW + 1))
    ;[got, board] = asking(board, by('b', 'b1', NOW + 2))
    board = release(board, ['x1'])
    ;[got, board] = asking(board, by('c', 'c1', NOW + 3))
    expect(got).toBe(false)
    ;[got, board] = asking(board, by('b', 'b1', NOW + 4))
    expect(got).toBe(false)
    ;[got, board] = asking(board, by('a', 'a1', NOW + 5))
    expect(got).toBe(true)
    ;[got, board] = asking(board, by('a', 'a2', NOW + 6))
    board = release(board, ['a1'])
    ;[got, board] = asking(board, by('a', 'a2', NOW + 7))
    expect(got).toBe(false)
    ;[got, board] = asking(board, by('b', 'b1', NOW + 8))
    expect(got).toBe(true)
    expect(Object.values(board.waiting).map(({ task }) => task)).toEqual(['c', 'a'])
  })

  test('lose their place when they do not ask any more, and keep it while they do', () => {
    let board = holding(knowing(100), by('x', 'x1', NOW))
    board = standInLine(board, by('gone', 'g1', NOW))
    for (let minute = 0; minute <= 10; minute += 2)
      board = standInLine(board, by('kept', 'k1', NOW + 1 + minute * MINUTE_MS))
    const later = NOW + 10 * MINUTE_MS + 2
    board = release(board, ['x1'])
    expect(reserve(board, by('new', 'n1', later)).ok).toBe(false)
    expect(reserve(board, by('kept', 'k1', later)).ok).toBe(true)
  })

  test("are in nobody else's way: not of another model, nor where no limit is known", () => {
    const board = standInLine(knowing(100), by('a', 'a1', NOW))
    expect(reserve(board, by('b', 'b1', NOW)).ok).toBe(false)
    expect(reserve(board, ask('b1', 60, { task: 'b', model: 'gpt-5' })).ok).toBe(true)
    expect(reserve({ ...board, models: {} }, by('b', 'b1', NOW)).ok).toBe(true)
  })

  test('never wait for each other for ever: of any that ask, one is first', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.constantFrom('a', 'b', 'c'), fc.integer({ min: 0, max: 3 })), { minLength: 1 }),
        (came) => {
          const requests = came.map(([task, ms]) => by(task, `${task}1`, NOW + ms))
          const board = requests.reduce(standInLine, knowing(100))
          expect(
            requests.filter((request) => reserve(board, { ...request, now: NOW + 9 }).ok).length,
          ).toBeGreaterThan(0)
        },
      ),
    )
  })
})

test('what a model holds is the sum of its pool', () => {
  const board = holding(
    EMPTY_BOARD,
    ask('a', 10),
    ask('b', 20, { task: 'other' }),
    ask('c', 40, { model: 'gpt-5' }),
  )
  expect(reservedOf(board, MODEL, NOW)).toBe(30)
  expect(reservedOf(board, MODEL, NOW + 26 * HOUR_MS)).toBe(0)
})
