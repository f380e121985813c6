import { describe, expect, test } from 'vitest'
import { accept } from '../../src/batch/verdict.ts'
import type { Intercept } from '../../src/emulator/index.ts'
import { TaskManager } from '../../src/task/task-manager.ts'
import type { TaskResponse } from '../../src/task/task-types.ts'
import type { Clock, SleepOptions } from '../../src/util/clock.ts'
import {
  ask,
  crashing,
  type Harness,
  harness,
  isKind,
  kindOf,
  ledgerSteps,
  names,
  stepsOf,
  taskLines,
} from '../support/task-harness.ts'
import { VirtualClock } from '../support/virtual-clock.ts'

class Ten extends TaskManager {
  *generateRequests() {
    for (const key of names(10)) yield { key, body: ask(key) }
  }

  processResponse({ key }: TaskResponse) {
    return accept(key)
  }
}

const LONG_MS = 600_000

/** Long sleeps last until they are let go. */
class HeldClock implements Clock {
  readonly #clock: Clock
  readonly #released = Promise.withResolvers<void>()
  held = 0

  constructor(clock: Clock) {
    this.#clock = clock
  }

  now(): number {
    return this.#clock.now()
  }

  release(): void {
    this.#released.resolve()
  }

  async sleep(ms: number, signal?: AbortSignal, options?: SleepOptions): Promise<void> {
    if (signal?.aborted) return
    if (options?.background || ms < LONG_MS - 60_000) return this.#clock.sleep(ms, signal, options)
    this.held++
    const aborted = new Promise<void>((resolve) => signal?.addEventListener('abort', () => resolve()))
    await Promise.race([this.#released.promise, aborted])
  }
}

const isCreate = (request: Request): boolean => isKind(kindOf(request), 'POST', '/v1/batches')
const isUpload = (request: Request): boolean => isKind(kindOf(request), 'POST', '/v1/files')
const isDelete = (request: Request): boolean => isKind(kindOf(request), 'DELETE', /^\/v1\/files\//)

/** Meets the first request of a kind in its own way, and lets all others through. */
function once(is: (request: Request) => boolean, meet: Intercept): Intercept {
  let met = false
  return async (request, next) => {
    if (met || !is(request)) return next()
    met = true
    return meet(request, next)
  }
}

const lost = (): never => {
  throw new TypeError('fetch failed')
}

/** A failure that asks for no more than a millisecond of patience. */
const failure = (status: number, message: string): Response =>
  Response.json({ error: { message, type: 'error' } }, { status, headers: { 'retry-after-ms': '1' } })

async function remote(emulator: Harness['emulator'], what: 'batches' | 'files'): Promise<{ id: string }[]> {
  const response = await emulator.fetch(`http://console.test/v1/${what}?limit=100`)
  return JSON.parse(await response.text()).data
}

async function expectTen({ dir, emulator }: Harness, batches = 1): Promise<void> {
  expect(taskLines(dir, '_output.jsonl')).toEqual(names(10))
  expect(await remote(emulator, 'batches')).toHaveLength(batches)
  expect(await remote(emulator, 'files')).toEqual([])
}

const kinds = (dir: string): string[] => ledgerSteps(dir).map(({ kind }) => kind)

describe('a create whose reply is lost', () => {
  test.each([
    ['by a broken connection', lost],
    ['behind a 500', () => failure(500, 'oops')],
    ['behind a 409', () => failure(409, 'conflict')],
    ['behind a page that is no JSON', () => new Response('<html>', { status: 200 })],
  ])('%s after the server acted is adopted, not created twice', async (_, reply) => {
    const intercept = once(isCreate, async (_request, next) => {
      await next()
      return reply()
    })
    const rig = harness({ intercept })
    const summary = await new Ten(rig.options()).run()
    expect(summary).toMatchObject({ complete: true, succeeded: 10, batches: 1, retries: 0 })
    expect(rig.count('POST', '/v1/batches')).toBe(1)
    expect(rig.count('POST', '/v1/files')).toBe(1)
    expect(stepsOf(rig.dir, 'created')).toMatchObject([{ adopted: true }])
    expect(rig.warnings('create_in_doubt')).toHaveLength(1)
    expect(kinds(rig.dir)).not.toContain('fenced')
    await expectTen(rig)
  })

  test.each([
    ['by a broken connection', lost],
    ['behind a 500', () => failure(500, 'oops')],
  ])(
    '%s before the server acted is begun anew after its input is gone and a grace has passed',
    async (_, reply) => {
      const rig = harness({ intercept: once(isCreate, async () => reply()) })
      const before = rig.clock.now()
      const summary = await new Ten(rig.options({ createGraceMs: 45_000 })).run()
      expect(summary).toMatchObject({ complete: true, succeeded: 10 })
      expect(rig.clock.now() - before).toBeGreaterThanOrEqual(45_000)
      const order = kinds(rig.dir).filter((kind) =>
        /intent|uploaded|doubt|fenced|abandoned|created/.test(kind),
      )
      expect(order).toEqual([
        'intent',
        'uploaded',
        'doubt',
        'fenced',
        'abandoned',
        'intent',
        'uploaded',
        'created',
      ])
      const [first, second] = stepsOf(rig.dir, 'intent')
      expect(first?.tag).not.toBe(second?.tag)
      const create = rig.seen.flatMap((one, at) => (isKind(one, 'POST', '/v1/batches') ? [at] : []))
      const removal = rig.seen.findIndex((one) => one.method === 'DELETE')
      expect(create).toHaveLength(2)
      expect(removal).toBeGreaterThan(create[0] ?? 0)
      expect(removal).toBeLessThan(create[1] ?? 0)
      await expectTen(rig)
    },
  )

  test('and that lands after the fence fails, since its input is gone', async () => {
    const late: Request[] = []
    let landed: Response | undefined
    const intercept: Intercept = async (request, next) => {
      if (isCreate(request) && late.length === 0) {
        late.push(request.clone())
        lost()
      }
      const response = await next()
      const [held] = late
      if (isDelete(request) && held && !landed) landed = await rig.emulator.fetch(held)
      return response
    }
    const rig: Harness = harness({ intercept })
    expect(await new Ten(rig.options()).run()).toMatchObject({ complete: true, succeeded: 10 })
    expect(landed?.status).toBe(400)
    await expectTen(rig)
  })

  test('and that lands just before the fence is found after the grace, and adopted', async () => {
    const late: Request[] = []
    let landed: Response | undefined
    const intercept: Intercept = async (request, next) => {
      if (isCreate(request) && late.length === 0) {
        late.push(request.clone())
        lost()
      }
      const [held] = late
      if (isDelete(request) && held && !landed) landed = await rig.emulator.fetch(held)
      return next()
    }
    const rig: Harness = harness({ intercept })
    expect(await new Ten(rig.options()).run()).toMatchObject({ complete: true, succeeded: 10, batches: 1 })
    expect(landed?.status).toBe(200)
    expect(rig.count('POST', '/v1/batches')).toBe(1)
    expect(stepsOf(rig.dir, 'created')).toMatchObject([{ adopted: true }])
    await expectTen(rig)
  })

  test('is found behind many pages of batches of other people', async () => {
    const others = 230
    const intercept = once(isCreate, async (request, next) => {
      const input = JSON.parse(await request.clone().text()).input_file_id
      await next()
      for (let at = 0; at < others; at++) await rig.emulator.fetch(...otherBatch(input, at))
      return lost()
    })
    const rig: Harness = harness({ intercept })
    const foreign = await rig.emulator.fetch('http://console.test/v1/files', {
      method: 'POST',
      body: foreignFile(),
    })
    const { id } = JSON.parse(await foreign.text())
    const otherBatch = (_input: string, at: number): [string, RequestInit] => [
      'http://console.test/v1/batches',
      {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({
          input_file_id: id,
          endpoint: '/v1/chat/completions',
          completion_window: '24h',
          metadata: { nightshift_tag: `other-${at}` },
        }),
      },
    ]
    expect(await new Ten(rig.options()).run()).toMatchObject({ complete: true, succeeded: 10, batches: 1 })
    expect(rig.count('POST', '/v1/batches')).toBe(1)
    expect(rig.count('GET', /^\/v1\/batches\?/)).toBeGreaterThanOrEqual(3)
    expect(taskLines(rig.dir, '_output.jsonl')).toEqual(names(10))
  })
})

test('a listing that begins anew on every page stops the run: nothing is sent again on its word', async () => {
  const intercept: Intercept = async (request, next) => {
    const response = await next()
    if (!isKind(kindOf(request), 'GET', /^\/v1\/batches\?/)) return response
    const batch = {
      id: 'batch_other',
      object: 'batch',
      endpoint: '/v1/chat/completions',
      status: 'completed',
    }
    const other = { ...batch, input_file_id: 'file-other', created_at: 1_767_225_600 }
    return Response.json({ object: 'list', data: [other], has_more: true })
  }
  const rig: Harness = harness({
    intercept,
    scenario: { faults: [{ fault: 'http-lose', route: 'POST /v1/batches', acts: true, when: { nth: 1 } }] },
  })
  await expect(new Ten(rig.options()).run()).rejects.toMatchObject({ code: 'bad_reply' })
  expect(rig.count('GET', /^\/v1\/batches\?/)).toBe(2)
  expect(rig.count('POST', '/v1/batches')).toBe(1)
})

/** The same request, though whoever sent it gives it up. */
async function copyOf(request: Request): Promise<Request> {
  const { url, method, headers } = request
  return new Request(url, { method, headers, body: await request.arrayBuffer() })
}

/** The same upload without its last line. */
async function shortened(request: Request): Promise<Request> {
  const form = await request.clone().formData()
  const file = form.get('file')
  if (!(file instanceof File)) throw new TypeError('there is no file in the upload')
  const text = await file.text()
  const end = text.lastIndexOf('\n', text.length - 2) + 1
  form.set('file', new File([text.slice(0, end)], file.name))
  return new Request(request.url, { method: 'POST', body: form })
}

function foreignFile(name = 'foreign.jsonl'): FormData {
  const line = { custom_id: 'x', method: 'POST', url: '/v1/chat/completions', body: ask('foreign') }
  const form = new FormData()
  form.set('purpose', 'batch')
  form.set('file', new File([`${JSON.stringify(line)}\n`], name))
  return form
}

describe('a create that is answered', () => {
  test('429 is sent again with the same input when the server says so', async () => {
    const busy = Response.json(
      { error: { message: 'slow down' } },
      { status: 429, headers: { 'retry-after': '20' } },
    )
    const rig = harness({ intercept: once(isCreate, async () => busy) })
    const before = rig.clock.now()
    expect(await new Ten(rig.options()).run()).toMatchObject({ complete: true, succeeded: 10 })
    expect(rig.clock.now() - before).toBeGreaterThanOrEqual(20_000)
    expect(kinds(rig.dir)).not.toContain('doubt')
    expect(rig.count('POST', '/v1/files')).toBe(1)
    expect(rig.count('POST', '/v1/batches')).toBe(2)
    await expectTen(rig)
  })

  test.each([404, 400])('%d because the upload is not visible yet is sent again', async (status) => {
    const unseen = failure(status, "Invalid input_file_id: the file 'file-1' was not found.")
    const rig = harness({ intercept: once(isCreate, async () => unseen) })
    expect(await new Ten(rig.options()).run()).toMatchObject({ complete: true, succeeded: 10 })
    expect(kinds(rig.dir)).not.toContain('doubt')
    expect(rig.count('POST', '/v1/files')).toBe(1)
    await expectTen(rig)
  })

  test('400 is a definite no: nothing is sent again, the run says why, and the input is removed', async () => {
    const no = failure(400, 'The project may not use batches')
    const rig = harness({ intercept: once(isCreate, async () => no) })
    const summary = await new Ten(rig.options()).run()
    expect(summary).toMatchObject({ outcome: 'failed-batches', pending: 10 })
    expect(summary.details.join()).toContain('may not use batches')
    expect(rig.count('POST', '/v1/batches')).toBe(1)
    expect(await remote(rig.emulator, 'files')).toEqual([])
    expect(await new Ten(rig.options()).run()).toMatchObject({ complete: true, succeeded: 10 })
    await expectTen(rig)
  })

  test('403 stops the run with the reason, and the next run goes on', async () => {
    const no = failure(403, 'Not for this project')
    const rig = harness({ intercept: once(isCreate, async () => no) })
    await expect(new Ten(rig.options()).run()).rejects.toMatchObject({ status: 403 })
    expect(await new Ten(rig.options()).run()).toMatchObject({ complete: true, succeeded: 10 })
    await expectTen(rig)
  })
})

describe('an upload', () => {
  const replies: [string, () => Response | never][] = [
    ['by a broken connection', lost],
    ['behind a 502', () => failure(502, 'bad gateway')],
    ['behind a 408', () => failure(408, 'timeout')],
    ['behind a 409', () => failure(409, 'conflict')],
    ['behind a page that is no JSON', () => new Response('<html>', { status: 200 })],
  ]

  test.each(replies)('whose reply is lost %s is found, not sent again', async (_, reply) => {
    const intercept = once(isUpload, async (_request, next) => {
      await next()
      return reply()
    })
    const rig = harness({ intercept })
    expect(await new Ten(rig.options()).run()).toMatchObject({ complete: true, succeeded: 10, batches: 1 })
    expect(rig.count('POST', '/v1/files')).toBe(1)
    expect(kinds(rig.dir).filter((kind) => /upload|swept/.test(kind))).toEqual([
      'upload-doubt',
      'uploaded',
      'swept',
    ])
    await expectTen(rig)
  })

  test.each(replies)('that is lost %s before it arrived is sent again', async (_, reply) => {
    const rig = harness({ intercept: once(isUpload, async () => reply()) })
    expect(await new Ten(rig.options()).run()).toMatchObject({ complete: true, succeeded: 10, batches: 1 })
    expect(rig.count('POST', '/v1/files')).toBe(2)
    const look = rig.seen.findIndex((one) => isKind(one, 'GET', /^\/v1\/files\?/))
    const sent = rig.seen.flatMap((one, at) => (isKind(one, 'POST', '/v1/files') ? [at] : []))
    expect(look).toBeGreaterThan(sent[0] ?? 0)
    expect(look).toBeLessThan(sent[1] ?? 0)
    await expectTen(rig)
  })

  test('that arrives whole twice and once cut leaves one file, which is used, and then none', async () => {
    let sent = 0
    let copying = false
    const copy = async (request: Request): Promise<void> => {
      copying = true
      await rig.emulator.fetch(request)
      copying = false
    }
    const intercept: Intercept = async (request, next) => {
      if (copying || !isUpload(request)) return next()
      sent++
      if (sent === 1) await copy(await shortened(request))
      else {
        await copy(request.clone())
        await next()
      }
      return lost()
    }
    const rig: Harness = harness({ intercept })
    expect(await new Ten(rig.options()).run()).toMatchObject({ complete: true, succeeded: 10, batches: 1 })
    expect(sent).toBe(2)
    const [{ litter } = { litter: [] }] = stepsOf(rig.dir, 'swept')
    expect(litter).toHaveLength(2)
    await expectTen(rig)
  })

  test('that lands after it was sent again is deleted after the grace, and the run waits for that', async () => {
    const held: Request[] = []
    let landed = false
    const intercept: Intercept = async (request, next) => {
      if (isUpload(request) && held.length === 0) {
        held.push(request.clone())
        return lost()
      }
      const [late] = held
      if (late && !landed && isCreate(request)) {
        landed = true
        isLanding = true
        await rig.emulator.fetch(late)
        isLanding = false
      }
      return next()
    }
    let isLanding = false
    // However long this machine takes over it, the grace is not over before it has landed.
    const rig: Harness = harness({ intercept }, new VirtualClock(undefined, () => isLanding))
    const before = rig.clock.now()
    expect(await new Ten(rig.options({ createGraceMs: 45_000 })).run()).toMatchObject({ complete: true })
    expect(rig.clock.now() - before).toBeGreaterThanOrEqual(45_000)
    expect(landed).toBe(true)
    expect(rig.count('POST', '/v1/files')).toBe(2)
    await expectTen(rig)
  })

  test('in doubt keeps nothing else waiting: answers are handed out before the grace is over', async () => {
    const rig = harness({ intercept: once(isUpload, async () => lost()) })
    const clock = new HeldClock(rig.clock)
    class Releasing extends Ten {
      override processResponse(response: TaskResponse) {
        clock.release()
        return super.processResponse(response)
      }
    }
    const run = new Releasing(rig.options({ clock, createGraceMs: LONG_MS })).run()
    expect(await run).toMatchObject({ complete: true })
    expect(clock.held).toBe(1)
    expect(kinds(rig.dir)).toContain('swept')
  })

  test('in doubt is searched for by the next run when this one is stopped', async () => {
    const held: Request[] = []
    const intercept: Intercept = async (request, next) => {
      if (!isUpload(request) || held.length > 0) return next()
      held.push(await copyOf(request))
      return lost()
    }
    const rig = harness({ intercept })
    const stop = new AbortController()
    const reporter = {
      onEvent: (event: { kind: string; counts?: { succeeded: number } }) => {
        if (event.kind === 'judged' && event.counts?.succeeded === 10) stop.abort()
      },
    }
    const clock = new HeldClock(rig.clock)
    const reporters = [reporter]
    const first = rig.options({ stop: stop.signal, reporters, clock, createGraceMs: LONG_MS })
    expect(await new Ten(first).run()).toMatchObject({ outcome: 'interrupted', succeeded: 10 })
    expect(kinds(rig.dir)).not.toContain('swept')
    const [late] = held
    if (late) await rig.emulator.fetch(late)
    expect(await remote(rig.emulator, 'files')).not.toEqual([])
    expect(await new Ten(rig.options()).run()).toMatchObject({ complete: true })
    await expectTen(rig)
  })

  test('is never looked for in a run without doubts', async () => {
    const rig = harness()
    expect(await new Ten(rig.options({ maxBatchRequests: 3 })).run()).toMatchObject({ complete: true })
    expect(rig.count('GET', /^\/v1\/files\?/)).toBe(0)
    expect(rig.count('GET', /^\/v1\/batches\?/)).toBe(rig.count('GET', '/v1/batches?limit=100'))
  })

  test.each([false, true])(
    'during which the process dies leaves no file (server acted: %s), nor any of other people',
    async (acted) => {
      const rig = harness()
      const own = `nightshift-${'0'.repeat(8)}-1-${'0'.repeat(12)}.jsonl`
      await rig.emulator.fetch('http://console.test/v1/files', { method: 'POST', body: foreignFile(own) })
      const crash = crashing(rig, { at: (seen) => isKind(seen, 'POST', '/v1/files'), acted })
      const dead = new Ten(crash.options).run()
      const dir = await crash.folder
      expect(await new Ten(rig.options({ taskDir: dir })).run()).toMatchObject({ complete: true, batches: 1 })
      crash.bury()
      await dead
      expect(rig.count('POST', '/v1/files')).toBe(acted ? 1 : 2)
      expect(kinds(dir)).toEqual(expect.arrayContaining(['upload-doubt', 'swept']))
      expect(await remote(rig.emulator, 'files')).toMatchObject([{ filename: own }])
    },
  )

  test('that is refused 429 is sent again without any doubt', async () => {
    let failures = 0
    const intercept: Intercept = async (request, next) =>
      isUpload(request) && failures++ < 5 ? failure(429, 'slow down') : next()
    const rig = harness({ intercept })
    expect(await new Ten(rig.options()).run()).toMatchObject({ complete: true, succeeded: 10 })
    expect(rig.count('POST', '/v1/files')).toBe(6)
    expect(kinds(rig.dir)).not.toContain('upload-doubt')
    await expectTen(rig)
  })

  test('whose answers never come ends the run after maxWait, and the next run goes on', async () => {
    let failing = true
    const intercept: Intercept = async (request, next) => (failing && isUpload(request) ? lost() : next())
    const rig = harness({ intercept })
    const summary = await new Ten(rig.options({ maxWait: 120 })).run()
    expect(summary).toMatchObject({ complete: false, outcome: 'waited', pending: 10 })
    failing = false
    expect(await new Ten(rig.options()).run()).toMatchObject({ complete: true, succeeded: 10, batches: 1 })
    await expectTen(rig)
  })

  test('does not fail the run when the server refuses to list files in the end', async () => {
    let doubted = false
    const intercept: Intercept = async (request, next) => {
      const isList = isKind(kindOf(request), 'GET', /^\/v1\/files\?/)
      if (isList && rig.count('POST', '/v1/batches') > 0) return failure(405, 'no such thing')
      if (doubted || !isUpload(request)) return next()
      doubted = true
      return lost()
    }
    const rig: Harness = harness({ intercept })
    expect(await new Ten(rig.options()).run()).toMatchObject({ complete: true, succeeded: 10 })
    expect(rig.warnings('not_swept')).toHaveLength(1)
  })

  test('that fails for a while is waited for', async () => {
    let failures = 0
    const intercept: Intercept = async (request, next) =>
      isUpload(request) && failures++ < 8 ? failure(503, 'maintenance') : next()
    const rig = harness({ intercept })
    expect(await new Ten(rig.options()).run()).toMatchObject({ complete: true, succeeded: 10 })
    expect(rig.events.some(({ kind }) => kind === 'waiting')).toBe(true)
    await expectTen(rig)
  })

  test('that the server refuses blocks the file and says why', async () => {
    const rig = harness({ limits: { maxFileBytes: 500 } })
    const summary = await new Ten(rig.options()).run()
    expect(summary).toMatchObject({ outcome: 'failed-batches', pending: 10 })
    expect(summary.details.join()).toContain('larger than 500 bytes')
    expect(rig.count('POST', '/v1/batches')).toBe(0)
  })
})

describe('tidying up', () => {
  test('that fails harms nothing, and is done by the next run', async () => {
    let failing = true
    const intercept: Intercept = async (request, next) =>
      failing && isDelete(request) ? failure(403, 'read only key') : next()
    const rig = harness({ intercept })
    expect(await new Ten(rig.options()).run()).toMatchObject({ complete: true, succeeded: 10 })
    expect(rig.warnings('not_deleted')).toHaveLength(1)
    expect(await remote(rig.emulator, 'files')).toHaveLength(2)
    failing = false
    await new Ten(rig.options()).run()
    await expectTen(rig)
  })
})
