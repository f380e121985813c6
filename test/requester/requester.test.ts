import { describe, expect, test } from 'vitest'
import { accept, reject, retry } from '../../src/batch/verdict.ts'
import type { ProgressEvent } from '../../src/progress/events.ts'
import type { NewRequest } from '../../src/requester/prepare.ts'
import type { RequestResult } from '../../src/requester/request-result.ts'
import { GPTRequester } from '../../src/requester/requester.ts'
import { JsonLinesOutput } from '../../src/task/output.ts'
import { resolveOptions, type TaskOptions } from '../../src/util/options.ts'
import {
  ask,
  BASE_URL,
  type Harness,
  harness,
  NAME,
  names,
  questionOf,
  taskLines,
} from '../support/task-harness.ts'

/** A requester by itself, as a program would make one. */
function requesterOf(
  { dir, clock, options }: Harness,
  over: TaskOptions = {},
  emit: (event: ProgressEvent) => unknown = () => {},
): GPTRequester {
  const { fetch, env } = options()
  const settings = resolveOptions(
    {
      name: NAME,
      taskDir: dir,
      clientBaseUrl: BASE_URL,
      minBatchRequests: 1,
      remoteUpdateInterval: 1,
      ...over,
    },
    env,
  )
  return new GPTRequester({
    settings,
    code: { className: 'Program', endpoint: '/v1/chat/completions', schema: '' },
    prepare: { endpoint: '/v1/chat/completions', prepareBody: (body) => body },
    output: new JsonLinesOutput(),
    createParams: () => ({ made: 'once' }),
    emit,
    fetch,
    clock,
  })
}

const requests = (count: number): NewRequest[] => names(count).map((key) => ({ key, body: ask(key) }))

async function addAll(requester: GPTRequester, all: readonly NewRequest[]): Promise<string[]> {
  const outcomes: string[] = []
  for (const request of all) outcomes.push(await requester.add(request))
  await requester.commit()
  return outcomes
}

describe('a requester by itself', () => {
  test.each([
    [
      'throws',
      () => {
        throw new Error('no room')
      },
    ],
    // One that is async type-checks as one that returns nothing.
    ['rejects', () => Promise.reject(new Error('no room'))],
  ])('goes on when what it tells of its progress %s', async (_, emit) => {
    const rig = harness({ answer: questionOf })
    const warnings: string[] = []
    const listen = ({ message }: Error) => void warnings.push(message)
    process.on('warning', listen)
    const requester = requesterOf(rig, {}, emit)
    await requester.open()
    requester.tellFigures()
    await addAll(requester, requests(5))
    requester.push()
    for await (const result of requester.results()) await requester.judge(result, accept(result.key))
    expect(requester.outcome.kind).toBe('complete')
    await requester.close()
    expect(taskLines(rig.dir, '_output.jsonl')).toHaveLength(5)
    await new Promise((resolve) => setImmediate(resolve))
    process.off('warning', listen)
    expect(warnings).toEqual([expect.stringMatching(/gets no more events.*no room/)])
  })

  test('adds, commits, yields each result once, and is complete when all are judged', async () => {
    const rig = harness({ answer: questionOf })
    await using requester = requesterOf(rig)
    await requester.open()
    expect(requester.params).toEqual({ made: 'once' })
    expect(await addAll(requester, requests(5))).toEqual(Array(5).fill('added'))
    expect(requester.state.counters).toEqual({ requests: 5, succeeded: 0, failed: 0, pending: 5 })
    requester.push()
    for await (const result of requester.results()) {
      expect(result).toMatchObject({
        attempt: 0,
        via: 'batch',
        params: { made: 'once' },
        outcome: { kind: 'reply' },
      })
      expect(await requester.judge(result, accept(result.key))).toEqual({ kind: 'accepted' })
    }
    expect(requester.outcome.kind).toBe('complete')
    expect(taskLines(rig.dir, '_output.jsonl')).toEqual(names(5))
  })

  test('knows keys that were committed, in memory or in an earlier run', async () => {
    const rig = harness()
    const first = requesterOf(rig)
    await first.open()
    expect(await addAll(first, [...requests(2), ...requests(2)])).toEqual([
      'added',
      'added',
      'known',
      'known',
    ])
    await first.close()
    await using second = requesterOf(rig)
    await second.open()
    expect(await second.add({ key: 'k-1', body: ask('something else') })).toBe('known')
    expect(await addAll(second, [...requests(1), { key: 'k-2', body: ask('k-2') }])).toEqual([
      'known',
      'added',
    ])
    expect(second.changedBodies).toBe(1)
  })

  test('sends directly what is to go directly, whatever its number, and mixes it with batches', async () => {
    const rig = harness()
    await using requester = requesterOf(rig)
    await requester.open()
    await addAll(requester, requests(4))
    await requester.direct([{ key: 'now', body: ask('now'), meta: { urgent: true } }])
    const results: RequestResult[] = []
    for await (const result of requester.results()) {
      results.push(result)
      await requester.judge(result, accept())
    }
    expect(results.map(({ key, via }) => `${key} ${via}`).sort()).toEqual([
      'k-0 batch',
      'k-1 batch',
      'k-2 batch',
      'k-3 batch',
      'now direct',
    ])
    expect(results.find(({ key }) => key === 'now')).toMatchObject({ meta: { urgent: true } })
    expect(rig.count('POST', '/v1/chat/completions')).toBe(1)
  })

  test('asks once for a key that two calls bring at one time', async () => {
    const rig = harness()
    await using requester = requesterOf(rig)
    await requester.open()
    const one = [{ key: 'one', body: ask('one') }]
    await Promise.all([
      requester.direct(one),
      requester.direct(one),
      requester.add({ key: 'one', body: ask('one') }),
    ])
    const keys: string[] = []
    for await (const result of requester.results()) {
      keys.push(result.key)
      await requester.judge(result, accept())
    }
    expect(keys).toEqual(['one'])
    expect(requester.state.counters.requests).toBe(1)
  })

  test('lets requests be added while results come in', async () => {
    const rig = harness()
    await using requester = requesterOf(rig)
    await requester.open()
    await addAll(requester, requests(1))
    let last = 0
    for await (const result of requester.results()) {
      await requester.judge(result, accept(result.key))
      if (++last < 5) await addAll(requester, [{ key: `k-${last}`, body: ask('next') }])
    }
    expect(taskLines(rig.dir, '_output.jsonl')).toEqual(names(5))
  })

  test('results can be asked for again after more was added', async () => {
    const rig = harness()
    await using requester = requesterOf(rig)
    await requester.open()
    for (const key of names(3)) {
      await addAll(requester, [{ key, body: ask(key) }])
      for await (const result of requester.results()) await requester.judge(result, accept(result.key))
      expect(requester.outcome.kind).toBe('complete')
    }
    expect(taskLines(rig.dir, '_output.jsonl')).toEqual(names(3))
  })
})

describe('judge', () => {
  test.each([
    ['direct calls', { forceDirect: true }],
    ['batches', {}],
  ])('results of %s that a consumer broke off at are given again', async (_, over) => {
    const rig = harness()
    await using requester = requesterOf(rig, over)
    await requester.open()
    await addAll(requester, requests(6))
    for (let seen = 0; seen < 3; seen++) {
      for await (const { outcome } of requester.results()) {
        expect(outcome.kind).toBe('reply')
        break
      }
    }
    for await (const result of requester.results()) await requester.judge(result, accept(result.key))
    expect(requester.outcome.kind).toBe('complete')
    expect(taskLines<string>(rig.dir, '_output.jsonl').sort()).toEqual(names(6))
  })

  test('commits retry and reject with their reasons', async () => {
    const rig = harness()
    await using requester = requesterOf(rig, { maxRetries: 1 })
    await requester.open()
    await addAll(requester, requests(2))
    const said: unknown[] = []
    for await (const result of requester.results()) {
      const verdict = result.key === 'k-0' ? retry('again') : reject('bad', { remember: 1 })
      said.push([result.key, result.attempt, await requester.judge(result, verdict)])
    }
    expect(said).toEqual([
      ['k-0', 0, { kind: 'queued-again', reason: 'again' }],
      ['k-1', 0, { kind: 'rejected', reason: 'bad' }],
      ['k-0', 1, { kind: 'rejected', reason: 'again (failed 2 times)' }],
    ])
    expect(requester.sample('k-1')).toEqual({
      pending: 0,
      succeeded: 0,
      failed: 1,
      remembered: [{ key: 'k-1', value: 1 }],
    })
  })

  test('takes another output and another sample than the verdict says', async () => {
    const rig = harness()
    await using requester = requesterOf(rig)
    await requester.open()
    await addAll(requester, requests(1))
    for await (const result of requester.results())
      await requester.judge(result, accept('mine', { remember: 2 }), { output: 'yours', sample: 'other' })
    expect(taskLines(rig.dir, '_output.jsonl')).toEqual(['yours'])
    expect(requester.sample('other')?.remembered).toEqual([{ key: 'k-0', value: 2 }])
  })

  test('a second time for the same result is refused, and changes nothing', async () => {
    const rig = harness()
    await using requester = requesterOf(rig)
    await requester.open()
    await addAll(requester, requests(1))
    for await (const result of requester.results()) {
      await requester.judge(result, accept('once'))
      await expect(requester.judge(result, accept('twice'))).rejects.toMatchObject({ code: 'already_judged' })
    }
    expect(taskLines(rig.dir, '_output.jsonl')).toEqual(['once'])
  })

  test('results that were not judged are delivered again by the next run, without being asked for again', async () => {
    const rig = harness()
    const first = requesterOf(rig)
    await first.open()
    await addAll(first, requests(6))
    for await (const result of first.results()) {
      if (result.key === 'k-3') break
      await first.judge(result, accept(result.key))
    }
    await first.close()
    await using second = requesterOf(rig)
    await second.open()
    const keys: string[] = []
    for await (const result of second.results()) {
      keys.push(result.key)
      await second.judge(result, accept(result.key))
    }
    expect(keys).toEqual(['k-3', 'k-4', 'k-5'])
    expect(rig.count('POST', '/v1/batches')).toBe(1)
    expect(taskLines(rig.dir, '_output.jsonl')).toEqual(names(6))
  })
})

describe('its life', () => {
  test('before open and after close it refuses work', async () => {
    const requester = requesterOf(harness())
    await expect(requester.add({ key: 'a', body: ask('a') })).rejects.toMatchObject({ code: 'not_open' })
    await requester.open()
    await requester.close()
    await expect(requester.add({ key: 'a', body: ask('a') })).rejects.toMatchObject({ code: 'not_open' })
  })

  test('close may be called twice, and lets the next one open', async () => {
    const rig = harness()
    const first = requesterOf(rig)
    await first.open()
    await Promise.all([first.close(), first.close()])
    const second = requesterOf(rig)
    await second.open()
    await second.close()
  })

  test('close in the middle of the work leaves it to the next run', async () => {
    const rig = harness({ latency: { runMs: 60_000 } })
    const first = requesterOf(rig)
    await first.open()
    await addAll(first, requests(3))
    first.push()
    await first.close()
    await using second = requesterOf(rig)
    await second.open()
    for await (const result of second.results()) await second.judge(result, accept(result.key))
    expect(second.outcome.kind).toBe('complete')
    expect(rig.count('POST', '/v1/batches')).toBe(1)
    expect(taskLines(rig.dir, '_output.jsonl')).toEqual(names(3))
  })

  test('a second one on the same task is refused', async () => {
    const rig = harness()
    await using first = requesterOf(rig)
    await first.open()
    await expect(requesterOf(rig).open()).rejects.toMatchObject({ name: 'LockError' })
  })
})
