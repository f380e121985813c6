import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { accept, type Verdict } from '../../src/batch/verdict.ts'
import { quoteText } from '../../src/cli/quote-text.ts'
import type { Quote } from '../../src/requester/quote.ts'
import { TaskManager, type TaskManagerOptions } from '../../src/task/task-manager.ts'
import type { TaskRequest } from '../../src/task/task-types.ts'
import { loadTokenCounter } from '../../src/tokens/counter.ts'
import { tooWide } from '../support/command.ts'
import { contentsOf } from '../support/folder.ts'
import { type Harness, harness, names } from '../support/task-harness.ts'

const MODEL = 'gpt-5-nano'
const PRICES = { costInputDirectMtoken: 2, costOutputDirectMtoken: 8 } as const

const request = (key: string, content: string, most: number | undefined = 100): TaskRequest => ({
  key,
  body: {
    model: MODEL,
    messages: [{ role: 'user', content }],
    ...(most !== undefined && { max_completion_tokens: most }),
  },
})

/** A quote of some requests, and the task it is for. */
function taskOf(requests: Iterable<TaskRequest>) {
  return class extends TaskManager {
    *generateRequests() {
      yield* requests
    }
    processResponse({ key }: { readonly key: string }): Verdict {
      return accept(key)
    }
  }
}

async function quoteOf(
  { options }: Harness,
  requests: Iterable<TaskRequest>,
  over: Partial<TaskManagerOptions> = {},
): Promise<Quote> {
  const Task = taskOf(requests)
  const summary = await new Task(options({ quote: true, ...PRICES, ...over })).run()
  expect(summary).toMatchObject({ complete: false, outcome: 'quote' })
  if (!summary.quote) throw new Error('there is no quote')
  return summary.quote
}

const ten = names(10).map((key) => request(key, `Say the word ${key}.`))

describe('a quote', () => {
  test('prices all requests by each way: by hand', async () => {
    const rig = harness()
    const quote = await quoteOf(rig, ten, { maxBatchRequests: 4, minBatchRequests: 3 })
    const counter = await loadTokenCounter([MODEL])
    const endpoint = '/v1/chat/completions'
    const tokens = ten
      .map(({ body }) => counter.count({ endpoint, model: MODEL, body: { ...body } }).total)
      .reduce((sum, count) => sum + count, 0)
    expect(quote).toMatchObject({ requests: 10, batches: 2, batchRequests: 8, directRequests: 2, pending: 0 })
    expect(quote).toMatchObject({
      inputTokens: tokens,
      countedShare: 1,
      outputTokens: 500,
      mostOutputTokens: 1000,
    })
    const { direct, batch, planned, most } = quote.cost
    expect(direct.input).toBeCloseTo((tokens * 2) / 1e6, 12)
    expect(direct.output).toBeCloseTo((500 * 8) / 1e6, 12)
    expect(batch.total).toBeCloseTo(direct.total / 2, 12)
    // All but the first few prompts have as many tokens as each other.
    expect(planned.total).toBeCloseTo(0.8 * batch.total + 0.2 * direct.total, 6)
    expect(most).toBeCloseTo(planned.total + planned.output, 12)
  })

  test('writes nothing, sends nothing, holds no lock and needs no key', async () => {
    const rig = harness()
    await quoteOf(rig, ten, { env: {} })
    expect(rig.seen).toEqual([])
    expect(await contentsOf(rig.dir)).toEqual([])
    const Ten = taskOf(ten)
    await new Ten(rig.options({ maxSessionRequests: 0 })).run()
    const before = await contentsOf(rig.dir)
    const sent = rig.seen.length
    expect(await quoteOf(rig, [...ten, request('new', 'Hello.')], { env: {} })).toMatchObject({
      requests: 1,
      pending: 10,
    })
    expect(await contentsOf(rig.dir)).toEqual(before)
    expect(rig.seen.length).toBe(sent)
  })

  test.each([{ wipeRequests: true }, { wipeFailed: true }, { wipeTask: true }])(
    'after a wipe has what is pending in its figures, and only there: %o',
    async (wipe) => {
      const rig = harness()
      const Ten = taskOf(ten)
      await new Ten(rig.options({ maxSessionRequests: 0 })).run()
      expect(await quoteOf(rig, ten, wipe)).toMatchObject({ requests: 10, pending: 0 })
    },
  )

  test('says that it knows nothing of a deadline, when there is one', async () => {
    const text = async (over: Partial<TaskManagerOptions>) =>
      (await quoteOf(harness(), ten, over)).assumptions.join('\n')
    expect(await text({ deadline: '6h' })).toContain('--deadline')
    expect(await text({})).not.toContain('--deadline')
    // All goes directly anyhow.
    expect(await text({ deadline: '6h', forceDirect: true })).not.toContain('--deadline')
  })

  test('stops when the run is to stop', async () => {
    const rig = harness()
    const stop = new AbortController()
    function* endless() {
      for (let at = 0; ; at++) {
        if (at === 600) stop.abort()
        yield request(`k-${at}`, 'Hello.')
      }
    }
    await expect(quoteOf(rig, endless(), { stop: stop.signal })).rejects.toMatchObject({
      code: 'interrupted',
    })
  })

  test('of a model without a price is an error that names the flags', async () => {
    const rig = harness()
    const odd = { key: 'a', body: { model: 'my-model', messages: [] } }
    const asked = quoteOf(rig, [odd], { costInputDirectMtoken: undefined, costOutputDirectMtoken: undefined })
    await expect(asked).rejects.toThrow('--cost-input-direct-mtoken')
  })

  test('says what it assumes', async () => {
    const rig = harness()
    const picture = {
      key: 'picture',
      body: {
        model: MODEL,
        messages: [
          {
            role: 'user' as const,
            content: [{ type: 'image_url' as const, image_url: { url: 'https://pictures.test/a.png' } }],
          },
        ],
      },
    }
    const { assumptions, cost, mostOutputTokens } = await quoteOf(rig, [...ten, picture])
    const text = assumptions.join('\n')
    expect(text).toContain(
      `a million tokens of ${MODEL} cost $2 in, $8 out directly and $1 in, $4 out by batch`,
    )
    expect(text).toContain('answers use 50 % of the output tokens')
    expect(text).toContain('1 request without a maximum of output tokens: 2,048 is taken')
    expect(text).toContain('1 image of unknown size counted as 1024 x 1024')
    expect(text).toContain('--cache')
    expect(cost.most).toBeUndefined()
    expect(mostOutputTokens).toBeUndefined()
  })

  test('reads the sizes of remote images when it is told to', async () => {
    const rig = harness()
    const content = [
      {
        type: 'image_url' as const,
        image_url: { url: 'https://pictures.test/a.png', detail: 'high' as const },
      },
    ]
    const pictures: TaskRequest[] = [
      { key: 'a', body: { model: MODEL, max_completion_tokens: 10, messages: [{ role: 'user', content }] } },
    ]
    const asked: string[] = []
    // The first bytes of a PNG of 32 x 32 pixels.
    const header = Buffer.from('89504e470d0a1a0a0000000d494844520000002000000020080600000073000000', 'hex')
    const fetch: TaskManagerOptions['fetch'] = async (input) => {
      asked.push(String(input))
      return new Response(header)
    }
    const known = await quoteOf(rig, pictures, { fetchImageSizes: true, fetch })
    expect(asked).toEqual(['https://pictures.test/a.png'])
    const assumed = await quoteOf(rig, pictures)
    expect(known.inputTokens).toBeLessThan(assumed.inputTokens / 2)
    expect(known.assumptions.join('\n')).not.toContain('unknown size')
  })
})

describe('the limits in a quote', () => {
  test('are not mentioned while all may be sent', async () => {
    expect(await quoteOf(harness(), ten)).toMatchObject({ caps: [] })
  })

  test('say how many requests they let be sent', async () => {
    const { caps } = await quoteOf(harness(), ten, { maxSessionRequests: 4, maxTaskRequests: 7 })
    expect(caps).toMatchObject([
      { flag: '--max-task-requests', requests: 7 },
      { flag: '--max-session-requests', requests: 4 },
    ])
  })

  test('count what was sent before', async () => {
    const rig = harness()
    const Ten = taskOf(ten)
    await new Ten(rig.options()).run()
    const more = names(10, 'more').map((key) => request(key, 'Hello.'))
    expect((await quoteOf(rig, more, { maxTaskRequests: 15 })).caps).toMatchObject([{ requests: 5 }])
  })

  test.each([
    ['room for the worst case', 1, 'so all fit'],
    ['room for what is expected', 0.004, 'all 10'],
    ['less room', 0.001, 'at first'],
  ])('under a hard cap: %s', async (_, maxSpend, text) => {
    const { caps } = await quoteOf(harness(), ten, { maxSpend, minBatchRequests: 1 })
    expect(caps).toMatchObject([{ flag: '--max-spend' }])
    expect(caps[0]?.text).toContain(text)
  })
})

describe('the estimate that the limits go by', () => {
  /** Corpora as people have them: languages, lengths and forms. */
  const WORDS = {
    english: 'the of a reader station weather quickly measured answer and because without river'.split(' '),
    german: 'Donaudampfschiff Verantwortung die und weil Wissenschaft gefunden größer'.split(' '),
    russian: 'погода станция читатель быстро ответ потому река без и измерено'.split(' '),
    code: ['const', 'x=', '{"a":', '[1,2,3]', '=>', 'return;', 'function(', ')', '\n  '],
    chinese: ['天气', '读者', '车站', '因为', '没有', '河流', '很快'],
  }
  const corpora = fc.record({
    words: fc.constantFrom(...Object.values(WORDS)),
    longest: fc.constantFrom(20, 200, 1000),
    instructions: fc.constantFrom('', 'Answer in one word. '.repeat(20)),
    seed: fc.integer({ min: 1, max: 1e6 }),
  })

  test('is within 10 % of the count in input cost, whatever the texts', async () => {
    await fc.assert(
      fc.asyncProperty(corpora, async ({ words, longest, instructions, seed }) => {
        const lengths = names(400).map((_, at) => 1 + ((at * 7919 + seed) % longest))
        const texts = lengths.map((length, at) =>
          Array.from({ length }, (_, word) => words[(word * 31 + at * 17 + seed) % words.length]).join(' '),
        )
        const requests = texts.map((text, at) => request(`k-${at}`, instructions + text))
        const { estimate, cost } = await quoteOf(harness(), requests)
        expect(estimate.inputCost / cost.planned.input).toBeGreaterThan(0.9)
        expect(estimate.inputCost / cost.planned.input).toBeLessThan(1.1)
      }),
      { numRuns: 12 },
    )
  }, 60_000)
})

test('a quote reads well at 80 columns', async () => {
  const quote = await quoteOf(harness(), [...ten, request('free', 'Hello.', undefined)], {
    maxSessionRequests: 4,
  })
  const lines = quoteText(quote, 80)
  expect(tooWide(lines, 80)).toEqual([])
  expect(lines.join('\n')).toMatch(/as it would be sent +\$0\.\d+ +\$0\.\d+ +\$0\.\d+/)
  expect(lines.join('\n')).toContain('--max-session-requests: one run may send about 4 of 11')
})
