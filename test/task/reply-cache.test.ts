import { readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { crc32 } from 'node:zlib'
import { expect, test } from 'vitest'
import { z } from 'zod'
import { accept, reject, retry } from '../../src/batch/verdict.ts'
import { type EmulatedRequest, type EmulatorOptions, httpAnswer, rawBody } from '../../src/emulator/index.ts'
import { REPLY_CACHE_FILE } from '../../src/state/reply-cache.ts'
import { TaskManager, type TaskManagerOptions } from '../../src/task/task-manager.ts'
import type { TaskFailure, TaskResponse } from '../../src/task/task-types.ts'
import {
  ask,
  harness,
  names,
  questionOf,
  readTaskFile,
  stepsOf,
  taskLines,
  temporaryFolder,
} from '../support/task-harness.ts'

/** Asks its questions and writes down what was answered. */
class Asking extends TaskManager {
  questions: readonly string[] = ['a', 'b', 'c']

  processResponse({ key, text, attempt }: TaskResponse<unknown>) {
    return accept({ key, text, attempt })
  }

  *generateRequests() {
    for (const [index, question] of this.questions.entries()) yield { key: `k${index}`, body: ask(question) }
  }
}

/** A server that counts what it answers, a cache, and options of tasks that each have a folder of their own. */
function world(emulator: EmulatorOptions = {}) {
  const cache = temporaryFolder()
  const questions: string[] = []
  const answer = (request: EmulatedRequest) => `answer ${questions.push(questionOf(request))}`
  const server = harness({ answer, ...emulator })
  const inFolder = (over: Partial<TaskManagerOptions> = {}) => {
    const taskDir = temporaryFolder()
    return { ...server.options({ cache, taskDir, ...over }), taskDir }
  }
  return { cache, server, questions, inFolder }
}

const textsOf = (dir: string): string[] =>
  taskLines(dir, '_output.jsonl')
    .map(({ key, text }) => `${key}: ${text}`)
    .sort()

test('a second task with the same requests calls nobody, costs nothing, and has the same answers', async () => {
  const { server, questions, inFolder } = world()
  const [first, second] = [inFolder(), inFolder()]
  const paid = await new Asking(first).run()
  const calls = server.seen.length
  const summary = await new Asking(second).run()
  expect(server.seen.slice(calls).filter(({ method }) => method === 'POST')).toEqual([])
  expect(questions).toEqual(['a', 'b', 'c'])
  expect(summary).toMatchObject({ complete: true, succeeded: 3, cost: 0 })
  expect(paid.cost).toBeGreaterThan(0)
  expect(textsOf(second.taskDir)).toEqual(textsOf(first.taskDir))
  const [step] = stepsOf(second.taskDir, 'received')
  expect(step).toMatchObject({ reused: { replies: 3, savedNanoUsd: Math.round((paid.cost ?? 0) * 1e9) } })
  expect(stepsOf(second.taskDir, 'sent')).toEqual([])
})

test('without --cache nothing is looked up and nothing is kept', async () => {
  const { cache, questions, inFolder } = world()
  await new Asking(inFolder({ cache: undefined })).run()
  await new Asking(inFolder({ cache: undefined })).run()
  expect(questions).toHaveLength(6)
  expect(readdirSync(cache)).toEqual([])
})

test('a task that asks the same three times has three answers, and the next one has the same three', async () => {
  const { questions, inFolder } = world()
  class Thrice extends Asking {
    override questions = ['a', 'a', 'a', 'b']
  }
  const [first, second] = [inFolder(), inFolder()]
  await new Thrice(first).run()
  await new Thrice(second).run()
  expect(questions).toEqual(['a', 'a', 'a', 'b'])
  expect(new Set(textsOf(first.taskDir)).size).toBe(4)
  expect(textsOf(second.taskDir)).toEqual(textsOf(first.taskDir))
})

test('requests that are put back have answers of their own, not those of others that ask the same', async () => {
  let fails = true
  const questions: string[] = []
  const { inFolder } = world({
    answer: (request) => `answer ${questions.push(questionOf(request))}`,
  })
  class Thrice extends Asking {
    override questions = ['a', 'a', 'a']
    override processResponse(response: TaskResponse<unknown>) {
      const isFirst = response.key === 'k0' || response.key === 'k1'
      return fails && isFirst ? reject('not now') : super.processResponse(response)
    }
  }
  const first = inFolder()
  await new Thrice(first).run()
  fails = false
  await new Thrice({ ...first, retryFailed: true }).run()
  expect(questions).toHaveLength(5)
  expect(new Set(taskLines(first.taskDir, '_output.jsonl').map(({ text }) => text)).size).toBe(3)
  const second = inFolder()
  await new Thrice(second).run()
  expect(questions).toHaveLength(5)
  expect(textsOf(second.taskDir)).toEqual(textsOf(first.taskDir))
})

test('only what is not known is asked, whatever it is mixed with', async () => {
  const { questions, inFolder } = world()
  const many = names(1_300, 'q')
  class Many extends Asking {
    override questions = many
  }
  class More extends Asking {
    override questions = many.flatMap((question, index) =>
      index % 3 ? [question] : [question, `${question}!`],
    )
  }
  await new Many(inFolder()).run()
  questions.length = 0
  const second = inFolder()
  const summary = await new More(second).run()
  expect(questions.every((question) => question.endsWith('!'))).toBe(true)
  expect(questions).toHaveLength(434)
  expect(summary).toMatchObject({ complete: true, succeeded: 1_734, pending: 0 })
  const left = readdirSync(second.taskDir).filter((file) => /_batch|_replies/.test(file))
  expect(left).toEqual([])
})

test('what is accepted in place of an answer is not kept', async () => {
  const asked: string[] = []
  const { inFolder } = world({
    answer: (request) => (asked.push(questionOf(request)) > 3 ? 'at last' : httpAnswer(400, { error: {} })),
  })
  class Content extends Asking {
    override processFailure({ key, attempt }: TaskFailure) {
      return accept({ key, text: 'nothing', attempt })
    }
  }
  const first = inFolder()
  await new Content(first).run()
  expect(textsOf(first.taskDir)).toEqual(['k0: nothing', 'k1: nothing', 'k2: nothing'])
  const second = inFolder()
  await new Content(second).run()
  expect(textsOf(second.taskDir)).toEqual(['k0: at last', 'k1: at last', 'k2: at last'])
})

test.each([
  [
    'refused',
    { message: { role: 'assistant', content: null, refusal: 'I would rather not' }, finish_reason: 'stop' },
  ],
  [
    'cut at the limit of tokens',
    { message: { role: 'assistant', content: 'once upon' }, finish_reason: 'length' },
  ],
  ['cut by the filter', { message: { role: 'assistant', content: 'once' }, finish_reason: 'content_filter' }],
])('an answer that was %s is not kept, though the task accepted it', async (_, choice) => {
  const asked: string[] = []
  const { inFolder } = world({
    answer: (request) => {
      const isWhole = asked.push(questionOf(request)) > 3
      const said = { message: { role: 'assistant', content: 'a whole one' }, finish_reason: 'stop' }
      return rawBody({
        id: 'chatcmpl-1',
        object: 'chat.completion',
        model: 'gpt-5-mini',
        choices: [{ index: 0, ...(isWhole ? said : choice) }],
        usage: { prompt_tokens: 9, completion_tokens: 2, total_tokens: 11 },
      })
    },
  })
  await new Asking(inFolder()).run()
  const second = inFolder()
  await new Asking(second).run()
  await new Asking(inFolder()).run()
  expect(textsOf(second.taskDir)).toEqual(['k0', 'k1', 'k2'].map((key) => `${key}: a whole one`))
  expect(asked).toHaveLength(6)
})

test('an answer that the schema did not take is not kept, though it was accepted', async () => {
  const asked: string[] = []
  const { inFolder } = world({
    answer: (request) => (asked.push(questionOf(request)) > 1 ? { mood: 'good' } : 'no JSON'),
  })
  class Typed extends TaskManager {
    override answerSchema = z.object({ mood: z.string() })
    processResponse({ key, answer }: TaskResponse<unknown>) {
      return accept({ key, answer })
    }
    override processFailure({ key }: TaskFailure) {
      return accept({ key, answer: null })
    }
    *generateRequests() {
      yield { key: 'one', body: ask('how is it?') }
    }
  }
  const [first, second, third] = [inFolder(), inFolder(), inFolder()]
  for (const options of [first, second, third]) await new Typed(options).run()
  const answers = [first, second, third].map(({ taskDir }) => taskLines(taskDir, '_output.jsonl')[0]?.answer)
  expect(answers).toEqual([null, { mood: 'good' }, { mood: 'good' }])
  expect(asked).toHaveLength(2)
})

test('a kept answer that does not do is asked for itself, once, and uses up no attempt', async () => {
  const { questions, inFolder } = world()
  class Choosy extends Asking {
    override processResponse(response: TaskResponse<unknown>) {
      return response.text === 'answer 1' ? retry('seen before') : super.processResponse(response)
    }
  }
  await new Asking(inFolder()).run()
  questions.push('a')
  const second = inFolder({ maxRetries: 0 })
  const summary = await new Choosy(second).run()
  expect(summary).toMatchObject({ complete: true, succeeded: 3, failed: 0 })
  expect(questions.slice(4)).toEqual(['a'])
  expect(stepsOf(second.taskDir, 'requeue').map(({ why }) => why)).toEqual(['unfit'])
  expect(taskLines(second.taskDir, '_output.jsonl').every(({ attempt }) => attempt === 1)).toBe(true)
})

test('a kept reply that is no answer never comes to a hook', async () => {
  const { cache, questions, inFolder } = world()
  await new Asking(inFolder()).run()
  const database = new DatabaseSync(join(cache, REPLY_CACHE_FILE))
  const body = '{"id":"x","object":"chat.completion","model":"gpt-5-mini","choices":[]}'
  database.prepare('UPDATE replies SET body = ?, crc = ?').run(body, crc32(body))
  database.close()
  const failures: string[] = []
  class Watched extends Asking {
    override processFailure({ code }: TaskFailure) {
      failures.push(code)
      return retry(code)
    }
  }
  const summary = await new Watched(inFolder({ maxRetries: 0 })).run()
  expect(summary).toMatchObject({ complete: true, succeeded: 3 })
  expect(failures).toEqual([])
  expect(questions).toEqual(['a', 'b', 'c', 'a', 'b', 'c'])
})

test('answers of one server are not given for another', async () => {
  const { questions, inFolder } = world()
  await new Asking(inFolder()).run()
  await new Asking(inFolder({ clientBaseUrl: 'http://other.test/v1' })).run()
  expect(questions).toHaveLength(6)
  await new Asking(inFolder({ clientBaseUrl: 'http://API.test:80/v1/' })).run()
  expect(questions).toHaveLength(6)
})

test('a run that stops before its verdicts has the answers in the next one', async () => {
  const { questions, inFolder } = world()
  await new Asking(inFolder()).run()
  const options = inFolder()
  class Failing extends Asking {
    override processResponse(): never {
      throw new Error('not today')
    }
  }
  await expect(new Failing(options).run()).rejects.toThrow('not today')
  // Whatever becomes of the cache: the answers are the task's.
  const summary = await new Asking({ ...options, cache: undefined }).run()
  expect(summary).toMatchObject({ complete: true, succeeded: 3, cost: 0 })
  expect(questions).toHaveLength(3)
})

test('a wiped task gets its answers from the cache', async () => {
  const { questions, inFolder } = world()
  const options = inFolder()
  await new Asking(options).run()
  const summary = await new Asking({ ...options, wipeTask: true }).run()
  expect(summary).toMatchObject({ complete: true, succeeded: 3 })
  expect(questions).toHaveLength(3)
  expect(taskLines(options.taskDir, '_output.jsonl')).toHaveLength(3)
})

test('a damaged cache stops the run before anything is sent', async () => {
  const { cache, server, inFolder } = world()
  writeFileSync(join(cache, REPLY_CACHE_FILE), 'this is no database, whatever its name says')
  await expect(new Asking(inFolder()).run()).rejects.toMatchObject({ code: 'cache_invalid' })
  expect(server.seen.filter(({ method }) => method === 'POST')).toEqual([])
})

test('damage that shows in the middle stops the run; what it has goes on without the cache, and is paid for once', async () => {
  const { cache, questions, inFolder } = world()
  const many = names(1_200, 'q')
  class Many extends Asking {
    override questions = many
  }
  await new Many(inFolder()).run()
  const database = new DatabaseSync(join(cache, REPLY_CACHE_FILE))
  const crc = database.prepare("SELECT crc FROM replies WHERE body LIKE '%answer 900%'").get()
  expect(crc).toBeDefined()
  database.exec("UPDATE replies SET crc = crc + 1 WHERE body LIKE '%answer 900%'")
  database.close()
  questions.length = 0
  const options = inFolder()
  await expect(new Many(options).run()).rejects.toMatchObject({ code: 'cache_invalid' })
  const summary = await new Many({ ...options, cache: undefined }).run()
  expect(summary).toMatchObject({ complete: true, succeeded: 1_200 })
  expect(questions.length).toBeGreaterThanOrEqual(300)
  expect(questions.length).toBeLessThan(1_200)
  expect(new Set(questions).size).toBe(questions.length)
})

test('while the cache is locked the task goes on without it, and says so', async () => {
  const { cache, server, questions, inFolder } = world()
  await new Asking(inFolder()).run()
  const other = new DatabaseSync(join(cache, REPLY_CACHE_FILE))
  other.exec('BEGIN IMMEDIATE')
  class Other extends Asking {
    override questions = ['d']
  }
  const summary = await new Other(inFolder()).run()
  other.exec('ROLLBACK')
  other.close()
  expect(summary.complete).toBe(true)
  expect(server.warnings('cache_trouble')).toHaveLength(1)
  expect(questions).toEqual(['a', 'b', 'c', 'd'])
})

test('answers used again are given out beside those that are paid for, directly too', async () => {
  const { questions, inFolder } = world()
  await new Asking(inFolder()).run()
  class More extends Asking {
    override questions = ['a', 'b', 'c', 'd', 'e']
  }
  const options = inFolder({ forceDirect: true })
  const summary = await new More(options).run()
  expect(summary).toMatchObject({ complete: true, succeeded: 5 })
  expect(questions.slice(3).sort()).toEqual(['d', 'e'])
  expect(readTaskFile(options.taskDir, '_failed.jsonl')).toBe('')
})
