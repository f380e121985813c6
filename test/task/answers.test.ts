import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { accept, reject } from '../../src/batch/verdict.ts'
import { rawBody } from '../../src/emulator/index.ts'
import { TaskManager } from '../../src/task/task-manager.ts'
import type { RequestInHand, TaskFailure, TaskRequest, TaskResponse } from '../../src/task/task-types.ts'
import { ask, harness, questionOf, taskLines } from '../support/task-harness.ts'

const Emotion = z.object({ emotion: z.enum(['joy', 'anger']), note: z.string().optional() })
type Emotion = z.infer<typeof Emotion>

/** A chat reply with one choice. */
const chat = (message: object, finish_reason = 'stop') =>
  rawBody({
    id: 'chatcmpl-1',
    object: 'chat.completion',
    created: 1,
    model: 'gpt-5-mini',
    choices: [{ index: 0, message: { role: 'assistant', content: null, ...message }, finish_reason }],
    usage: { prompt_tokens: 10, completion_tokens: 2, total_tokens: 12 },
  })

class Emotions extends TaskManager<Emotion> {
  override answerSchema = Emotion;

  *generateRequests() {
    yield { key: 'text', body: ask('how do I feel?') }
  }

  processResponse({ key, answer, body, attempt }: TaskResponse<Emotion>) {
    return accept({ key, answer, attempt, format: 'response_format' in body && body.response_format })
  }
}

describe('with an answer schema', () => {
  test('the schema is sent in its strict form, and the answer comes parsed', async () => {
    const { options, dir } = harness({ answer: () => ({ emotion: 'joy', note: null }) })
    expect(await new Emotions(options()).run()).toMatchObject({ complete: true, succeeded: 1 })
    expect(taskLines(dir, '_output.jsonl')).toEqual([
      {
        key: 'text',
        answer: { emotion: 'joy' },
        attempt: 1,
        format: {
          type: 'json_schema',
          json_schema: {
            name: 'answer',
            strict: true,
            schema: {
              type: 'object',
              properties: {
                emotion: { type: 'string', enum: ['joy', 'anger'] },
                note: { type: ['string', 'null'] },
              },
              required: ['emotion', 'note'],
              additionalProperties: false,
            },
          },
        },
      },
    ])
  })

  test('the simulated model satisfies it', async () => {
    const { options, dir } = harness()
    await new Emotions(options()).run()
    const [line] = taskLines<{ answer: unknown }>(dir, '_output.jsonl')
    expect(Emotion.parse(line?.answer)).toEqual(line?.answer)
  })

  test.each([
    ['refusal', chat({ refusal: 'I must not say' }), 'the model refused: I must not say'],
    ['length', chat({ content: '{"emotion":"jo' }, 'length'), 'cut off at the output token limit'],
    ['content_filter', chat({ content: '{"emotion":' }, 'content_filter'), 'content filter'],
    ['invalid_json', chat({ content: 'joy, I think' }), 'JSON'],
    ['invalid_answer', chat({ content: '{"emotion":"envy","note":null}' }), 'emotion'],
    [
      'no_answer',
      chat({ tool_calls: [{ id: '1', type: 'function', function: { name: 'ask_mum', arguments: '{}' } }] }),
      'ask_mum',
    ],
    ['bad_reply', rawBody({ object: 'chat.completion', choices: [] }), 'no choices'],
  ])(
    '%s is a failure that is tried again, and fails for good with its reason',
    async (code, reply, words) => {
      const { options, dir } = harness({ answer: () => reply })
      const failures: TaskFailure[] = []
      class Watching extends Emotions {
        override processFailure(failure: TaskFailure) {
          failures.push(failure)
          return super.processFailure(failure)
        }
      }
      const summary = await new Watching(options({ maxRetries: 1 })).run()
      expect(summary).toMatchObject({ complete: true, succeeded: 0, failed: 1, retries: 1 })
      expect(failures.map(({ attempt, attemptsLeft }) => [attempt, attemptsLeft])).toEqual([
        [1, 1],
        [2, 0],
      ])
      expect(failures[0]).toMatchObject({ code, retryable: true, message: expect.stringContaining(words) })
      expect(failures[0]?.reply).toEqual(reply.body)
      const [failed, ...more] = taskLines(dir, '_failed.jsonl')
      expect(more).toEqual([])
      expect(failed).toMatchObject({
        key: 'text',
        attempts: 2,
        reason: expect.stringMatching(new RegExp(`^${code}: .*\\(failed 2 times\\)$`, 's')),
        reply: reply.body,
      })
    },
  )

  test('a second attempt that is good is accepted as the second', async () => {
    const { options, dir } = harness({
      answer: ({ attempt }) =>
        attempt === 0 ? chat({ refusal: 'no' }) : { emotion: 'anger', note: 'sorry' },
    })
    expect(await new Emotions(options()).run()).toMatchObject({ complete: true, succeeded: 1, retries: 1 })
    expect(taskLines(dir, '_output.jsonl')).toMatchObject([{ attempt: 2, answer: { emotion: 'anger' } }])
  })
})

describe('with answers of several kinds', () => {
  const Topic = z.object({ topic: z.string() })
  type Either = Emotion | z.infer<typeof Topic>
  const asked: unknown[] = []

  class Mixed extends TaskManager<Either> {
    *generateRequests() {
      yield { key: 'a', meta: { kind: 'topic' }, body: ask('about what?') }
      yield { key: 'b', meta: { kind: 'emotion' }, body: ask('how?') }
      yield { key: 'c', body: ask('freely') }
    }

    override answerSchemaFor({ key, sample, meta }: RequestInHand): z.ZodType<Either> | undefined {
      asked.push([key, sample, meta])
      const { kind } = z.object({ kind: z.string() }).catch({ kind: '' }).parse(meta)
      return kind === 'topic' ? Topic : kind === 'emotion' ? Emotion : undefined
    }

    processResponse({ key, text, answer }: TaskResponse<Either>) {
      return accept({ key, answer: answer ?? null, free: answer === undefined && text.length > 0 })
    }
  }

  test('each request is sent and read with the schema of its kind', async () => {
    const { options, dir } = harness()
    expect(await new Mixed(options()).run()).toMatchObject({ complete: true, succeeded: 3 })
    const [topic, emotion, free] = taskLines<{ answer: unknown; free: boolean }>(dir, '_output.jsonl')
    expect(Topic.safeParse(topic?.answer).success).toBe(true)
    expect(Emotion.safeParse(emotion?.answer).success).toBe(true)
    expect(free).toEqual({ key: 'c', answer: null, free: true })
    for (const request of [
      ['a', 'a', { kind: 'topic' }],
      ['b', 'b', { kind: 'emotion' }],
      ['c', 'c', undefined],
    ])
      expect(asked.filter((one) => JSON.stringify(one) === JSON.stringify(request))).toHaveLength(2)
  })
})

describe('without a schema', () => {
  test.each([
    ['refusal', chat({ refusal: 'I must not say' })],
    ['length', chat({ content: 'once upon a' }, 'length')],
    ['content_filter', chat({ content: 'once' }, 'content_filter')],
    [
      'choice_count',
      rawBody({ choices: [0, 1].map((index) => ({ index, message: { content: `${index}` } })) }),
    ],
  ])('%s is a warning of a usable reply', async (code, reply) => {
    const { options, dir } = harness({ answer: () => reply })
    class Free extends TaskManager {
      *generateRequests() {
        yield { key: 'a', body: ask('tell me') }
      }

      processResponse({ warnings, answer }: TaskResponse) {
        return accept({ warnings: warnings.map((one) => one.code), answer: answer ?? 'none' })
      }
    }
    expect(await new Free(options({ forceDirect: true })).run()).toMatchObject({ succeeded: 1 })
    expect(taskLines(dir, '_output.jsonl')).toEqual([{ warnings: [code], answer: 'none' }])
  })

  test('all choices of a request with n are there, and no warning', async () => {
    const { options, dir } = harness({ answer: questionOf })
    class Several extends TaskManager {
      *generateRequests() {
        yield { key: 'a', body: { ...ask('one'), n: 3 } }
      }

      processResponse({ choices, text, warnings }: TaskResponse) {
        return accept({ indices: choices.map(({ index }) => index), text, warnings })
      }
    }
    await new Several(options()).run()
    expect(taskLines(dir, '_output.jsonl')).toEqual([{ indices: [0, 1, 2], text: 'one', warnings: [] }])
  })

  test('the calls of tools are handed over', async () => {
    const { options, dir } = harness()
    const parameters = {
      type: 'object',
      properties: { city: { type: 'string', enum: ['Bonn'] } },
      required: ['city'],
    }
    const tools = [{ type: 'function' as const, function: { name: 'weather', parameters } }]
    class Calling extends TaskManager {
      *generateRequests() {
        yield { key: 'a', body: { ...ask('is it raining?'), tools, tool_choice: 'required' as const } }
      }

      processResponse({ toolCalls, choices }: TaskResponse) {
        const [call] = toolCalls
        return accept({
          name: call?.name,
          given: JSON.parse(call?.arguments ?? ''),
          why: choices[0]?.finishReason,
        })
      }
    }
    await new Calling(options()).run()
    expect(taskLines(dir, '_output.jsonl')).toEqual([
      { name: 'weather', given: { city: 'Bonn' }, why: 'tool_calls' },
    ])
  })

  test('the body reaches the server as it was given, without stream', async () => {
    const bodies: unknown[] = []
    const { options } = harness({
      answer: ({ body }) => {
        bodies.push(body)
        return 'ok'
      },
    })
    const body = { ...ask('hello'), temperature: 0.25, metadata: { a: 'ü\u2028"\\' }, logit_bias: { 5: -1 } }
    // The type of a body leaves no room for it; what a plain JavaScript author writes still has to work.
    const streaming: object = { stream: true, stream_options: { include_usage: true } }
    class Exact extends TaskManager {
      *generateRequests(): Iterable<TaskRequest> {
        yield { key: 'a', body: { ...body, ...streaming } }
      }

      processResponse() {
        return reject('only looking')
      }
    }
    await new Exact(options()).run()
    await new Exact(options({ name: 'directly', forceDirect: true })).run()
    expect(bodies).toEqual([body, body])
  })
})
