import { setImmediate as turn } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { accept } from '../../src/batch/verdict.ts'
import { TaskManager } from '../../src/task/task-manager.ts'
import type { TaskResponse } from '../../src/task/task-types.ts'
import { ask, harness, names, questionOf, stepsOf, taskLines } from '../support/task-harness.ts'

describe('pulling requests', () => {
  test('stops soon after the queue is full, however many requests there are', async () => {
    const { options, count } = harness()
    let pulled = 0
    class Endless extends TaskManager {
      *generateRequests() {
        for (; pulled < 1_000_000; pulled++) yield { key: `k-${pulled}`, body: ask('hello') }
      }

      processResponse({ key }: TaskResponse) {
        return accept({ key })
      }
    }
    const blocked = { maxRemoteBatches: 0, maxBatchRequests: 100, maxUnpushedBatches: 3 }
    const summary = await new Endless(options(blocked)).run()
    expect(summary).toMatchObject({ outcome: 'limits', succeeded: 0 })
    expect(summary.pending).toBe(summary.requests)
    expect(pulled).toBeGreaterThanOrEqual(300)
    expect(pulled).toBeLessThanOrEqual(1_500)
    expect(count('POST', /./)).toBe(0)
  })

  test('goes on as batches are pushed, until all is answered', async () => {
    const { options, dir } = harness()
    class Numbers extends TaskManager {
      *generateRequests() {
        for (const key of names(400)) yield { key, body: ask(key) }
      }

      processResponse({ key }: TaskResponse) {
        return accept(key)
      }
    }
    const small = { maxBatchRequests: 25, maxUnpushedBatches: 1, maxRemoteBatches: 2 }
    const summary = await new Numbers(options(small)).run()
    expect(summary).toMatchObject({ complete: true, requests: 400, succeeded: 400, added: 400 })
    expect(summary.batches).toBeGreaterThanOrEqual(15)
    expect(new Set(taskLines<string>(dir, '_output.jsonl'))).toEqual(new Set(names(400)))
  })

  test('waits for an asynchronous generator', async () => {
    const { options, dir } = harness()
    class Slow extends TaskManager {
      async *generateRequests() {
        for (const key of names(20)) {
          await turn()
          yield { key, body: ask(key) }
        }
      }

      processResponse({ key }: TaskResponse) {
        return accept(key)
      }
    }
    const summary = await new Slow(options()).run()
    expect(summary).toMatchObject({ complete: true, succeeded: 20, batches: 1 })
    expect(taskLines(dir, '_output.jsonl')).toEqual(names(20))
  })

  test('fails the run when the generator throws, and keeps what it gave before', async () => {
    const { options } = harness()
    let broken = true
    class Fragile extends TaskManager {
      *generateRequests() {
        yield* names(5).map((key) => ({ key, body: ask(key) }))
        if (broken) throw new Error('the data set is damaged')
        yield { key: 'last', body: ask('last') }
      }

      processResponse({ key }: TaskResponse) {
        return accept(key)
      }
    }
    await expect(new Fragile(options()).run()).rejects.toThrow('the data set is damaged')
    broken = false
    expect(await new Fragile(options()).run()).toMatchObject({ complete: true, requests: 6, succeeded: 6 })
  })
})

describe('keys', () => {
  class Texts extends TaskManager {
    static texts: Record<string, string> = {}
    static passes = 0;

    *generateRequests() {
      Texts.passes++
      for (const [key, text] of Object.entries(Texts.texts)) yield { key, body: ask(text) }
    }

    processResponse({ key, text }: TaskResponse) {
      return accept({ key, text })
    }
  }

  test('that are committed are skipped in the next run', async () => {
    const { options, count, dir } = harness({ answer: questionOf })
    Texts.texts = { a: 'one', b: 'two' }
    await new Texts(options()).run()
    Texts.texts = { a: 'one', b: 'two', c: 'three' }
    const summary = await new Texts(options()).run()
    expect(summary).toMatchObject({ complete: true, requests: 3, succeeded: 3, added: 1, judged: 1 })
    expect(count('POST', '/v1/batches')).toBe(2)
    expect(taskLines(dir, '_output.jsonl')).toEqual([
      { key: 'a', text: 'one' },
      { key: 'b', text: 'two' },
      { key: 'c', text: 'three' },
    ])
  })

  test('with another body than in an earlier run are counted in one warning, and keep the first', async () => {
    const { options, warnings, dir } = harness({ answer: questionOf })
    Texts.texts = { a: 'one', b: 'two', c: 'three' }
    await new Texts(options()).run()
    expect(warnings('changed_bodies')).toEqual([])
    Texts.texts = { a: 'ONE', b: 'two', c: 'THREE' }
    const summary = await new Texts(options()).run()
    expect(summary).toMatchObject({ complete: true, requests: 3, added: 0 })
    expect(warnings('changed_bodies')).toHaveLength(1)
    expect(warnings('changed_bodies')[0]).toMatch(/^2 keys/)
    expect(taskLines(dir, '_output.jsonl')).toContainEqual({ key: 'a', text: 'one' })
  })

  test('given twice with two bodies in one pass are an error that names the key', async () => {
    class Twice extends TaskManager {
      *generateRequests() {
        for (const key of names(510)) yield { key, body: ask(key) }
        yield { key: 'k-3', body: ask('another') }
      }

      processResponse() {
        return accept()
      }
    }
    const { options } = harness()
    const error = { code: 'duplicate_key', message: expect.stringContaining('"k-3"') }
    await expect(new Twice(options()).run()).rejects.toMatchObject(error)
  })

  test('given twice with the same body are one request', async () => {
    class Same extends TaskManager {
      *generateRequests() {
        for (const key of [...names(4), ...names(4)]) yield { key, body: ask(key) }
      }

      processResponse({ key }: TaskResponse) {
        return accept(key)
      }
    }
    const { options } = harness()
    expect(await new Same(options()).run()).toMatchObject({ complete: true, requests: 4, succeeded: 4 })
  })

  test.each([
    [{ key: '', body: ask('x') }, 'key must be a text'],
    [{ key: 'a', body: { ...ask('x'), model: '' } }, 'body.model must name a model'],
    [{ key: 'a', body: { ...ask('x'), seed: Number.NaN } }, 'cannot be written as JSON'],
    [{ key: 'a', body: ask('x'), sample: '' }, 'sample must be a text'],
    [
      { key: 'a', body: ask('x'), meta: { big: 1n } },
      'meta of request "a" cannot be written as JSON at $.big',
    ],
  ])('and bodies that cannot be sent stop the run with a reason: %#', async (request, reason) => {
    class Bad extends TaskManager {
      *generateRequests() {
        yield request
      }

      processResponse() {
        return accept()
      }
    }
    const { options, seen } = harness()
    await expect(new Bad(options()).run()).rejects.toThrow(reason)
    expect(seen).toEqual([])
  })
})

describe('asking for more', () => {
  test('scans the generator a few times, not once per verdict', async () => {
    const { options, dir } = harness()
    const wanted = 4
    class UntilEnough extends TaskManager {
      passes = 0;

      *generateRequests() {
        this.passes++
        for (const sample of names(40, 's')) {
          const { pending, succeeded } = this.samples.get(sample)
          const asked = pending + succeeded
          for (let opinion = 0; opinion < Math.max(asked, Math.min(succeeded + 1, wanted)); opinion++)
            yield { key: `${sample}/${opinion}`, sample, body: ask(`${sample} ${opinion}`) }
        }
      }

      processResponse({ key, sample }: TaskResponse) {
        const more = this.samples.get(sample).succeeded < wanted
        return accept(key, { more })
      }
    }
    const task = new UntilEnough(options())
    expect(await task.run()).toMatchObject({ complete: true, requests: 40 * wanted, succeeded: 40 * wanted })
    expect(task.passes).toBeGreaterThanOrEqual(wanted)
    expect(task.passes).toBeLessThanOrEqual(8 * wanted + 2)
    expect(new Set(taskLines(dir, '_output.jsonl')).size).toBe(40 * wanted)
  })

  test('goes on in the next run from what the samples hold', async () => {
    const { options } = harness()
    let wanted = 1
    class Growing extends TaskManager {
      *generateRequests() {
        for (let at = 0; at < wanted; at++) yield { key: `s/${at}`, sample: 's', body: ask(`${at}`) }
      }

      processResponse({ key }: TaskResponse) {
        return accept(key, { remember: key })
      }
    }
    await new Growing(options()).run()
    wanted = 3
    const second = new Growing(options())
    await second.run()
    expect(second.samples.get('s')).toMatchObject({
      pending: 0,
      succeeded: 3,
      remembered: names(3, 's').map((_, at) => ({ key: `s/${at}`, value: `s/${at}` })),
    })
  })

  test('that brings nothing new ends the run', async () => {
    const { options } = harness()
    class Greedy extends TaskManager {
      passes = 0;

      *generateRequests() {
        this.passes++
        for (const key of names(10)) yield { key, body: ask(key) }
      }

      processResponse({ key }: TaskResponse) {
        return accept(key, { more: true })
      }
    }
    const task = new Greedy(options())
    expect(await task.run()).toMatchObject({ complete: true, requests: 10 })
    expect(task.passes).toBeLessThanOrEqual(10)
  })

  test('in a large task costs passes in proportion to the changes, not to the verdicts', async () => {
    const { options, dir } = harness()
    class Large extends TaskManager {
      passes = 0;

      *generateRequests() {
        this.passes++
        for (const sample of names(400, 's')) {
          yield { key: `${sample}/0`, sample, body: ask(sample) }
          if (this.samples.get(sample).succeeded > 0)
            yield { key: `${sample}/1`, sample, body: ask(`${sample} again`) }
        }
      }

      processResponse({ key }: TaskResponse) {
        return accept(key, { more: key.endsWith('/0') })
      }
    }
    const task = new Large(options())
    expect(await task.run()).toMatchObject({ complete: true, succeeded: 800 })
    expect(task.passes).toBeLessThanOrEqual(12)
    expect(stepsOf(dir, 'created').length).toBeLessThanOrEqual(12)
  })
})
