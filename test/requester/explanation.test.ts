import { appendFileSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { accept, reject, retry, type Verdict } from '../../src/batch/verdict.ts'
import { httpAnswer, type Intercept } from '../../src/emulator/index.ts'
import { type Explanation, explain } from '../../src/requester/explanation.ts'
import type { HistoryEvent } from '../../src/requester/history.ts'
import { readStatus } from '../../src/requester/status.ts'
import { nodeFileSystem } from '../../src/state/file-system.ts'
import { decodeLine, encodeLine } from '../../src/state/ledger-line.ts'
import { TaskManager } from '../../src/task/task-manager.ts'
import type { TaskRequest, TaskResponse } from '../../src/task/task-types.ts'
import {
  ask,
  crashing,
  type Harness,
  harness,
  isKind,
  kindOf,
  NAME,
  names,
  taskLines,
} from '../support/task-harness.ts'

class Ten extends TaskManager {
  *generateRequests(): Iterable<TaskRequest> {
    for (const key of names(10)) yield { key, body: ask(key) }
  }

  processResponse({ key }: TaskResponse): Verdict {
    return accept(key)
  }
}

const explained = (dir: string, key = 'k-3'): Promise<Explanation> =>
  explain(nodeFileSystem, { directory: dir, name: NAME }, key)

const eventsOf = ({ lives }: Explanation): readonly HistoryEvent[] => lives.flatMap(({ events }) => events)
const kindsOf = (found: Explanation): string[] => eventsOf(found).map(({ kind }) => kind)

describe('the history of a request', () => {
  test('that a batch answered', async () => {
    const rig = harness()
    const began = rig.clock.now()
    await new Ten(rig.options()).run()
    const found = await explained(rig.dir)
    expect(found).toMatchObject({ task: NAME, key: 'k-3', failure: null, body: null })
    expect(found.lives).toMatchObject([
      { request: 4, sample: 'k-3', paramsVersion: 1, state: 'succeeded', attempts: 1, model: 'gpt-5-mini' },
    ])
    expect(kindsOf(found).filter((kind) => kind !== 'batch-status')).toEqual([
      'added',
      'sealed',
      'announced',
      'uploaded',
      'batch-created',
      'batch-ended',
      'received',
      'accepted',
    ])
    const events = eventsOf(found)
    expect(events[0]).toEqual({
      at: new Date(began).toISOString(),
      kind: 'added',
      file: 1,
      customId: 'r4-0',
    })
    expect(events.at(-1)).toMatchObject({
      output: `${NAME}_output.jsonl`,
      requestId: expect.stringMatching(/^req_/),
    })
    const times = events.map(({ at }) => Date.parse(at))
    expect(times).toEqual(times.toSorted((a, b) => a - b))
    const listed = await rig.emulator.fetch('http://console.test/v1/batches')
    const [batch] = JSON.parse(await listed.text()).data
    expect(events).toContainEqual(
      expect.objectContaining({ kind: 'batch-created', batchId: batch.id, adopted: false }),
    )
  })

  test('that was asked again directly, with another body', async () => {
    const rig = harness()
    class Again extends Ten {
      override *generateRequests() {
        yield { key: 'k-3', body: ask('what?'), meta: { page: 7 }, sample: 'book' }
      }
      override processResponse({ attempt }: TaskResponse) {
        return attempt === 1 ? retry('too vague', { body: ask('what exactly?') }) : accept('fine')
      }
    }
    const summary = await new Again(rig.options({ minBatchRequests: 2 })).run()
    const found = await explained(rig.dir)
    expect(found.lives).toMatchObject([
      { sample: 'book', meta: { page: 7 }, attempts: 2, customId: 'r1-1', state: 'succeeded' },
    ])
    const nanoUsd = Math.round(summary.cost * 1e9)
    const cost = { usd: summary.cost, nanoUsd, uncertainUsd: 0, unpriced: 0, untold: 0 }
    expect(found.lives[0]?.cost).toEqual(cost)
    const [sent] = eventsOf(found).filter(({ kind }) => kind === 'sent')
    const expected = { inputTokens: expect.any(Number), outputTokens: 1024 }
    expect(sent).toMatchObject({ expectedUsd: expect.any(Number) })
    expect(eventsOf(found)).toContainEqual(
      expect.objectContaining({
        kind: 'received',
        expected: { ...expected, costUsd: sent?.kind === 'sent' && sent.expectedUsd },
      }),
    )
    expect(kindsOf(found)).toEqual([
      ...['added', 'sealed', 'sent', 'received'],
      ...['queued-again', 'sealed', 'sent', 'received', 'accepted'],
    ])
    expect(eventsOf(found)).toContainEqual(
      expect.objectContaining({ kind: 'queued-again', why: 'retry', reason: 'too vague', repaired: true }),
    )
  })

  test('that failed for good, with its last reply', async () => {
    const rig = harness({
      answer: () => httpAnswer(400, { error: { code: 'bad_image', message: 'I see nothing' } }),
    })
    await new Ten(rig.options()).run()
    const found = await explained(rig.dir)
    expect(found.lives).toMatchObject([{ state: 'failed', attempts: 1 }])
    expect(found.failure).toMatchObject({
      reason: 'bad_image: I see nothing',
      attempts: 1,
      reply: { code: 'bad_image', status: 400 },
    })
    expect(eventsOf(found).at(-1)).toMatchObject({ kind: 'rejected', reason: 'bad_image: I see nothing' })
  })

  test('that was restored and made anew has two lives', async () => {
    const rig = harness()
    class Unwilling extends Ten {
      override processResponse({ key }: TaskResponse) {
        return key === 'k-3' ? reject('not today') : accept(key)
      }
    }
    await new Unwilling(rig.options()).run()
    await new Ten(rig.options({ retryFailed: true })).run()
    const found = await explained(rig.dir)
    expect(found.lives.map(({ state, request }) => [state, request])).toEqual([
      ['forgotten', 4],
      ['succeeded', 11],
    ])
    expect(found.lives[0]?.events.slice(-2).map(({ kind }) => kind)).toEqual(['rejected', 'restored'])
    expect(found.failure).toBeNull()
    // The others were none of its business.
    expect((await explained(rig.dir, 'k-4')).lives).toHaveLength(1)
  })

  test('that was wiped while it waited, with new parameters', async () => {
    const rig = harness()
    let version = 1
    class Versioned extends Ten {
      override createParams = () => ({ version })
    }
    await new Versioned(rig.options({ maxSessionRequests: 0 })).run()
    version = 2
    await new Versioned(rig.options({ wipeRequests: true, reinitParams: true })).run()
    const found = await explained(rig.dir)
    expect(found.lives).toMatchObject([
      { state: 'forgotten', paramsVersion: 1, attempts: 0 },
      { state: 'succeeded', paramsVersion: 2 },
    ])
    expect(found.lives[0]?.events.at(-1)).toMatchObject({ kind: 'wiped', scope: 'requests' })
  })

  test('that still waits shows where its body is', async () => {
    const rig = harness()
    await new Ten(rig.options({ maxSessionRequests: 0 })).run()
    const found = await explained(rig.dir)
    expect(found.lives).toMatchObject([{ state: 'pending', attempts: 0, cost: { usd: 0 } }])
    const bytes = JSON.stringify(ask('k-3')).length
    expect(found.body).toEqual({ file: `${NAME}_batch1.jsonl`, line: 4, model: 'gpt-5-mini', bytes })
  })

  test('whose batch failed for the fault of another is told apart from the one at fault', async () => {
    const rig = harness({ intercept: failingOnce })
    await new Ten(rig.options()).run()
    const healed = await explained(rig.dir, 'k-4')
    expect(healed.lives).toMatchObject([{ state: 'succeeded', attempts: 1 }])
    expect(eventsOf(healed)).toContainEqual(
      expect.objectContaining({ kind: 'batch-ended', status: 'failed', faults: [{ ...fault, line: 4 }] }),
    )
    expect(eventsOf(healed)).toContainEqual(expect.objectContaining({ kind: 'queued-again', why: 'healed' }))
    expect((await explained(rig.dir)).lives).toMatchObject([{ state: 'failed' }])
  })

  test('whose direct call was on the wire at a hard stop', async () => {
    const rig = harness()
    const over = { forceDirect: true, directConcurrency: 1 }
    const isThird = (() => {
      let calls = 0
      return { at: (seen: { method: string; path: string }) => isChat(seen) && ++calls === 4, acted: true }
    })()
    const crash = crashing(rig, isThird, over)
    const run = new Ten(crash.options).run()
    const taskDir = await crash.folder
    crash.bury()
    await Promise.allSettled([run])
    await new Ten(rig.options({ taskDir, ...over })).run()
    const found = await explained(taskDir)
    expect(found.lives).toMatchObject([{ state: 'succeeded', attempts: 1 }])
    expect(kindsOf(found)).toEqual([
      ...['added', 'sealed', 'sent', 'uncertain'],
      ...['queued-again', 'sealed', 'sent', 'received', 'accepted'],
    ])
  })

  test('whose batch was found at the server after a crash', async () => {
    const rig = harness()
    const isCreate = (seen: { method: string; path: string }) => isKind(seen, 'POST', '/v1/batches')
    const crash = crashing(rig, { at: isCreate, acted: true })
    const run = new Ten(crash.options).run()
    const taskDir = await crash.folder
    crash.bury()
    await Promise.allSettled([run])
    await new Ten(rig.options({ taskDir })).run()
    expect(eventsOf(await explained(taskDir))).toContainEqual(
      expect.objectContaining({ kind: 'batch-created', adopted: true }),
    )
  })

  test('that could never be sent', async () => {
    const rig = harness()
    class Large extends Ten {
      override *generateRequests() {
        yield { key: 'k-3', body: ask('x'.repeat(1_100_000)) }
      }
    }
    await new Large(rig.options({ maxBatchMb: 1 })).run()
    const found = await explained(rig.dir)
    expect(found.lives).toMatchObject([{ state: 'failed', attempts: 0, file: 0, model: null }])
    expect(found.failure?.reason).toContain('too_large')
    expect(found.lives[0]?.cost).toEqual({ usd: 0, nanoUsd: 0, uncertainUsd: 0, unpriced: 0, untold: 0 })
  })
})

const fault = { code: 'invalid_request', message: 'This line is not acceptable' }
const isChat = (seen: { method: string; path: string }) => isKind(seen, 'POST', '/v1/chat/completions')

/** The first batch ends as failed, for its fourth line. */
const failingOnce: Intercept = (() => {
  let victim: string | undefined
  return async (request, next) => {
    const response = await next()
    const { method, path } = kindOf(request)
    if (method === 'POST' && path === '/v1/batches') victim ??= JSON.parse(await response.clone().text()).id
    if (method !== 'GET' || !path.startsWith('/v1/batches')) return response
    const body = JSON.parse(await response.text())
    const errors = { object: 'list', data: [{ ...fault, line: 4 }] }
    const spoil = (batch: { id: string }) =>
      batch.id === victim
        ? { ...batch, status: 'failed', output_file_id: null, error_file_id: null, errors }
        : batch
    return Response.json(body.data ? { ...body, data: body.data.map(spoil) } : spoil(body))
  }
})()

describe('over all requests of a task', () => {
  async function run(rig: Harness) {
    class Sixty extends Ten {
      override *generateRequests() {
        for (const key of names(60)) yield { key, body: ask(key) }
      }
      override processResponse({ key, attempt }: TaskResponse) {
        if (key.endsWith('7') && attempt === 1) return retry('sevens twice')
        return key.endsWith('9') ? reject('no nines') : accept({ key })
      }
    }
    const over = { minBatchRequests: 25, maxBatchRequests: 25 }
    const summary = await new Sixty(rig.options(over)).run()
    return { summary, found: await Promise.all(names(60).map((key) => explained(rig.dir, key))) }
  }

  test('states, attempts and costs are those of the task', async () => {
    const rig = harness({ failureRate: 0.2 })
    const { summary, found } = await run(rig)
    const lives = found.map((one) => one.lives.at(-1))
    expect(lives.filter((life) => life?.state === 'succeeded')).toHaveLength(summary.succeeded)
    expect(lives.filter((life) => life?.state === 'failed')).toHaveLength(summary.failed)
    expect(lives.reduce((sum, life) => sum + (life?.attempts ?? 0), 0)).toBe(60 + summary.retries)
    const cost = lives.reduce((sum, life) => sum + (life?.cost.usd ?? 0), 0)
    expect(cost).toBeCloseTo(summary.cost, 9)
    const { tally } = await readStatus(nodeFileSystem, rig.dir, NAME)
    expect(tally.directSets).toBeGreaterThan(0)
    const reasons = taskLines<{ key: string; reason: string }>(rig.dir, '_failed.jsonl')
    for (const { key, reason } of reasons)
      expect(found.find((one) => one.key === key)?.failure?.reason).toBe(reason)
  })

  test('an older ledger, without costs and ids, says that it does not know them', async () => {
    const rig = harness({ failureRate: 0.2 })
    const { found } = await run(rig)
    withoutReplyColumns(join(rig.dir, `${NAME}_ledger.jsonl`))
    const older = await Promise.all(names(60).map((key) => explained(rig.dir, key)))
    for (const [index, { lives }] of older.entries()) {
      const [before] = found[index]?.lives ?? []
      expect(lives[0]).toMatchObject({ state: before?.state, attempts: before?.attempts })
      // What was sent directly says what it cost when it is received.
      const direct = lives[0]?.events.filter((event) => event.kind === 'received' && 'costUsd' in event)
      expect((lives[0]?.cost.untold ?? 0) + (direct?.length ?? 0)).toBe(lives[0]?.attempts)
      expect(lives[0]?.events.some((event) => 'requestId' in event)).toBe(false)
    }
  })
})

/** Writes a ledger anew as version 0.1 would have written it. */
function withoutReplyColumns(path: string): void {
  const lines = readFileSync(path, 'utf8').trimEnd().split('\n')
  const older = lines.map((line) => {
    const fields = decodeLine(Buffer.from(line))
    if (!fields) throw new Error('not a ledger line')
    const steps = fields.steps.map((step) => {
      const { ids: _, costs: __, id: ___, cost: ____, ...rest } = Object(step)
      return rest
    })
    return encodeLine({ ...fields, steps })
  })
  writeFileSync(path, Buffer.concat(older))
}

describe('a key that is not there', () => {
  test('is an error with the keys that come nearest', async () => {
    const rig = harness()
    class Texts extends Ten {
      override *generateRequests() {
        for (const key of names(500, 'text')) yield { key, body: ask(key) }
      }
    }
    await new Texts(rig.options({ maxSessionRequests: 0 })).run()
    await expect(explained(rig.dir, 'tetx-42')).rejects.toMatchObject({
      code: 'unknown_key',
      message: expect.stringContaining('did you mean "text-42"'),
    })
    await expect(explained(rig.dir, 'TEXT-42')).rejects.toThrow('"text-42"')
    await expect(explained(rig.dir, 'nothing like it')).rejects.toThrow(/"nothing like it"$/)
    await expect(explained(rig.dir, '')).rejects.toMatchObject({ code: 'unknown_key' })
  })
})

test('a ledger of a newer version is refused, not half told', async () => {
  const rig = harness()
  await new Ten(rig.options()).run()
  const path = join(rig.dir, `${NAME}_ledger.jsonl`)
  const seq = readFileSync(path, 'utf8').trimEnd().split('\n').length + 1
  const steps = [{ kind: 'teleported', file: 1 }]
  appendFileSync(path, encodeLine({ seq, at: rig.clock.now(), files: {}, gone: [], steps }))
  await expect(explained(rig.dir)).rejects.toMatchObject({ code: 'newer_version' })
  await expect(readStatus(nodeFileSystem, rig.dir, NAME)).rejects.toMatchObject({ code: 'newer_version' })
})
