import { describe, expect, test } from 'vitest'
import type { Scenario } from '../../../src/emulator/index.ts'
import { many, World, type WorldOptions } from './world.ts'

type Fault = Scenario['faults'][number]

interface Trial extends WorldOptions {
  readonly faults: readonly Fault[]
  readonly count?: number
}

/** Runs some requests against faults until they have ended and nothing is left at the server. */
async function live({ faults, count = 4, ...options }: Trial): Promise<World> {
  const scenario: Scenario = { seed: 1, faults: [...faults] }
  const world = await World.open({ ...options, emulator: { ...options.emulator, scenario } })
  const engine = world.engine()
  await engine.start()
  await world.ask(engine, ...many(count))
  await world.finish()
  await world.settle()
  return world
}

const GOOD = ['re: q0', 're: q1', 're: q2', 're: q3']
const once = { nth: 1 }

/** Each was asked of the model once, no two batches had it at one time, and the server was left clean. */
async function expectOnce(world: World): Promise<void> {
  expect([...world.asks.values()]).toEqual(world.ids.map(() => 1))
  expect(world.made.flatMap(({ doubled }) => doubled)).toEqual([])
  expect(await world.remoteFiles()).toEqual([])
  expect(await world.liveBatches()).toBe(0)
}

describe('all is answered, and paid once, though', () => {
  const acts = [true, false] as const
  const trials: readonly (readonly [string, readonly Fault[]])[] = [
    ...acts.flatMap((does): (readonly [string, readonly Fault[]])[] => [
      [
        `the answer to a create was lost (acted: ${does})`,
        [{ fault: 'http-lose', route: 'POST /v1/batches', when: once, acts: does }],
      ],
      [
        `a create hung (acted: ${does})`,
        [{ fault: 'http-hang', route: 'POST /v1/batches', when: once, acts: does }],
      ],
      [
        `a create was answered with a 500 (acted: ${does})`,
        [{ fault: 'http-answer', status: 500, route: 'POST /v1/batches', when: once, acts: does }],
      ],
      [
        `the answer to an upload was lost (acted: ${does})`,
        [{ fault: 'http-lose', route: 'POST /v1/files', when: once, acts: does }],
      ],
      [
        `an upload was answered with a 503 (acted: ${does})`,
        [{ fault: 'http-answer', status: 503, route: 'POST /v1/files', when: once, acts: does }],
      ],
      [
        `three uploads were lost (acted: ${does})`,
        [{ fault: 'http-lose', route: 'POST /v1/files', when: { first: 3 }, acts: does }],
      ],
    ]),
    ['a create was cut', [{ fault: 'http-cut', bytes: 10, route: 'POST /v1/batches', when: once }]],
    [
      'a create was no JSON',
      [
        {
          fault: 'http-answer',
          status: 200,
          text: '<html>',
          route: 'POST /v1/batches',
          when: once,
          acts: true,
        },
      ],
    ],
    [
      'a create came late, after its input was gone',
      [{ fault: 'http-lose', route: 'POST /v1/batches', when: once, acts: { afterMs: 20_000 } }],
    ],
    [
      'an upload came late',
      [{ fault: 'http-lose', route: 'POST /v1/files', when: once, acts: { afterMs: 20_000 } }],
    ],
    [
      'creates are limited',
      [
        {
          fault: 'http-answer',
          status: 429,
          route: 'POST /v1/batches',
          when: { first: 3 },
          headers: { 'retry-after': '7' },
        },
      ],
    ],
    [
      'creates are limited for long',
      [{ fault: 'http-answer', status: 429, route: 'POST /v1/batches', when: { untilMs: 600_000 } }],
    ],
    [
      'uploads are limited',
      [{ fault: 'http-answer', status: 429, route: 'POST /v1/files', when: { first: 3 } }],
    ],
    [
      'the file is not visible at once',
      [{ fault: 'listing-lag', what: 'file', from: ['create', 'get'], calls: 3 }],
    ],
    [
      'the file is not visible for long',
      [{ fault: 'listing-lag', what: 'file', from: ['create'], ms: 90_000, when: once }],
    ],
    [
      'the key was refused for a while',
      [{ fault: 'http-answer', status: 401, error: { code: 'invalid_api_key' }, when: { untilMs: 300_000 } }],
    ],
    [
      'the server was away for an hour',
      [{ fault: 'http-lose', when: { afterMs: 8_000, untilMs: 3_600_000 } }],
    ],
    [
      'polls fail',
      [
        {
          fault: 'http-answer',
          status: 500,
          route: ['GET /v1/batches/{id}', 'GET /v1/batches'],
          when: { share: 0.5 },
        },
      ],
    ],
    [
      'polls say nothing is there',
      [{ fault: 'listing-lag', what: 'batch', from: ['get', 'list', 'cancel'], ms: 20_000 }],
    ],
    [
      'downloads are cut',
      [{ fault: 'http-cut', bytes: 300, route: 'GET /v1/files/{id}/content', when: { first: 2 } }],
    ],
    [
      'downloads are cut and look whole',
      [
        {
          fault: 'http-cut',
          bytes: 300,
          ends: 'clean',
          contentLength: false,
          route: 'GET /v1/files/{id}/content',
          when: { first: 2 },
        },
      ],
    ],
    [
      'downloads fail',
      [{ fault: 'http-answer', status: 502, route: 'GET /v1/files/{id}/content', when: { first: 8 } }],
    ],
    ['files are slow', [{ fault: 'http-delay', ms: 30_000, route: 'GET /v1/files/{id}/content' }]],
    ['file ids come late', [{ fault: 'batch-file-id', file: 'both', is: 'null', looks: 2 }]],
    ['file ids are empty for a while', [{ fault: 'batch-file-id', file: 'both', is: 'empty', looks: 2 }]],
    ['counts are missing', [{ fault: 'batch-counts', are: 'missing' }]],
    ['counts are wrong', [{ fault: 'batch-counts', are: { completed: 99, failed: 7 } }]],
    ['usage is missing', [{ fault: 'batch-usage', is: 'missing' }]],
    ['a status is unknown', [{ fault: 'batch-status', says: 'dreaming', looks: 3 }]],
    ['a batch is stuck for an hour', [{ fault: 'batch-stuck', in: 'finalizing', ms: 3_600_000 }]],
    ['lines are duplicated', [{ fault: 'line-form', is: 'duplicated' }]],
    [
      'lines are blank or of strangers',
      [
        { fault: 'line-form', is: 'stranger' },
        { fault: 'line-form', is: 'blank' },
      ],
    ],
    ['lines end with CR', [{ fault: 'line-form', is: 'crlf' }]],
    ['lines are in both files', [{ fault: 'line-form', is: 'both-files' }]],
    ['lines are contradicted', [{ fault: 'line-form', is: 'contradicted' }]],
    ['a status is a text', [{ fault: 'line-form', is: 'status-text' }]],
    [
      'others use the account, too',
      [
        { fault: 'listing-crowd', what: 'batch', before: 150, after: 150 },
        { fault: 'listing-pages', what: 'batch', size: 7 },
        { fault: 'http-lose', route: 'POST /v1/batches', when: once, acts: true },
      ],
    ],
    [
      'files cannot be deleted',
      [{ fault: 'http-answer', status: 500, route: 'DELETE /v1/files/{id}', when: { untilMs: 900_000 } }],
    ],
  ]
  test.each(trials)('%s', async (_, faults) => {
    await using world = await live({ faults, timeoutMs: 200 })
    // What comes late is there by then, and looked for.
    await world.clock.sleep(120_000)
    await world.settle()
    expect(await world.results()).toEqual(GOOD)
    await expectOnce(world)
  })
})

describe('failures', () => {
  test("of single requests reach their callers with the server's own status and body", async () => {
    const json = {
      error: {
        message: 'no such thing',
        type: 'invalid_request_error',
        param: 'messages',
        code: 'odd',
        extra: 1.0,
      },
    }
    await using world = await live({ faults: [{ fault: 'reply-status', status: 400, contains: 'q1', json }] })
    expect(await world.results()).toEqual(['re: q0', '400 odd', 're: q2', 're: q3'])
    const { body, ending } = await world.answer(world.ids[1])
    expect(JSON.parse(body)).toEqual(json)
    expect(ending).toBe('failed')
    expect(world.made).toHaveLength(1)
  })

  test.each([
    ['a 500', { fault: 'reply-status', status: 500, contains: 'q1', when: { tries: 1 } }],
    [
      'a 429',
      {
        fault: 'reply-status',
        status: 429,
        error: { code: 'rate_limit_exceeded' },
        contains: 'q1',
        when: { tries: 1 },
      },
    ],
    ['status 0', { fault: 'reply-status', status: 0, contains: 'q1', when: { tries: 1 } }],
    [
      'an error without a response',
      { fault: 'line-error', code: 'server_error', contains: 'q1', when: { tries: 1 } },
    ],
    ['an empty body', { fault: 'reply-form', is: 'empty', contains: 'q1', when: { tries: 1 } }],
    ['a page in HTML', { fault: 'reply-form', is: 'html', contains: 'q1', when: { tries: 1 } }],
    ['no line', { fault: 'line-form', is: 'missing', contains: 'q1', when: { tries: 1 } }],
    ['a line that is cut', { fault: 'line-form', is: 'not-json', contains: 'q1', when: { tries: 1 } }],
    ['an id that nobody sent', { fault: 'line-form', is: 'unknown-id', contains: 'q1', when: { tries: 1 } }],
  ] satisfies (readonly [string, Fault])[])('that may pass are tried again, alone: %s', async (_, fault) => {
    await using world = await live({ faults: [fault] })
    expect(await world.results()).toEqual(GOOD)
    expect(world.made.map(({ ids }) => ids)).toEqual([world.ids, [world.ids[1]]])
    expect(world.made.flatMap(({ doubled }) => doubled)).toEqual([])
  })

  test('that do not pass are given to the caller after as many attempts as are allowed', async () => {
    await using world = await live({
      faults: [{ fault: 'reply-status', status: 503, contains: 'q1', error: { code: 'busy' } }],
    })
    expect(await world.results()).toEqual(['re: q0', '503 busy', 're: q2', 're: q3'])
    expect(world.made.map(({ ids }) => ids.length)).toEqual([4, 1, 1])
  })

  test('of lines on account of the account wait longer, and end, too', async () => {
    const fault: Fault = {
      fault: 'reply-status',
      status: 429,
      contains: 'q1',
      error: { code: 'insufficient_quota' },
    }
    await using world = await live({ faults: [fault] })
    expect(await world.results()).toEqual(['re: q0', '429 insufficient_quota', 're: q2', 're: q3'])
    expect(world.made.map(({ ids }) => ids.length)).toEqual([4, 1, 1, 1])
    expect(await world.store.request(world.ids[1] ?? '', 'default')).toMatchObject({
      attempts: 0,
      expiries: 3,
    })
  })

  test('of a request whose key the server refuses, beside others that it answers, are its own', async () => {
    const fault: Fault = {
      fault: 'reply-status',
      status: 401,
      contains: 'q1',
      error: { code: 'invalid_api_key' },
    }
    await using world = await live({ faults: [fault] })
    expect(await world.results()).toEqual(['re: q0', '401 invalid_api_key', 're: q2', 're: q3'])
    expect(world.made).toHaveLength(1)
  })

  test('of an answer without lines for anybody end as missing', async () => {
    await using world = await live({ faults: [{ fault: 'batch-file-empty', file: 'both' }] })
    expect(await world.results()).toEqual([
      '502 missing_line',
      '502 missing_line',
      '502 missing_line',
      '502 missing_line',
    ])
    expect(world.made).toHaveLength(3)
  })
})

describe('a batch that ends early', () => {
  const half = { fault: 'batch-end', answered: 0.5, when: { nth: 1 } } as const

  test.each(['expired', 'cancelled', 'failed'] as const)(
    '(%s) keeps what was answered, and only the rest goes again',
    async (as) => {
      await using world = await live({ faults: [{ ...half, as }] })
      expect(await world.results()).toEqual(GOOD)
      expect(world.made.map(({ ids }) => ids.length)).toEqual([4, 2])
      expect(world.made.flatMap(({ doubled }) => doubled)).toEqual([])
    },
  )

  test('again and again lets its requests expire in the end', async () => {
    await using world = await live({ faults: [{ fault: 'batch-end', as: 'expired' }] })
    expect(new Set(await world.results())).toEqual(new Set(['503 batch_expired']))
    expect(world.made).toHaveLength(4)
    expect(await world.store.request(world.ids[0] ?? '', 'default')).toMatchObject({
      expiries: 3,
      attempts: 0,
    })
  })

  test('for lines that are at fault fails these alone', async () => {
    const errors = [{ code: 'invalid_request', message: 'line 2 is odd', line: 2 }]
    await using world = await live({
      faults: [{ fault: 'batch-end', as: 'failed', errors, when: { nth: 1 } }],
    })
    expect(await world.results()).toEqual(['re: q0', '400 invalid_request', 're: q2', 're: q3'])
    expect(world.made.map(({ ids }) => ids.length)).toEqual([4, 3])
  })

  test('for a line at fault finds the right request, though another has ended since', async () => {
    const errors = [{ code: 'invalid_request', message: 'line 3 is odd', line: 3 }]
    const fault: Fault = { fault: 'batch-end', as: 'failed', errors, when: { nth: 1 } }
    const latency = { validateMs: 60_000 }
    await using world = await World.open({ emulator: { latency, scenario: { seed: 1, faults: [fault] } } })
    const engine = world.engine()
    await engine.start()
    const [first = '', ...others] = await world.ask(engine, ...many(4))
    while (world.made.length === 0) await world.clock.sleep(1_000)
    expect(await world.store.cancelRequest(first, 'default', { status: 499, body: '{}' })).toBe('sent')
    await world.finish()
    expect(await world.results(others)).toEqual(['re: q1', '400 invalid_request', 're: q3'])
  })

  test('as a whole gives its error to all of them', async () => {
    const errors = [{ code: 'mismatched_model', message: 'two models in one file' }]
    await using world = await live({ faults: [{ fault: 'batch-end', as: 'failed', errors }] })
    expect(new Set(await world.results())).toEqual(new Set(['400 mismatched_model']))
    expect(world.made).toHaveLength(1)
    expect(await world.store.refusedModels()).toEqual(new Map())
  })

  test('for its model gives that to all of them, and the model is remembered', async () => {
    const errors = [
      { code: 'model_not_found', message: 'The model `gpt-5-mini` is not supported in batches.', line: 1 },
    ]
    await using world = await live({ faults: [{ fault: 'batch-end', as: 'failed', errors }], count: 1 })
    expect(await world.results()).toEqual(['400 model_not_found'])
    expect([...(await world.store.refusedModels()).values()]).toEqual([errors[0]?.message])
  })

  test('without a word of reason is tried some more times', async () => {
    await using world = await live({ faults: [{ fault: 'batch-end', as: 'failed', when: { first: 2 } }] })
    expect(await world.results()).toEqual(GOOD)
    expect(world.made).toHaveLength(3)
    await using hopeless = await live({ faults: [{ fault: 'batch-end', as: 'failed' }] })
    expect(new Set(await hopeless.results())).toEqual(new Set(['500 batch_failed']))
    expect(hopeless.made).toHaveLength(3)
  })
})

describe('an account that is full', () => {
  test('is waited for', async () => {
    const error = {
      code: 'token_limit_exceeded',
      message: 'Enqueued token limit reached for gpt-5-mini. Limit: 5000 enqueued tokens.',
    }
    await using world = await live({
      faults: [{ fault: 'batch-end', as: 'failed', errors: [error], when: { first: 5 } }],
    })
    expect(await world.results()).toEqual(GOOD)
    expect(world.made.flatMap(({ doubled }) => doubled)).toEqual([])
  })

  test('has its limit learned, and batches are cut to fit and wait their turn', async () => {
    await using world = await live({
      faults: [],
      count: 40,
      settings: { maxBatchRequests: 10 },
      emulator: { limits: { enqueuedTokens: 400 }, latency: { runMs: 120_000 } },
    })
    expect(world.events('batch_failed').length).toBeLessThanOrEqual(4)
    expect(new Set(await world.results()).size).toBe(40)
    await expectOnce(world)
  })

  test('that is too small for one request says so in the end', async () => {
    await using world = await World.open({ emulator: { limits: { enqueuedTokens: 20 } } })
    const engine = world.engine()
    await engine.start()
    await world.ask(engine, { text: 'x'.repeat(400) }, { text: 'short' })
    await world.finish()
    expect(await world.results()).toEqual(['429 token_limit_exceeded', 're: short'])
  })

  test('refuses uploads for good: that becomes the answer', async () => {
    const fault: Fault = {
      fault: 'http-answer',
      status: 400,
      error: { code: 'bad_purpose' },
      route: 'POST /v1/files',
    }
    await using world = await live({ faults: [fault] })
    expect(new Set(await world.results())).toEqual(new Set(['400 bad_purpose']))
  })
})

describe('many batches that cannot be sent yet', () => {
  test('do not keep those that are at the server from being looked at', async () => {
    const slow: Fault = { fault: 'http-delay', ms: 50_000, route: ['POST /v1/files'] }
    const scenario: Scenario = { seed: 1, faults: [slow] }
    await using world = await World.open({ emulator: { scenario }, settings: { maxBatchRequests: 1 } })
    const engine = world.engine()
    await engine.start()
    const ids = await world.ask(engine, ...many(260))
    const begun = world.clock.now()
    while ((await world.store.finishedAmong(ids)).length === 0) await world.clock.sleep(2_000)
    expect(world.clock.now() - begun).toBeLessThan(180_000)
  })
})

test('a server that dates its files in fractions of seconds is understood', async () => {
  await using world = await World.open({
    fetch: (next) => async (input, init) => {
      const response = await next(input, init)
      if (!response.ok || String(input).endsWith('/content')) return response
      const text = (await response.text()).replaceAll(/"created_at":(\d+)/g, '"created_at":$1.25')
      return new Response(text, { status: response.status, headers: response.headers })
    },
  })
  const engine = world.engine()
  await engine.start()
  await world.ask(engine, ...many(2))
  await world.finish(world.ids, 3_600_000)
  expect(await world.results()).toEqual(['re: q0', 're: q1'])
})
