import { join } from 'node:path'
import type {
  Endpoint,
  EndpointBodies,
  RunSummary,
  TaskFailure,
  TaskManager,
  TaskManagerOptions,
  TaskRequest,
  TaskResponse,
  Verdict,
} from 'nightshift'
import { describe, expect, expectTypeOf, test } from 'vitest'
import type { Consistent } from '../src/cli/run-task.ts'
import { accept, TaskManager as Base, reject, retry } from '../src/index.ts'
import { jsonLines, temporaryFolder } from './support/folder.ts'
import { runProgram } from './support/program.ts'
import type { EmotionTask } from './support/two-hooks.ts'

type Emotion = { emotion: 'joy' | 'anger' | 'neutral' }

describe('the two-hook example', () => {
  test('has an answer of its schema, a chat body and a verdict with its output', () => {
    type Response = Parameters<EmotionTask['processResponse']>[0]
    expectTypeOf<Response['answer']>().toEqualTypeOf<Emotion>()
    expectTypeOf<Response['body']>().toEqualTypeOf<EndpointBodies[Endpoint]>()
    expectTypeOf<ReturnType<EmotionTask['generateRequests']>>().toEqualTypeOf<Iterable<TaskRequest>>()
    expectTypeOf<ReturnType<EmotionTask['processResponse']>>().toEqualTypeOf<
      Verdict<{ emotion: Emotion['emotion']; key: string }>
    >()
    expectTypeOf<EmotionTask>().toExtend<TaskManager<Emotion>>()
  })

  test('runs as it stands: each text gets an emotion of the schema', { timeout: 30_000 }, async () => {
    await using folder = await temporaryFolder()
    const args = ['--emulator', '--task-dir', folder.path]
    const { code, stderr } = await runProgram('test/support/two-hooks.ts', args)
    expect(code, stderr).toBe(0)
    const emotion = expect.stringMatching(/^(joy|anger|neutral)$/)
    const output = await jsonLines(join(folder.path, 'emotions_output.jsonl'))
    const expected = ['text-0', 'text-1', 'text-2'].map((key) => ({ key, emotion }))
    expect(output).toHaveLength(3)
    expect(output).toEqual(expect.arrayContaining(expected))
  })
})

describe('a subclass', () => {
  /** Nothing but the two hooks. */
  class Two extends Base {
    *generateRequests(): Iterable<TaskRequest> {
      yield { key: 'a', body: { model: 'm', messages: [] } }
    }

    processResponse() {
      return accept()
    }
  }

  test('must supply the two hooks, and nothing else', () => {
    expectTypeOf<typeof TaskManager>().not.toExtend<new (options: TaskManagerOptions) => TaskManager>()
    expectTypeOf<typeof Two>().toExtend<new (options: TaskManagerOptions) => TaskManager>()
    expect('generateRequests' in Base.prototype || 'processResponse' in Base.prototype).toBe(false)
    const task = new Two({ name: 'two', env: {} })
    expect(task).toMatchObject({ endpoint: undefined, answerSchema: undefined, params: undefined, flags: {} })
    for (const hook of ['processFailure', 'createParams', 'createOutput', 'onStart', 'onFinish'])
      expect(task).toHaveProperty(hook, expect.any(Function))
  })

  test('without a schema gets answers it has to look at itself', () => {
    expectTypeOf<TaskResponse['answer']>().toBeUnknown()
    expectTypeOf<Parameters<TaskManager['processResponse']>[0]['answer']>().toBeUnknown()
  })

  test('may make its requests and its verdicts later', () => {
    expectTypeOf<AsyncIterable<TaskRequest>>().toExtend<ReturnType<TaskManager['generateRequests']>>()
    expectTypeOf<TaskRequest[]>().toExtend<ReturnType<TaskManager['generateRequests']>>()
    expectTypeOf<Promise<Verdict<string>>>().toExtend<ReturnType<TaskManager['processResponse']>>()
    expectTypeOf<ReturnType<TaskManager['run']>>().toEqualTypeOf<Promise<RunSummary>>()
  })

  test('is not finished with a hook that says nothing', () => {
    expectTypeOf<undefined>().not.toExtend<ReturnType<TaskManager['processResponse']>>()
    expectTypeOf<{ kind: 'accept' }>().not.toExtend<Verdict>()
  })
})

describe('a request', () => {
  test('needs a key and the body of its endpoint, and may have a sample and meta', () => {
    expectTypeOf<{ key: string; body: EndpointBodies['/v1/chat/completions'] }>().toExtend<TaskRequest>()
    expectTypeOf<{ body: EndpointBodies['/v1/chat/completions'] }>().not.toExtend<TaskRequest>()
    expectTypeOf<{ key: string }>().not.toExtend<TaskRequest>()
    expectTypeOf<{ key: number; body: TaskRequest['body'] }>().not.toExtend<TaskRequest>()
    expectTypeOf<TaskRequest['sample']>().toEqualTypeOf<string | undefined>()
    expectTypeOf<TaskRequest['meta']>().toBeUnknown()
  })

  test('is a chat completion unless it says otherwise', () => {
    expectTypeOf<TaskRequest['body']>().toEqualTypeOf<EndpointBodies['/v1/chat/completions']>()
    expectTypeOf<{ model: string }>().not.toExtend<TaskRequest['body']>()
    expectTypeOf<{ model: string; messages: [{ role: 'user'; content: string }] }>().toExtend<
      TaskRequest['body']
    >()
    expectTypeOf<{ model: string; messages: [{ role: 'poet'; content: string }] }>().not.toExtend<
      TaskRequest['body']
    >()
  })

  test('may hold fields that are newer than the types', () => {
    expectTypeOf<{ model: string; messages: []; brand_new: 7 }>().toExtend<TaskRequest['body']>()
  })

  test.each<Endpoint>(['/v1/chat/completions', '/v1/responses', '/v1/embeddings'])(
    'can go to %s',
    (endpoint) => {
      expectTypeOf(endpoint).toEqualTypeOf<keyof EndpointBodies>()
      class Elsewhere extends Base {
        override endpoint = endpoint
        generateRequests() {
          return []
        }
        processResponse() {
          return accept()
        }
      }
      expect(new Elsewhere({ name: 'elsewhere', env: {} }).endpoint).toBe(endpoint)
    },
  )
})

describe('a task for another endpoint', () => {
  class Responses extends Base {
    override endpoint = '/v1/responses' as const;

    *generateRequests(): Iterable<TaskRequest<'/v1/responses'>> {
      yield { key: 'a', body: { model: 'm', input: 'Hi', reasoning: { effort: 'low' } } }
    }

    processResponse({ body }: TaskResponse) {
      return accept(body.model)
    }
  }

  class Mixed extends Base {
    override endpoint = '/v1/embeddings' as const;

    *generateRequests(): Iterable<TaskRequest<'/v1/responses'>> {
      yield { key: 'a', body: { model: 'm', input: 'Hi' } }
    }

    processResponse() {
      return accept()
    }
  }

  test('names it, and yields bodies of it', () => {
    expectTypeOf<Responses['endpoint']>().toEqualTypeOf<'/v1/responses'>()
    expectTypeOf<TaskRequest<'/v1/responses'>['body']>().toEqualTypeOf<EndpointBodies['/v1/responses']>()
    expectTypeOf<TaskRequest<'/v1/responses'>['body']['input']>().not.toBeAny()
    const [first] = [...new Responses({ name: 'responses', env: {} }).generateRequests()]
    expect(first?.body.input).toBe('Hi')
  })

  test('can be run, and one that yields bodies of another endpoint than it names cannot', () => {
    expectTypeOf<Consistent<Responses>>().toEqualTypeOf<Responses>()
    expectTypeOf<Consistent<EmotionTask>>().toEqualTypeOf<EmotionTask>()
    expectTypeOf<Consistent<Mixed>>().toBeNever()
    expect(Mixed.prototype).toBeInstanceOf(Base)
  })

  test('has responses and failures of its body', () => {
    expectTypeOf<TaskResponse<unknown, '/v1/embeddings'>['body']>().toEqualTypeOf<
      EndpointBodies['/v1/embeddings']
    >()
    expectTypeOf<TaskFailure<'/v1/responses'>['body']>().toEqualTypeOf<EndpointBodies['/v1/responses']>()
  })
})

test('verdicts carry the type of their output, and a retry or a reject fits any task', () => {
  expectTypeOf(accept({ a: 1 })).toEqualTypeOf<Verdict<{ a: number }>>()
  expectTypeOf(retry('again')).toExtend<Verdict<string>>()
  expectTypeOf(reject('no')).toExtend<Verdict<{ a: number }>>()
  expectTypeOf<Verdict<string>>().not.toExtend<Verdict<number>>()
  expect([accept().kind, retry('').kind, reject('').kind]).toEqual(['accept', 'retry', 'reject'])
})
