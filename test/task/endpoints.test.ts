import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { accept } from '../../src/batch/verdict.ts'
import { TaskManager } from '../../src/task/task-manager.ts'
import type { TaskRequest, TaskResponse } from '../../src/task/task-types.ts'
import { ask, harness, names, taskLines } from '../support/task-harness.ts'

const Topic = z.object({ topic: z.enum(['sport', 'weather']) })
type Topic = z.infer<typeof Topic>

describe.each(['batch', 'direct'])('by %s', (via) => {
  const how = { forceDirect: via === 'direct' }

  test('the chat endpoint answers with parsed answers', async () => {
    class Chat extends TaskManager<Topic> {
      override answerSchema = Topic;

      *generateRequests() {
        yield { key: 'a', body: ask('rain again') }
      }

      processResponse({ answer, usage, cost }: TaskResponse<Topic>) {
        return accept({ topic: answer.topic, paid: (cost ?? 0) > 0 && (usage?.input ?? 0) > 0 })
      }
    }
    const { options, dir, count } = harness()
    expect(await new Chat(options(how)).run()).toMatchObject({ complete: true, succeeded: 1 })
    expect(taskLines(dir, '_output.jsonl')).toEqual([
      { topic: expect.stringMatching(/sport|weather/), paid: true },
    ])
    expect(count('POST', '/v1/chat/completions')).toBe(via === 'direct' ? 1 : 0)
  })

  test('the responses endpoint answers with parsed answers', async () => {
    class Responses extends TaskManager<Topic> {
      override readonly endpoint = '/v1/responses' as const
      override answerSchema = Topic;

      *generateRequests(): Iterable<TaskRequest<'/v1/responses'>> {
        for (const key of names(3))
          yield { key, body: { model: 'gpt-5-mini', input: `is it raining? ${key}` } }
      }

      processResponse({ answer, body, reply }: TaskResponse<Topic, '/v1/responses'>) {
        return accept({
          topic: answer.topic,
          format: body.text?.format?.type,
          id: JSON.stringify(reply).length > 100,
        })
      }
    }
    const { options, dir, count } = harness()
    expect(await new Responses(options(how)).run()).toMatchObject({ complete: true, succeeded: 3 })
    const line = { topic: expect.stringMatching(/sport|weather/), format: 'json_schema', id: true }
    expect(taskLines(dir, '_output.jsonl')).toEqual([line, line, line])
    expect(count('POST', '/v1/responses')).toBe(via === 'direct' ? 3 : 0)
  })

  test('the embeddings endpoint answers with vectors, in base64 as in numbers', async () => {
    class Embeddings extends TaskManager {
      override readonly endpoint = '/v1/embeddings' as const;

      *generateRequests(): Iterable<TaskRequest<'/v1/embeddings'>> {
        for (const encoding_format of ['base64', 'float'] as const)
          yield {
            key: encoding_format,
            body: { model: 'text-embedding-3-small', input: ['moon', 'sun'], dimensions: 8, encoding_format },
          }
      }

      processResponse({ embeddings = [], text, warnings }: TaskResponse<unknown, '/v1/embeddings'>) {
        return accept({ embeddings, text, warnings })
      }
    }
    const { options, dir, count } = harness()
    expect(await new Embeddings(options(how)).run()).toMatchObject({ complete: true, succeeded: 2 })
    const [packed, plain] = taskLines<{ embeddings: number[][] }>(dir, '_output.jsonl')
    expect(packed).toEqual(plain)
    expect(packed).toMatchObject({ text: '', warnings: [] })
    expect(packed?.embeddings.map((vector) => vector.length)).toEqual([8, 8])
    for (const vector of packed?.embeddings ?? []) expect(Math.hypot(...vector)).toBeCloseTo(1, 5)
    expect(count('POST', '/v1/embeddings')).toBe(via === 'direct' ? 2 : 0)
  })
})

describe('the endpoint of a task', () => {
  class Open extends TaskManager {
    *generateRequests(): Iterable<TaskRequest<'/v1/responses'>> {
      yield { key: 'a', body: { model: 'gpt-5-mini', input: 'hello' } }
    }

    processResponse({ text }: TaskResponse) {
      return accept({ text })
    }
  }

  test('comes from the option, else from the environment', async () => {
    const { options } = harness()
    expect(await new Open(options({ endpoint: '/v1/responses' })).run()).toMatchObject({ succeeded: 1 })
    const env = { OPENAI_API_KEY: 'x', OPENAI_ENDPOINT: '/v1/responses' }
    expect(await new Open(options({ name: 'second', env })).run()).toMatchObject({ succeeded: 1 })
  })

  test('that changes between runs is told as drift', async () => {
    const { options, warnings } = harness()
    await new Open(options({ endpoint: '/v1/responses' })).run()
    expect(warnings('drift')).toEqual([])
    await new Open(options()).run()
    expect(warnings('drift')[0]).toContain('endpoint')
  })
})

describe('several models in one task', () => {
  test('go into batches of their own', async () => {
    const { options, dir, events } = harness()
    const models = ['gpt-5', 'gpt-5-mini', 'gpt-5-nano']
    class Compare extends TaskManager {
      *generateRequests() {
        for (const key of names(10))
          for (const model of models) yield { key: `${key}/${model}`, body: ask(key, model) }
      }

      processResponse({ key, reply }: TaskResponse) {
        const { model } = z.object({ model: z.string() }).parse(reply)
        return accept({ key, model })
      }
    }
    expect(await new Compare(options()).run()).toMatchObject({ complete: true, succeeded: 30, batches: 3 })
    const lines = taskLines<{ key: string; model: string }>(dir, '_output.jsonl')
    expect(lines.every(({ key, model }) => key.endsWith(`/${model}`))).toBe(true)
    const uploads = events.flatMap((event) =>
      event.kind === 'batch-changed' && event.status === 'uploading'
        ? [`${event.model} ${event.requests}`]
        : [],
    )
    expect(uploads.sort()).toEqual(models.map((model) => `${model} 10`))
  })
})
