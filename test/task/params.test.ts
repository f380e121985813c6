import { describe, expect, test } from 'vitest'
import { accept } from '../../src/batch/verdict.ts'
import { TaskManager } from '../../src/task/task-manager.ts'
import type { TaskResponse } from '../../src/task/task-types.ts'
import { ask, harness, taskLines } from '../support/task-harness.ts'

class Styled extends TaskManager {
  static style = 'plain'
  static keys: string[] = []

  override createParams() {
    return { style: Styled.style }
  }

  *generateRequests() {
    for (const key of Styled.keys) yield { key, body: ask(JSON.stringify(this.params)) }
  }

  processResponse({ key, params, body }: TaskResponse) {
    return accept({ key, params, asked: JSON.stringify(body).includes(Styled.style) })
  }
}

describe('the parameters of a task', () => {
  test('are made once and stay what they were in later runs', async () => {
    const { options } = harness()
    Styled.keys = ['a']
    Styled.style = 'plain'
    const first = new Styled(options())
    expect(first.params).toBeUndefined()
    await first.run()
    expect(first.params).toEqual({ style: 'plain' })
    Styled.style = 'fancy'
    const second = new Styled(options())
    await second.run()
    expect(second.params).toEqual({ style: 'plain' })
  })

  test('are replaced by reinitParams, while pending requests keep theirs', async () => {
    const { options, dir } = harness()
    Styled.keys = ['a']
    Styled.style = 'plain'
    await new Styled(options({ maxSessionRequests: 0 })).run()
    Styled.keys = ['a', 'b']
    Styled.style = 'fancy'
    const task = new Styled(options({ reinitParams: true }))
    expect(await task.run()).toMatchObject({ complete: true, succeeded: 2 })
    expect(task.params).toEqual({ style: 'fancy' })
    const lines = taskLines(dir, '_output.jsonl')
    expect(lines).toHaveLength(2)
    expect(lines).toContainEqual({ key: 'a', params: { style: 'plain' }, asked: false })
    expect(lines).toContainEqual({ key: 'b', params: { style: 'fancy' }, asked: true })
  })

  test('that cannot be written as JSON stop the task before anything is made', async () => {
    const { options, seen } = harness()
    class Odd extends TaskManager {
      override createParams() {
        return { size: 1n }
      }

      *generateRequests() {
        yield { key: 'a', body: ask('a') }
      }

      processResponse() {
        return accept()
      }
    }
    await expect(new Odd(options()).run()).rejects.toMatchObject({ code: 'bad_params' })
    expect(seen).toEqual([])
    Styled.keys = ['a']
    expect(await new Styled(options()).run()).toMatchObject({ complete: true })
  })

  test('may be made asynchronously', async () => {
    const { options } = harness()
    class Later extends TaskManager {
      override async createParams() {
        return { seed: await Promise.resolve(7) }
      }

      *generateRequests() {
        yield { key: 'a', body: ask('a') }
      }

      processResponse({ params }: TaskResponse) {
        return accept(params)
      }
    }
    const task = new Later(options())
    await task.run()
    expect(task.params).toEqual({ seed: 7 })
  })
})

describe('flags and the other hooks', () => {
  test('flags, options and the signal can be read in hooks', async () => {
    const stop = new AbortController()
    const { options, dir } = harness()
    class Flagged extends TaskManager {
      *generateRequests() {
        for (let at = 0; at < Number(this.flags.count); at++) yield { key: `k${at}`, body: ask('x') }
      }

      processResponse({ key }: TaskResponse) {
        const { maxRetries, name } = this.options
        return accept({ key, name, maxRetries, stopping: this.signal.aborted })
      }
    }
    const task = new Flagged(options({ flags: { count: 2 }, maxRetries: 9, stop: stop.signal }))
    await task.run()
    expect(Object.isFrozen(task.flags)).toBe(true)
    expect(taskLines(dir, '_output.jsonl')).toEqual([
      { key: 'k0', name: 'task', maxRetries: 9, stopping: false },
      { key: 'k1', name: 'task', maxRetries: 9, stopping: false },
    ])
  })

  test('onStart comes before the first request, onFinish after the last verdict with the summary', async () => {
    const { options } = harness()
    const order: string[] = []
    class Ordered extends TaskManager {
      override onStart() {
        order.push(`start ${JSON.stringify(this.params)}`)
      }

      *generateRequests() {
        order.push('generate')
        yield { key: 'a', body: ask('a') }
      }

      processResponse() {
        order.push('process')
        return accept()
      }

      override onFinish({ outcome, succeeded }: { outcome: string; succeeded: number }) {
        order.push(`finish ${outcome} ${succeeded}`)
      }
    }
    await new Ordered(options()).run()
    expect(order).toEqual(['start {}', 'generate', 'process', 'finish complete 1'])
  })

  test('the summary says what was done, used and spent', async () => {
    const { options, dir } = harness()
    class Two extends TaskManager {
      *generateRequests() {
        for (const key of ['a', 'b']) yield { key, body: ask(key) }
      }

      processResponse({ key, usage, cost }: TaskResponse) {
        return accept({ key, input: usage?.input, cost })
      }
    }
    const summary = await new Two(options()).run()
    const lines = taskLines<{ input: number; cost: number }>(dir, '_output.jsonl')
    expect(summary).toMatchObject({ name: 'task', complete: true, outcome: 'complete', added: 2, judged: 2 })
    expect(summary.usage.input).toBe(lines.reduce((sum, { input }) => sum + input, 0))
    expect(summary.cost).toBeCloseTo(
      lines.reduce((sum, { cost }) => sum + cost, 0),
      12,
    )
    expect(summary.cost).toBeGreaterThan(0)
    expect(summary.elapsedMs).toBeGreaterThan(0)
    expect(summary.output).toEqual([`${dir}/task_output.jsonl`])
    expect(summary.failedFile).toBeUndefined()
  })
})
