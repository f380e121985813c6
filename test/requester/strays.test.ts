import { readdirSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { accept, retry, type Verdict } from '../../src/batch/verdict.ts'
import { type EmulatorOptions, httpAnswer, type Intercept } from '../../src/emulator/index.ts'
import { TaskManager } from '../../src/task/task-manager.ts'
import type { TaskResponse } from '../../src/task/task-types.ts'
import { moments } from '../support/money-world.ts'
import {
  ask,
  crashing,
  type Harness,
  harness,
  isKind,
  kindOf,
  ledgerSteps,
  NAME,
  names,
  questionOf,
  stepsOf,
  taskLines,
} from '../support/task-harness.ts'

class Ten extends TaskManager {
  *generateRequests() {
    for (const key of names(10)) yield { key, body: ask(key) }
  }

  processResponse({ key, text }: TaskResponse): Verdict | Promise<Verdict> {
    return accept({ key, text })
  }
}

/** May cost no more than can be said. */
class Limited extends Ten {
  override *generateRequests() {
    for (const { key, body } of super.generateRequests())
      yield { key, body: { ...body, max_completion_tokens: 100 } }
  }
}

const isCreate = (request: Request): boolean => isKind(kindOf(request), 'POST', '/v1/batches')
const isList = (request: Request): boolean => isKind(kindOf(request), 'GET', /^\/v1\/batches\?/)
const cancels = /^\/v1\/batches\/[^/]+\/cancel$/

const turns = async (count: number): Promise<void> => {
  for (let turn = 0; turn < count; turn++) await new Promise((resolve) => setImmediate(resolve))
}

const lost = (): never => {
  throw new TypeError('fetch failed')
}

/** Batches that are over as soon as they are validated. */
const QUICK = { latency: { runMs: 0, perRequestMs: 0 } }

interface RemoteBatch {
  readonly id: string
  readonly status: string
  readonly metadata: Record<string, string> | null
  readonly [field: string]: unknown
}

interface Lag {
  readonly rig: Harness
  /** Batches in the order of their creation. */
  readonly created: string[]
  /** Listings show every batch from now on. */
  show(): void
}

/**
 * The server acts on the first create, its answer is lost, and its batch is not in the listings until `show`. Answers
 * say how often their question has been answered.
 */
function lagging(options: EmulatorOptions = {}, more: Intercept = (_, next) => next()): Lag {
  const created: string[] = []
  let isShown = false
  const asked = new Map<string, number>()
  const intercept: Intercept = async (request, next) => {
    if (isList(request)) return isShown ? more(request, next) : withoutFirst(await more(request, next))
    if (!isCreate(request)) return more(request, next)
    const response = await more(request, next)
    const { id } = JSON.parse(await response.clone().text())
    created.push(id)
    return created.length === 1 ? lost() : response
  }
  const withoutFirst = async (response: Response): Promise<Response> => {
    const list: { data: RemoteBatch[] } = JSON.parse(await response.text())
    return Response.json({ ...list, data: list.data.filter(({ id }) => id !== created[0]) })
  }
  const answer: EmulatorOptions['answer'] = (request) => {
    const question = questionOf(request)
    const times = (asked.get(question) ?? 0) + 1
    asked.set(question, times)
    return `${question} for the ${times}. time`
  }
  const rig = harness({ intercept, answer, ...options })
  const show = () => {
    isShown = true
  }
  return { rig, created, show }
}

async function remote<Item = { id: string }>(rig: Harness, what: 'batches' | 'files'): Promise<Item[]> {
  const response = await rig.emulator.fetch(`http://console.test/v1/${what}?limit=100`)
  return JSON.parse(await response.text()).data
}

const statuses = async (rig: Harness): Promise<string[]> =>
  (await remote<RemoteBatch>(rig, 'batches')).map(({ status }) => status).reverse()

/** Names of the files that are there beside those that stay. */
const leftovers = (dir: string): string[] =>
  readdirSync(dir).filter((name) => name.startsWith(`${NAME}_batch`) || name.startsWith(`${NAME}_replies`))

const kinds = (dir: string): string[] => ledgerSteps(dir).map(({ kind }) => kind)

interface Line {
  readonly key: string
  readonly text: string
}

/** Every key once in the output, and nothing left anywhere. */
async function expectTen(rig: Harness, dir = rig.dir): Promise<void> {
  const keys = taskLines<Line>(dir, '_output.jsonl').map(({ key }) => key)
  expect(keys.sort()).toEqual(names(10))
  expect(await remote(rig, 'files')).toEqual([])
  expect(leftovers(dir)).toEqual([])
}

const linesFor = (dir: string, time: number): Line[] =>
  taskLines<Line>(dir, '_output.jsonl').filter(({ text }) => text.includes(`${time}. time`))

describe('a batch that turns up when its queue file has another', () => {
  test('is taken: what it answered is used, the later answers are only counted, and all is deleted', async () => {
    const { rig, created, show } = lagging({ latency: { runMs: 0, perRequestMs: 2_000 } })
    const reporter = { onEvent: (event: object) => void ('remoteId' in event && show()) }
    const { reporters = [] } = rig.options()
    const summary = await new Ten(rig.options({ reporters: [...reporters, reporter] })).run()
    expect(summary).toMatchObject({ complete: true, succeeded: 10, retries: 0, batches: 1 })
    expect(created).toHaveLength(2)
    expect(stepsOf(rig.dir, 'stray')).toMatchObject([{ batchId: created[0], file: 1, model: 'gpt-5-mini' }])
    expect(rig.warnings('stray_batch')).toHaveLength(1)
    expect(linesFor(rig.dir, 1)).toHaveLength(10)
    const [stray] = stepsOf(rig.dir, 'stray-received')
    const [own] = stepsOf(rig.dir, 'received')
    expect(stray?.costNanoUsd).toBeGreaterThan(0)
    expect(own?.costNanoUsd).toBeGreaterThan(0)
    expect(summary.cost).toBeCloseTo((Number(stray?.costNanoUsd) + Number(own?.costNanoUsd)) / 1e9, 9)
    await expectTen(rig)
  })

  test('is cancelled while it is at work, and its answers are used as far as they go', async () => {
    const { rig, created, show } = lagging({ latency: { runMs: 0, perRequestMs: 10_000 } })
    const reporter = { onEvent: (event: object) => void ('remoteId' in event && show()) }
    const run = new Ten(rig.options({ reporters: [reporter], createGraceMs: 20_000 })).run()
    expect(await run).toMatchObject({ complete: true, succeeded: 10 })
    expect(rig.seen.filter((one) => isKind(one, 'POST', cancels)).map(({ path }) => path)).toEqual([
      `/v1/batches/${created[0]}/cancel`,
    ])
    expect(await statuses(rig)).toEqual(['cancelled', 'completed'])
    const [early, late] = [linesFor(rig.dir, 1).length, linesFor(rig.dir, 2).length]
    expect(early).toBeGreaterThan(0)
    expect(early).toBeLessThan(10)
    expect(early + late).toBe(10)
    await expectTen(rig)
  })

  test('is found behind many pages of newer batches of other people', async () => {
    let others = 0
    const { rig, created, show } = lagging(QUICK, async (request, next) => {
      const text = await request.clone().text()
      const response = await next()
      if (!isCreate(request) || created.length !== 1 || others > 0) return response
      while (++others < 210) await rig.emulator.fetch(otherBatch(request, text))
      show()
      return response
    })
    expect(await new Ten(rig.options()).run()).toMatchObject({ complete: true, succeeded: 10 })
    expect(stepsOf(rig.dir, 'stray-settled')).toHaveLength(1)
    expect(leftovers(rig.dir)).toEqual([])
  })

  test('gives no answer that is not good: those requests are answered by the other batch', async () => {
    const asked = new Set<string>()
    const bad: Readonly<Record<string, ReturnType<typeof httpAnswer>>> = {
      'k-0': httpAnswer(400, { error: { message: 'no', code: 'invalid_value' } }),
      'k-2': httpAnswer(200, { object: 'chat.completion', choices: [] }),
    }
    const { rig, show } = lagging({
      latency: { runMs: 0, perRequestMs: 2_000 },
      answer: (request) => {
        const question = questionOf(request)
        const first = asked.has(question) ? undefined : bad[question]
        const text = `${question} for the ${asked.has(question) ? 2 : 1}. time`
        asked.add(question)
        return first ?? text
      },
    })
    const reporter = { onEvent: (event: object) => void ('remoteId' in event && show()) }
    const summary = await new Ten(rig.options({ reporters: [reporter] })).run()
    expect(summary).toMatchObject({ complete: true, succeeded: 10, retries: 0 })
    expect(linesFor(rig.dir, 1)).toHaveLength(8)
    expect(linesFor(rig.dir, 2).map(({ key }) => key)).toEqual(['k-0', 'k-2'])
    await expectTen(rig)
  })

  test('never puts a request before the consumer twice at a time, nor after its verdict', async () => {
    const { rig, show } = lagging({ latency: { runMs: 0, perRequestMs: 2_000 } })
    const inHand = new Set<string>()
    const seen = new Map<string, number>()
    class Slow extends Ten {
      override async processResponse({ key, text }: TaskResponse) {
        expect(inHand).not.toContain(key)
        inHand.add(key)
        seen.set(key, (seen.get(key) ?? 0) + 1)
        // Until the other batch is here, too, and whoever hands out results has had time to look at it.
        while (!kinds(rig.dir).includes('received')) await turns(1)
        await turns(200)
        inHand.delete(key)
        return key === 'k-3' && seen.get(key) === 1 ? retry('once more') : accept({ key, text })
      }
    }
    const reporter = { onEvent: (event: object) => void ('remoteId' in event && show()) }
    const options = rig.options({ reporters: [reporter], processConcurrency: 40 })
    expect(await new Slow(options).run()).toMatchObject({ complete: true, succeeded: 10, retries: 1 })
    const order = kinds(rig.dir)
    expect(order.indexOf('stray-settled')).toBeGreaterThan(order.indexOf('accepted'))
    expect(order.indexOf('stray-received')).toBeLessThan(order.indexOf('received'))
    expect(seen.get('k-3')).toBe(2)
    expect([...seen.values()].filter((times) => times === 1)).toHaveLength(9)
    await expectTen(rig)
  })
})

describe('a batch that turns up when its queue file has no other', () => {
  /** The first attempt was given up, and no second was begun. */
  async function givenUp(Task: typeof Ten = Ten): Promise<Lag> {
    const lag = lagging(QUICK)
    const { rig } = lag
    const stop = new AbortController()
    const onEvent = (event: { kind: string; reason?: string }) => {
      if (event.reason?.startsWith('making sure')) stop.abort()
    }
    await new Task(rig.options({ stop: stop.signal, reporters: [{ onEvent }] })).run()
    await new Task(rig.options({ onlyProcess: true })).run()
    expect(kinds(rig.dir).slice(-2)).toEqual(['fenced', 'abandoned'])
    return lag
  }

  test('is looked for when a run begins, and adopted', async () => {
    const { rig, created, show } = await givenUp()
    show()
    const summary = await new Ten(rig.options()).run()
    expect(summary).toMatchObject({ complete: true, succeeded: 10, batches: 1 })
    expect(created).toHaveLength(1)
    expect(stepsOf(rig.dir, 'created')).toMatchObject([{ batchId: created[0], adopted: true }])
    expect(stepsOf(rig.dir, 'stray')).toEqual([])
    expect(rig.count('POST', '/v1/files')).toBe(1)
    await expectTen(rig)
  })

  test.each([false, true])(
    'is adopted when the next attempt has not got beyond its upload, whose file is deleted (server acted: %s)',
    async (acted) => {
      const { rig, created, show } = await givenUp()
      const crash = crashing(rig, { at: (seen) => isKind(seen, 'POST', '/v1/files'), acted })
      const dead = new Ten(crash.options).run()
      const dir = await crash.folder
      show()
      const summary = await new Ten(rig.options({ taskDir: dir })).run()
      crash.bury()
      await dead
      expect(summary).toMatchObject({ complete: true, succeeded: 10, batches: 1 })
      expect(created).toHaveLength(1)
      await expectTen(rig, dir)
    },
  )

  test('has money set aside in the same moment, though its create was sent when there was no cap', async () => {
    const { rig, show } = await givenUp(Limited)
    show()
    const summary = await new Limited(rig.options({ maxSpend: 1 })).run()
    expect(summary).toMatchObject({ complete: true, succeeded: 10 })
    const { moments: all } = moments(rig.dir)
    const adopted = all.find(({ kinds }) => kinds.includes('created'))
    // Half of 100 x 2 USD per million output tokens, for each of ten.
    expect(adopted?.reservedNanoUsd).toBeGreaterThan(10 * 100_000)
    expect(all.at(-1)).toMatchObject({ reservedNanoUsd: 0, uncertainNanoUsd: 0 })
  })

  test('is taken without anybody waiting for it when its queue file is done', async () => {
    const { rig, created, show } = lagging(QUICK)
    expect(await new Ten(rig.options()).run()).toMatchObject({ complete: true, succeeded: 10 })
    const spent = stepsOf(rig.dir, 'received')
    show()
    class Eleven extends Ten {
      override *generateRequests() {
        yield* super.generateRequests()
        yield { key: 'k-10', body: ask('k-10') }
      }
    }
    const summary = await new Eleven(rig.options()).run()
    expect(summary).toMatchObject({ complete: true, succeeded: 11 })
    expect(stepsOf(rig.dir, 'stray')).toMatchObject([{ batchId: created[0], file: 1 }])
    const [stray] = stepsOf(rig.dir, 'stray-received')
    expect(stray?.costNanoUsd).toBe(spent[0]?.costNanoUsd)
    expect(taskLines(rig.dir, '_output.jsonl')).toHaveLength(11)
    expect(await remote(rig, 'files')).toEqual([])
    expect(leftovers(rig.dir)).toEqual([])
  })

  test('is not looked for when nothing is unfinished', async () => {
    const { rig } = lagging(QUICK)
    await new Ten(rig.options()).run()
    const before = rig.seen.length
    await new Ten(rig.options()).run()
    expect(rig.seen).toHaveLength(before)
  })
})

describe('a create that lands after its input was deleted, and leads to a batch that fails for want of it', () => {
  /** Lists such a batch once the input is gone; `status` is what the listing says of it first. */
  function doomed(status: string) {
    let fake: Record<string, unknown> | undefined
    let isGone = false
    const intercept: Intercept = async (request, next) => {
      const { method, path } = kindOf(request)
      if (isCreate(request) && !fake) {
        fake = {
          id: 'batch_late',
          object: 'batch',
          created_at: 1_767_225_600,
          status,
          ...JSON.parse(await request.text()),
        }
        return lost()
      }
      if (method === 'DELETE') isGone = true
      if (fake && path === '/v1/batches/batch_late') {
        const data = [{ code: 'invalid_input_file', message: 'the input file does not exist', line: null }]
        return Response.json({ ...fake, status: 'failed', errors: { object: 'list', data } })
      }
      const response = await next()
      if (!isList(request) || !isGone) return response
      const list: { data: unknown[] } = JSON.parse(await response.text())
      return Response.json({ ...list, data: [...list.data, fake] })
    }
    return harness({ intercept })
  }

  test.each(['failed', 'validating'])('is begun anew (listed as %s)', async (status) => {
    const rig = doomed(status)
    const summary = await new Ten(rig.options()).run()
    expect(summary).toMatchObject({ complete: true, outcome: 'complete', succeeded: 10, retries: 0 })
    expect(rig.count('POST', '/v1/batches')).toBe(2)
    expect(stepsOf(rig.dir, 'created')).toHaveLength(status === 'failed' ? 1 : 2)
    expect(rig.warnings('stray_batch')).toEqual([])
    await expectTen(rig)
  })
})

test.each([
  ['while it is still being cancelled', 'stray'],
  ['after it was settled', 'stray-settled'],
])(
  'requests that a stray has answered are not sent again when the other batch fails %s',
  async (_, after) => {
    const full = { object: 'list', data: [{ code: 'token_limit_exceeded', message: 'full', line: null }] }
    const edited = (batch: RemoteBatch): RemoteBatch => {
      if (batch.id !== created[1]) return batch
      const ended = { status: 'failed', errors: full }
      return {
        ...batch,
        output_file_id: null,
        request_counts: { total: 0, completed: 0, failed: 0 },
        ...(kinds(rig.dir).includes(after) ? ended : { status: 'validating' }),
      }
    }
    const { rig, created, show }: Lag = lagging(
      { latency: { runMs: 0, perRequestMs: 9_000, cancelMs: 120_000 } },
      async (request, next) => {
        const response = await next()
        const { method, path } = kindOf(request)
        if (isList(request)) {
          const list: { data: RemoteBatch[] } = JSON.parse(await response.text())
          return Response.json({ ...list, data: list.data.map(edited) })
        }
        if (method !== 'GET' || path !== `/v1/batches/${created[1]}`) return response
        return Response.json(edited(JSON.parse(await response.text())))
      },
    )
    const reporter = { onEvent: (event: object) => void ('remoteId' in event && show()) }
    const summary = await new Ten(rig.options({ reporters: [reporter] })).run()
    expect(summary).toMatchObject({ complete: true, succeeded: 10 })
    expect(created).toHaveLength(3)
    const early = linesFor(rig.dir, 1).length
    expect(early).toBeGreaterThan(0)
    expect(early).toBeLessThan(10)
    const unsent = stepsOf(rig.dir, 'requeue').filter(({ why }) => why === 'unsent')
    expect(unsent.flatMap(({ requests }) => requests)).toHaveLength(10 - early)
    const keys = taskLines<Line>(rig.dir, '_output.jsonl').map(({ key }) => key)
    expect(keys.sort()).toEqual(names(10))
    expect(leftovers(rig.dir)).toEqual([])
  },
)

describe('a stray that the server says it does not know', () => {
  /** As told by whatever is asked about it alone: `times` times. */
  function forgetful(times: number) {
    let left = times
    const lag: Lag = lagging({ latency: { runMs: 0, perRequestMs: 4_000 } }, async (request, next) => {
      const { method, path } = kindOf(request)
      const isAbout = created[0] !== undefined && path.startsWith(`/v1/batches/${created[0]}`)
      if (!isAbout || (method === 'GET' ? left-- : left) <= 0) return next()
      return Response.json({ error: { message: 'No batch found' } }, { status: 404 })
    })
    const { created, rig, show } = lag
    const onEvent = (event: object) => void ('remoteId' in event && show())
    const run = () => new Limited(rig.options({ maxSpend: 1, reporters: [{ onEvent }] })).run()
    return { ...lag, run }
  }

  test('for a moment only, is cancelled all the same, and its answers are taken', async () => {
    const { rig, run } = forgetful(2)
    expect(await run()).toMatchObject({ complete: true, succeeded: 10 })
    expect(await statuses(rig)).toEqual(['cancelled', 'completed'])
    expect(stepsOf(rig.dir, 'stray-received')).toHaveLength(1)
    expect(moments(rig.dir).state.spending.uncertainNanoUsd).toBe(0)
  })

  test('for the whole grace, is charged the most that it can have cost', async () => {
    const { rig, run } = forgetful(Number.POSITIVE_INFINITY)
    expect(await run()).toMatchObject({ complete: true, succeeded: 10 })
    expect(stepsOf(rig.dir, 'stray-ended')).toMatchObject([{ status: 'cancelled', gone: true }])
    const [intent] = stepsOf(rig.dir, 'intent')
    expect(intent?.reserved).toBeGreaterThan(10 * 100_000)
    expect(moments(rig.dir).moments.at(-1)).toMatchObject({
      uncertainNanoUsd: intent?.reserved,
      reservedNanoUsd: 0,
    })
  })
})

describe('a crash while a stray is being settled', () => {
  const points = Array.from({ length: 9 }, (_, nth) => nth + 1)

  test.each(points.flatMap((nth) => [[nth, false] as const, [nth, true] as const]))(
    'at request %d after it was seen (server acted: %s) costs no answer, and no batch more',
    async (nth, acted) => {
      const { rig, created, show } = lagging({ latency: { runMs: 0, perRequestMs: 4_000 } })
      let isShown = false
      const onEvent = (event: object) => {
        if (!('remoteId' in event)) return
        isShown = true
        show()
      }
      let since = 0
      const at = () => isShown && ++since === nth
      const crash = crashing(rig, { at, acted }, { reporters: [{ onEvent }] })
      const dead = new Ten(crash.options).run()
      // How many polls it takes depends on the machine: the last points may not be reached.
      const dir = await Promise.race([crash.folder, dead.then(() => rig.dir)])
      const summary = await new Ten(rig.options({ taskDir: dir })).run()
      crash.bury()
      await dead
      expect(summary).toMatchObject({ complete: true, succeeded: 10, retries: 0 })
      expect(since).toBeGreaterThanOrEqual(Math.min(nth, 6))
      expect(created).toHaveLength(2)
      expect(await statuses(rig)).toEqual(['cancelled', 'completed'])
      expect(stepsOf(dir, 'stray-settled')).toHaveLength(1)
      expect(stepsOf(dir, 'stray-received')).toHaveLength(1)
      await expectTen(rig, dir)
    },
  )
})

describe('a wipe', () => {
  test.each(['wipeRequests', 'wipeTask'] as const)('by %s settles strays before it ends', async (wipe) => {
    const { rig, created, show } = lagging({ latency: { runMs: 0, perRequestMs: 100_000 } })
    const stop = new AbortController()
    const onEvent = (event: { kind: string; code?: string }) => {
      if ('remoteId' in event) show()
      if (event.code === 'stray_batch') stop.abort()
    }
    await new Ten(rig.options({ stop: stop.signal, reporters: [{ onEvent }] })).run()
    expect(stepsOf(rig.dir, 'stray')).toHaveLength(1)
    const summary = await new Ten(rig.options({ [wipe]: true, run: false })).run()
    expect(summary).toMatchObject({ pending: 0 })
    expect(created).toHaveLength(2)
    expect(await statuses(rig)).toEqual(['cancelled', 'cancelled'])
    expect(stepsOf(rig.dir, 'stray-settled')).toHaveLength(1)
    expect(await remote(rig, 'files')).toEqual([])
    expect(leftovers(rig.dir)).toEqual([])
  })
})

test('of two batches that one create led to, the second is taken as a stray', async () => {
  let twins = 0
  const intercept: Intercept = async (request, next) => {
    if (!isCreate(request) || twins > 0) return next()
    twins++
    await rig.emulator.fetch(request.clone())
    await next()
    return lost()
  }
  const rig: Harness = harness({ intercept, latency: { runMs: 0, perRequestMs: 3_000 } })
  expect(await new Ten(rig.options()).run()).toMatchObject({ complete: true, succeeded: 10, batches: 1 })
  expect((await statuses(rig)).sort()).toEqual(['cancelled', 'completed'])
  expect(stepsOf(rig.dir, 'stray-settled')).toHaveLength(1)
  await expectTen(rig)
})

test('another account is refused while a stray is not settled', async () => {
  const { rig, show } = lagging({ latency: { runMs: 0, perRequestMs: 9_000 } })
  const stop = new AbortController()
  const onEvent = (event: { kind: string; code?: string }) => {
    if ('remoteId' in event) show()
    if (event.code === 'stray_batch') stop.abort()
  }
  await new Ten(rig.options({ stop: stop.signal, reporters: [{ onEvent }] })).run()
  const other = harness()
  const env = { OPENAI_API_KEY: 'sk-other' }
  const elsewhere = rig.options({ env, fetch: (input, init) => other.emulator.fetch(input, init) })
  await expect(new Ten(elsewhere).run()).rejects.toMatchObject({ code: 'wrong_account' })
})

function otherBatch(create: Request, text: string): Request {
  const { input_file_id, endpoint, completion_window } = JSON.parse(text)
  const metadata = { nightshift_tag: 'someone-else' }
  const body = JSON.stringify({ input_file_id, endpoint, completion_window, metadata })
  return new Request(create.url, { method: 'POST', headers: { 'content-type': 'application/json' }, body })
}
