import { setImmediate as turn } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { accept, reject, retry } from '../../src/batch/verdict.ts'
import { TaskManager } from '../../src/task/task-manager.ts'
import type { SampleView, TaskResponse } from '../../src/task/task-types.ts'
import { ask, harness, names, questionOf } from '../support/task-harness.ts'

describe('what hooks see of a sample', () => {
  test('counts the reply in hand as answered', async () => {
    const { options } = harness()
    const views: SampleView[] = []
    class Three extends TaskManager {
      *generateRequests() {
        for (const key of names(3)) yield { key, sample: 's', body: ask(key) }
      }

      processResponse() {
        views.push(this.samples.get('s'))
        return accept()
      }
    }
    await new Three(options()).run()
    expect(views.map(({ pending, succeeded, failed }) => [pending, succeeded, failed])).toEqual([
      [2, 1, 0],
      [1, 2, 0],
      [0, 3, 0],
    ])
  })

  test('counts a failed attempt in hand as failed, and as pending again when it is retried', async () => {
    const { options } = harness({ failureRate: 1 })
    const seen: string[] = []
    class Unlucky extends TaskManager {
      *generateRequests() {
        yield { key: 'a', body: ask('a') }
      }

      override processFailure() {
        const { pending, failed } = this.samples.get('a')
        seen.push(`failure: ${pending} pending, ${failed} failed`)
        return retry('once more')
      }

      processResponse() {
        const { pending, succeeded, failed } = this.samples.get('a')
        seen.push(`response: ${pending} pending, ${succeeded} succeeded, ${failed} failed`)
        return accept()
      }
    }
    await new Unlucky(options()).run()
    expect(seen).toEqual(['failure: 0 pending, 1 failed', 'response: 0 pending, 1 succeeded, 0 failed'])
  })

  test('is zeros for a sample nobody has heard of', async () => {
    const { options } = harness()
    class One extends TaskManager {
      *generateRequests() {
        expect(this.samples.has('a')).toBe(false)
        expect(this.samples.get('a')).toEqual({ pending: 0, succeeded: 0, failed: 0, remembered: [] })
        yield { key: 'a', body: ask('a') }
      }

      processResponse() {
        expect(this.samples.has('a')).toBe(true)
        expect(this.samples.has('b')).toBe(false)
        return accept()
      }
    }
    expect(await new One(options()).run()).toMatchObject({ succeeded: 1 })
  })

  test('holds what verdicts remembered, in their order, accepted or rejected', async () => {
    const { options } = harness({ answer: questionOf })
    class Remembering extends TaskManager {
      *generateRequests() {
        for (const word of ['yes', 'no', 'maybe'])
          yield { key: word, sample: 'votes', body: ask(word), meta: word.length }
      }

      processResponse({ text, meta }: TaskResponse) {
        return text === 'no'
          ? reject('not wanted', { remember: { text, meta } })
          : accept(text, { remember: { text, meta } })
      }
    }
    const task = new Remembering(options())
    expect(await task.run()).toMatchObject({ complete: true, succeeded: 2, failed: 1 })
    const remembered = [
      { key: 'yes', value: { text: 'yes', meta: 3 } },
      { key: 'no', value: { text: 'no', meta: 2 } },
      { key: 'maybe', value: { text: 'maybe', meta: 5 } },
    ]
    expect(task.samples.get('votes')).toEqual({ pending: 0, succeeded: 2, failed: 1, remembered })

    const later = new Remembering(options())
    await later.run()
    expect(later.samples.get('votes').remembered).toEqual(remembered)
  })

  test('lets the last reply of a sample conclude it', async () => {
    const { options } = harness({ answer: questionOf })
    const concluded: string[] = []
    class Sums extends TaskManager {
      *generateRequests() {
        for (const sample of names(30, 's'))
          for (const part of ['1', '2', '3']) yield { key: `${sample}/${part}`, sample, body: ask(part) }
      }

      processResponse({ sample, text }: TaskResponse) {
        const { pending, remembered } = this.samples.get(sample)
        if (pending > 0) return accept(undefined, { remember: Number(text) })
        const sum = remembered.reduce((all, { value }) => all + Number(value), Number(text))
        concluded.push(`${sample}=${sum}`)
        return accept({ sample, sum })
      }
    }
    await new Sums(options({ maxBatchRequests: 20 })).run()
    expect(concluded.sort()).toEqual(
      names(30, 's')
        .map((sample) => `${sample}=6`)
        .sort(),
    )
  })
})

describe('with processConcurrency', () => {
  test('several replies are in work at once, but of one sample only one', async () => {
    const { options } = harness()
    const busy = new Map<string, number>()
    let most = 0
    let mostOfOneSample = 0
    let atOnce = 0
    class Busy extends TaskManager {
      *generateRequests() {
        for (const [at, key] of names(60).entries())
          yield { key, sample: `s-${Math.floor(at / 3)}`, body: ask(key) }
      }

      async processResponse({ sample }: TaskResponse) {
        atOnce++
        busy.set(sample, (busy.get(sample) ?? 0) + 1)
        most = Math.max(most, atOnce)
        mostOfOneSample = Math.max(mostOfOneSample, ...busy.values())
        for (let turns = 0; turns < 5; turns++) await turn()
        busy.set(sample, (busy.get(sample) ?? 0) - 1)
        atOnce--
        return accept(sample)
      }
    }
    const summary = await new Busy(options({ processConcurrency: 8 })).run()
    expect(summary).toMatchObject({ complete: true, succeeded: 60 })
    expect(mostOfOneSample).toBe(1)
    expect(most).toBeGreaterThan(1)
    expect(most).toBeLessThanOrEqual(8)
  })

  test('remembers in an order that follows the verdicts of the sample', async () => {
    const { options } = harness({ answer: questionOf })
    class Counting extends TaskManager {
      *generateRequests() {
        for (const sample of names(5, 's'))
          for (let at = 0; at < 6; at++) yield { key: `${sample}/${at}`, sample, body: ask(`${at}`) }
      }

      async processResponse({ sample }: TaskResponse) {
        const before = this.samples.get(sample).remembered.length
        for (let turns = 0; turns < 5; turns++) await turn()
        return accept(undefined, { remember: before })
      }
    }
    const task = new Counting(options({ processConcurrency: 4 }))
    await task.run()
    for (const sample of names(5, 's'))
      expect(task.samples.get(sample).remembered.map(({ value }) => value)).toEqual([0, 1, 2, 3, 4, 5])
  })

  test('a hook that throws stops the run; verdicts before it stay, and the next run judges the rest', async () => {
    const { options, count } = harness()
    let broken = true
    class Fragile extends TaskManager {
      *generateRequests() {
        for (const key of names(20)) yield { key, body: ask(key) }
      }

      async processResponse({ key }: TaskResponse) {
        await turn()
        if (broken && key === 'k-13') throw new Error('disk of the author is full')
        return accept(key)
      }
    }
    const run = new Fragile(options({ processConcurrency: 4 })).run()
    await expect(run).rejects.toThrow(/processResponse failed for key "k-13": disk of the author is full/)
    broken = false
    const summary = await new Fragile(options()).run()
    expect(summary).toMatchObject({ complete: true, succeeded: 20 })
    expect(summary.judged).toBeLessThanOrEqual(8)
    expect(count('POST', '/v1/batches')).toBe(1)
  })
})
