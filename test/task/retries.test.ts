import { describe, expect, test } from 'vitest'
import { accept, reject, retry } from '../../src/batch/verdict.ts'
import { httpAnswer } from '../../src/emulator/index.ts'
import { TaskManager } from '../../src/task/task-manager.ts'
import type { TaskFailure, TaskResponse } from '../../src/task/task-types.ts'
import { ask, harness, names, questionOf, stepsOf, taskLines } from '../support/task-harness.ts'

const serverError = httpAnswer(500, { error: { message: 'The server is on fire', type: 'server_error' } })
const badRequest = httpAnswer(400, {
  error: { message: 'No such parameter', type: 'invalid_request_error', code: 'unknown_parameter' },
})

class Plain extends TaskManager {
  *generateRequests() {
    for (const key of names(4)) yield { key, body: ask(key) }
  }

  processResponse({ key, attempt }: TaskResponse) {
    return accept({ key, attempt })
  }
}

describe('attempts that fail', () => {
  test('are repeated as often as maxRetries says, and the reason is kept', async () => {
    const { options, dir } = harness({
      answer: (request) => (questionOf(request) === 'k-2' ? serverError : 'fine'),
    })
    const summary = await new Plain(options({ maxRetries: 3 })).run()
    expect(summary).toMatchObject({ complete: true, succeeded: 3, failed: 1, pending: 0, retries: 3 })
    expect(summary.failedFile).toBe(`${dir}/task_failed.jsonl`)
    expect(taskLines(dir, '_failed.jsonl')).toEqual([
      {
        key: 'k-2',
        sample: 'k-2',
        reason: 'server_error: The server is on fire (failed 4 times)',
        attempts: 4,
        reply: expect.objectContaining({ code: 'server_error', status: 500 }),
      },
    ])
  })

  test('are not repeated after a fatal error, unless that is asked for', async () => {
    const { options, dir } = harness({ answer: (request) => (request.attempt < 1 ? badRequest : 'fine') })
    expect(await new Plain(options()).run()).toMatchObject({
      complete: true,
      succeeded: 0,
      failed: 4,
      retries: 0,
    })
    expect(taskLines(dir, '_failed.jsonl')).toContainEqual(
      expect.objectContaining({ key: 'k-0', reason: 'unknown_parameter: No such parameter', attempts: 1 }),
    )
    const again = harness({ answer: (request) => (request.attempt < 1 ? badRequest : 'fine') })
    const summary = await new Plain(again.options({ retryFatalRequests: true })).run()
    expect(summary).toMatchObject({ succeeded: 4, failed: 0, retries: 4 })
  })

  test('that heal are counted as attempts', async () => {
    const { options, dir } = harness({ failureRate: 1 })
    expect(await new Plain(options()).run()).toMatchObject({ complete: true, succeeded: 4, retries: 4 })
    expect(taskLines(dir, '_output.jsonl')).toEqual(names(4).map((key) => ({ key, attempt: 2 })))
  })

  test('of one batch go into one batch again', async () => {
    const { options, dir } = harness({ failureRate: 1 })
    class Many extends TaskManager {
      *generateRequests() {
        for (const key of names(700)) yield { key, body: ask(key) }
      }

      processResponse({ key }: TaskResponse) {
        return accept(key)
      }
    }
    expect(await new Many(options()).run()).toMatchObject({ complete: true, succeeded: 700, batches: 2 })
    expect(taskLines(dir, '_output.jsonl')).toEqual(names(700))
  })

  test('are not repeated at all with maxRetries 0', async () => {
    const { options, dir } = harness({ failureRate: 1 })
    expect(await new Plain(options({ maxRetries: 0 })).run()).toMatchObject({
      failed: 4,
      retries: 0,
      batches: 1,
    })
    for (const { reason } of taskLines<{ reason: string }>(dir, '_failed.jsonl'))
      expect(reason).toMatch(/\(failed 1 times\)$/)
  })

  test('count over runs, not per run', async () => {
    const { options, dir } = harness({ answer: () => serverError })
    await new Plain(options({ maxRetries: 5, maxSessionRequests: 4 })).run()
    await new Plain(options({ maxRetries: 5, maxSessionRequests: 4 })).run()
    const summary = await new Plain(options({ maxRetries: 2 })).run()
    expect(summary).toMatchObject({ complete: true, failed: 4 })
    expect(taskLines(dir, '_failed.jsonl')).toHaveLength(4)
    for (const line of taskLines(dir, '_failed.jsonl')) expect(line).toMatchObject({ attempts: 3 })
  })
})

describe('retry by processResponse', () => {
  test('is bounded like a failure, and gives its reason to the failed file', async () => {
    const { options, dir } = harness()
    class Picky extends Plain {
      override processResponse() {
        return retry('too short')
      }
    }
    const summary = await new Picky(options({ maxRetries: 1 })).run()
    expect(summary).toMatchObject({ complete: true, succeeded: 0, failed: 4, retries: 4 })
    for (const line of taskLines(dir, '_failed.jsonl'))
      expect(line).toMatchObject({
        reason: 'too short (failed 2 times)',
        attempts: 2,
        reply: { object: 'chat.completion' },
      })
  })

  test('with a body repairs the request', async () => {
    const { options, dir } = harness({ answer: questionOf })
    class Repairing extends TaskManager {
      *generateRequests() {
        yield { key: 'a', body: ask('what?'), meta: { from: 'author' } }
      }

      processResponse({ text, body, meta, attempt }: TaskResponse) {
        if (attempt === 1) return retry('unclear', { body: { ...body, ...ask('what is 2 + 2?') } })
        return accept({ text, meta, attempt })
      }
    }
    expect(await new Repairing(options()).run()).toMatchObject({ complete: true, succeeded: 1 })
    expect(taskLines(dir, '_output.jsonl')).toEqual([
      { text: 'what is 2 + 2?', meta: { from: 'author' }, attempt: 2 },
    ])
    expect(stepsOf(dir, 'requeue')).toMatchObject([{ why: 'retry', reason: 'unclear', repaired: true }])
  })

  test.each([
    ['without a price', { model: 'nobody-knows' }, 'unknown_price'],
    [
      'without a maximum of output tokens, under a hard cap',
      { max_completion_tokens: undefined },
      'no_output_limit',
    ],
  ])('with a body %s stops the run; the answer is judged again by the next', async (_, change, code) => {
    const { options } = harness()
    class Repairing extends TaskManager {
      change: object | undefined = change;

      *generateRequests() {
        yield { key: 'a', body: { ...ask('what?'), max_completion_tokens: 100 } }
      }

      processResponse({ body, attempt }: TaskResponse) {
        if (attempt === 1 && this.change) return retry('unclear', { body: { ...body, ...this.change } })
        return accept()
      }
    }
    const capped = options({ maxSpend: 1 })
    await expect(new Repairing(capped).run()).rejects.toMatchObject({
      code,
      message: expect.stringContaining('request "a"'),
    })
    const mended = new Repairing(capped)
    mended.change = undefined
    expect(await mended.run()).toMatchObject({ complete: true, succeeded: 1 })
  })

  test('keeps a repaired body over further retries, and may change the model', async () => {
    const models: unknown[] = []
    const { options } = harness({
      answer: ({ body }) => {
        models.push(body.model)
        return models.length < 3 ? serverError : 'fine'
      },
    })
    class Upgrading extends TaskManager {
      *generateRequests() {
        yield { key: 'a', body: ask('hard') }
      }

      override processFailure({ attempt, body }: TaskFailure) {
        return attempt === 1 ? retry('too hard', { body: { ...body, model: 'gpt-5' } }) : retry('again')
      }

      processResponse() {
        return accept()
      }
    }
    expect(await new Upgrading(options()).run()).toMatchObject({ complete: true, succeeded: 1 })
    expect(models).toEqual(['gpt-5-mini', 'gpt-5', 'gpt-5'])
  })

  test.each([
    [{ a: 1 }, 'body.model must name a model'],
    [{ ...ask('x'), seed: Number.NaN }, 'cannot be written as JSON'],
  ])('with a body that cannot be sent stops the run and names the key: %#', async (body, words) => {
    const { options } = harness()
    class Wrong extends Plain {
      override processResponse() {
        return retry('again', { body })
      }
    }
    await expect(new Wrong(options()).run()).rejects.toThrow(words)
    await expect(new Wrong(options()).run()).rejects.toThrow('"k-0"')
  })
})

describe('processFailure', () => {
  test('may accept a fallback output', async () => {
    const { options, dir } = harness({
      answer: (request) => (questionOf(request) === 'k-1' ? badRequest : 'fine'),
    })
    class Falling extends Plain {
      override processFailure({ key, code, status }: TaskFailure) {
        return accept({ key, fallback: `${code} ${status}` })
      }
    }
    expect(await new Falling(options()).run()).toMatchObject({ complete: true, succeeded: 4, failed: 0 })
    expect(taskLines(dir, '_output.jsonl')).toContainEqual({ key: 'k-1', fallback: 'unknown_parameter 400' })
    expect(taskLines(dir, '_failed.jsonl')).toEqual([])
  })

  test('may reject with a reason of its own', async () => {
    const { options, dir } = harness({ answer: () => serverError })
    class Strict extends Plain {
      override processFailure({ message }: TaskFailure) {
        return reject(`given up: ${message}`)
      }
    }
    expect(await new Strict(options()).run()).toMatchObject({ complete: true, failed: 4, retries: 0 })
    expect(taskLines(dir, '_failed.jsonl')).toContainEqual(
      expect.objectContaining({ key: 'k-3', reason: 'given up: The server is on fire', attempts: 1 }),
    )
  })

  test('that returns no verdict stops the run and says so', async () => {
    const { options } = harness({ answer: () => serverError })
    class Forgetful extends Plain {
      // A plain JavaScript author would not be told by the compiler.
      override processFailure() {
        return JSON.parse('{"kind":"maybe"}')
      }
    }
    const error = {
      code: 'no_verdict',
      message: expect.stringContaining('processFailure must return accept'),
    }
    await expect(new Forgetful(options()).run()).rejects.toMatchObject(error)
  })
})

describe('failed requests', () => {
  test('that are put back and not yielded again are told of, with their number', async () => {
    const { options, warnings } = harness({ answer: () => httpAnswer(400, { error: { message: 'no' } }) })
    let count = 5
    class Some extends TaskManager {
      *generateRequests() {
        for (const key of names(count)) yield { key, body: ask(key) }
      }

      processResponse() {
        return accept()
      }
    }
    await new Some(options()).run()
    count = 2
    const summary = await new Some(options({ retryFailed: true })).run()
    expect(summary).toMatchObject({ complete: true, requests: 2, failed: 2 })
    expect(warnings('not_yielded')).toEqual([expect.stringMatching(/^5 failed requests .* 3 of their keys/)])
  })

  test('are put back by retryFailed with all their attempts, and the failed file is emptied', async () => {
    let healthy = false
    const { options, dir } = harness({ answer: () => (healthy ? 'fine' : badRequest) })
    await new Plain(options()).run()
    expect(taskLines(dir, '_failed.jsonl')).toHaveLength(4)
    expect(await new Plain(options()).run()).toMatchObject({ complete: true, failed: 4, added: 0 })
    healthy = true
    const summary = await new Plain(options({ retryFailed: true })).run()
    expect(summary).toMatchObject({ complete: true, requests: 4, succeeded: 4, failed: 0, added: 4 })
    expect(summary.failedFile).toBeUndefined()
    expect(taskLines(dir, '_failed.jsonl')).toEqual([])
    expect(taskLines(dir, '_output.jsonl')).toEqual(names(4).map((key) => ({ key, attempt: 1 })))
  })
})
