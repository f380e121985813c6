import { readdirSync } from 'node:fs'
import { expect, test } from 'vitest'
import { accept, reject, retry } from '../../src/batch/verdict.ts'
import { eventText } from '../../src/cli/event-text.ts'
import { type EmulatedRequest, type EmulatorOptions, httpAnswer } from '../../src/emulator/index.ts'
import type { ProgressEvent } from '../../src/progress/events.ts'
import { explain } from '../../src/requester/explanation.ts'
import { readStatus } from '../../src/requester/status.ts'
import { nodeFileSystem } from '../../src/state/file-system.ts'
import { TaskManager, type TaskManagerOptions } from '../../src/task/task-manager.ts'
import type { TaskFailure, TaskResponse } from '../../src/task/task-types.ts'
import {
  ask,
  harness,
  names,
  questionOf,
  stepsOf,
  taskLines,
  temporaryFolder,
} from '../support/task-harness.ts'

/** Asks one thing for each key; several keys may ask the same. */
class Asking extends TaskManager {
  questions: Readonly<Record<string, string>> = { one: 'a', two: 'a', three: 'b', four: 'a' }

  processResponse({ key, text, cost, attempt, meta }: TaskResponse<unknown>) {
    return accept({ key, text, cost, attempt, meta })
  }

  *generateRequests() {
    for (const [key, question] of Object.entries(this.questions))
      yield { key, body: ask(question), meta: { of: key }, sample: `sample of ${key}` }
  }
}

interface Written {
  readonly key: string
  readonly text: string
  readonly cost: number
  readonly attempt: number
  readonly meta: unknown
}

/** A server that notes what it is asked, and tasks that ask identical requests once. */
function world(emulator: EmulatorOptions = {}) {
  const questions: string[] = []
  const answer = (request: EmulatedRequest) => `answer ${questions.push(questionOf(request))}`
  const server = harness({ answer, ...emulator })
  const options = (over: Partial<TaskManagerOptions> = {}) => server.options({ dedupe: true, ...over })
  /** Of a run that is stopped by its first call, which never arrives: by then its requests are committed. */
  const stopped = () => {
    const stop = new AbortController()
    const fetch = async () => {
      stop.abort()
      throw new TypeError('fetch failed')
    }
    return options({ stop: stop.signal, fetch })
  }
  const written = () => taskLines<Written>(server.dir, '_output.jsonl')
  const textOf = (key: string) => written().find((line) => line.key === key)?.text
  return { server, dir: server.dir, questions, options, stopped, written, textOf }
}

const byKeys = (keys: readonly string[], question: (index: number) => string) =>
  Object.fromEntries(keys.map((key, index) => [key, question(index)]))

test('of identical requests one is asked, all have its answer, and each its own sample and meta', async () => {
  const { dir, questions, options, written } = world()
  const keys = names(20)
  class Twenty extends Asking {
    override questions = byKeys(keys, (index) => `question ${index % 5}`)
  }
  const summary = await new Twenty(options()).run()
  expect(summary).toMatchObject({ complete: true, succeeded: 20 })
  expect(questions.sort()).toEqual(names(5, 'question').map((name) => name.replace('-', ' ')))
  const lines = written()
  expect(lines.map(({ key }) => key).sort()).toEqual([...keys].sort())
  for (const { key, meta } of lines) expect(meta).toEqual({ of: key })
  for (let kind = 0; kind < 5; kind++) {
    const texts = keys
      .filter((_, index) => index % 5 === kind)
      .map((key) => lines.find((one) => one.key === key)?.text)
    expect(new Set(texts).size).toBe(1)
  }
  const paid = lines.filter(({ cost }) => cost > 0)
  expect(paid).toHaveLength(5)
  expect(paid.reduce((sum, { cost }) => sum + cost, 0)).toBeCloseTo(summary.cost ?? 0, 12)
  const replies = stepsOf(dir, 'received').flatMap(({ reused }) => (reused ? [reused] : []))
  expect(replies).toHaveLength(5)
  for (const one of replies) expect(one).toMatchObject({ replies: 3, of: expect.any(Number) })
  expect(readdirSync(dir).filter((file) => /_batch|_replies/.test(file))).toEqual([])
})

test('without --dedupe each is asked', async () => {
  const { questions, options } = world()
  await new Asking(options({ dedupe: false })).run()
  expect(questions).toHaveLength(4)
})

test('directly, too', async () => {
  const { questions, options, written } = world()
  const summary = await new Asking(options({ forceDirect: true })).run()
  expect(summary).toMatchObject({ complete: true, succeeded: 4 })
  expect(questions.sort()).toEqual(['a', 'b'])
  expect(written()).toHaveLength(4)
})

test('many that wait for one answer are served some at a time', async () => {
  const { dir, questions, options } = world()
  class Many extends Asking {
    override questions = byKeys(names(2_300), () => 'the same')
  }
  const summary = await new Many(options()).run()
  expect(summary).toMatchObject({ complete: true, succeeded: 2_300 })
  expect(questions).toEqual(['the same'])
  const shared = stepsOf(dir, 'requeue').map(({ requests }) => (requests as number[]).length)
  expect(shared).toEqual([500, 500, 500, 500, 299])
})

test('who waited for a request that is rejected is asked for itself, all in one batch', async () => {
  const { server, questions, options, textOf } = world()
  class Picky extends Asking {
    override processResponse(response: TaskResponse<unknown>) {
      return response.key === 'one' ? reject('not this one') : super.processResponse(response)
    }
  }
  const summary = await new Picky(options()).run()
  expect(summary).toMatchObject({ complete: true, succeeded: 3, failed: 1 })
  expect(questions).toEqual(['a', 'b', 'a', 'a'])
  expect(textOf('two')).not.toBe(textOf('four'))
  expect(server.count('POST', '/v1/batches')).toBe(2)
})

test('of very many who waited for one that is rejected some are asked, and the others wait for the last of these', async () => {
  const { dir, questions, options } = world()
  class Picky extends Asking {
    override questions = byKeys(names(701), () => 'a')
    override processResponse(response: TaskResponse<unknown>) {
      return response.key === 'k-0' ? reject('not this one') : super.processResponse(response)
    }
  }
  const summary = await new Picky(options()).run()
  expect(summary).toMatchObject({ complete: true, succeeded: 700, failed: 1 })
  expect(questions).toHaveLength(1 + 500)
  const moved = stepsOf(dir, 'requeue').map(({ why, requests }) => [why, [requests].flat().length])
  expect(moved).toEqual([
    ['alone', 500],
    ['shared', 200],
  ])
})

test('nobody comes to wait for a request that goes on with another body', async () => {
  const { questions, options, textOf } = world()
  const repaired = Promise.withResolvers<void>()
  class Late extends TaskManager {
    processResponse({ key, text, attempt }: TaskResponse<unknown>) {
      return key === 'early' && attempt === 1 ? retry('better', { body: ask('a!') }) : accept({ key, text })
    }
    async *generateRequests() {
      yield { key: 'early', body: ask('a') }
      for (const key of names(500, 'other')) yield { key, body: ask(key) }
      await repaired.promise
      yield { key: 'late', body: ask('a') }
    }
  }
  const reporter = {
    onEvent: ({ kind }: ProgressEvent) => {
      if (kind === 'request-failed') repaired.resolve()
    },
  }
  const summary = await new Late(
    options({ maxBatchRequests: 100, reporters: [reporter], maxUnpushedBatches: 50 }),
  ).run()
  expect(summary).toMatchObject({ complete: true, succeeded: 502 })
  expect(questions.filter((question) => question === 'a')).toHaveLength(2)
  expect(textOf('late')).not.toBe(textOf('early'))
})

test('who waits goes on waiting while the first is tried again', async () => {
  let tries = 0
  const asked: string[] = []
  const { options, textOf, written } = world({
    answer: (request) => {
      asked.push(questionOf(request))
      return ++tries < 3 ? httpAnswer(500, { error: { message: 'no' } }) : `at try ${tries}`
    },
  })
  class One extends Asking {
    override questions = { one: 'a', two: 'a', three: 'a' }
  }
  await new One(options()).run()
  expect(asked).toHaveLength(3)
  expect([textOf('one'), textOf('two'), textOf('three')]).toEqual(Array(3).fill('at try 3'))
  const attempts = Object.fromEntries(written().map(({ key, attempt }) => [key, attempt]))
  expect(attempts).toEqual({ one: 3, two: 1, three: 1 })
})

test('who waited for a request that fails for good has tries of its own', async () => {
  const seen = new Map<string, number>()
  const { options, dir } = world({
    answer: (request) => {
      const question = questionOf(request)
      seen.set(question, (seen.get(question) ?? 0) + 1)
      return httpAnswer(500, { error: { message: 'no' } })
    },
  })
  class Bad extends Asking {
    override questions = byKeys(names(4), () => 'bad')
  }
  const summary = await new Bad(options({ maxRetries: 1 })).run()
  expect(summary).toMatchObject({ complete: true, failed: 4 })
  expect(seen.get('bad')).toBe(8)
  expect(taskLines(dir, '_failed.jsonl').map(({ attempts }) => attempts)).toEqual([2, 2, 2, 2])
})

test('a request that goes on with another body leaves its twins to themselves', async () => {
  const { questions, options, textOf } = world()
  class Repairing extends Asking {
    override processResponse(response: TaskResponse<unknown>) {
      if (response.key === 'one' && response.attempt === 1) return retry('better', { body: ask('a!') })
      return super.processResponse(response)
    }
  }
  const summary = await new Repairing(options()).run()
  expect(summary).toMatchObject({ complete: true, succeeded: 4 })
  expect(questions.slice(0, 2)).toEqual(['a', 'b'])
  expect(questions.slice(2).sort()).toEqual(['a', 'a', 'a!'])
  expect(textOf('one')).not.toBe(textOf('two'))
})

test('what is accepted in place of an answer is not shared', async () => {
  const { options, written } = world({ answer: () => httpAnswer(400, { error: { message: 'no' } }) })
  class Content extends Asking {
    override processFailure({ key }: TaskFailure) {
      return accept({ key, text: 'nothing', cost: 0, attempt: 0, meta: null })
    }
  }
  const summary = await new Content(options()).run()
  expect(summary).toMatchObject({ complete: true, succeeded: 4 })
  expect(written().map(({ text }) => text)).toEqual(Array(4).fill('nothing'))
})

test('requests that can never be sent fail each for itself', async () => {
  const { dir, questions, options } = world()
  class Large extends Asking {
    override questions = byKeys(names(3), () => 'x'.repeat(1_100_000))
  }
  const summary = await new Large(options({ maxBatchMb: 1 })).run()
  expect(summary).toMatchObject({ complete: true, failed: 3 })
  expect(taskLines(dir, '_failed.jsonl').map(({ reason }) => String(reason).slice(0, 9))).toEqual(
    Array(3).fill('too_large'),
  )
  expect(questions).toEqual([])
})

test('the next run knows who waits, and what new requests can wait for', async () => {
  const { server, questions, options, textOf, stopped } = world()
  await new Asking(stopped()).run()
  expect(questions).toEqual([])
  class More extends Asking {
    override questions = { one: 'a', two: 'a', three: 'b', four: 'a', five: 'a', six: 'b' }
  }
  const summary = await new More(options()).run()
  expect(summary).toMatchObject({ complete: true, succeeded: 6 })
  expect(questions.sort()).toEqual(['a', 'b'])
  expect(textOf('five')).toBe(textOf('one'))
  expect(textOf('six')).toBe(textOf('three'))
  expect(server.warnings('cache_trouble')).toEqual([])
})

test('requests that wait are served by a run without --dedupe as well', async () => {
  const { questions, options, stopped } = world()
  await new Asking(stopped()).run()
  const summary = await new Asking(options({ dedupe: false })).run()
  expect(summary).toMatchObject({ complete: true, succeeded: 4, pending: 0 })
  expect(questions.sort()).toEqual(['a', 'b'])
})

test.each(['wipeRequests', 'wipeFailed', 'wipeTask'] as const)(
  '%s forgets those that wait, too',
  async (wipe) => {
    const { questions, options, written, stopped } = world()
    await new Asking(stopped()).run()
    const summary = await new Asking(options({ [wipe]: true })).run()
    expect(summary).toMatchObject({ complete: true, requests: 4, succeeded: 4, pending: 0 })
    expect(written()).toHaveLength(4)
    expect(questions.sort()).toEqual(['a', 'b'])
  },
)

test('with a cache later passes and later tasks have the answer as well', async () => {
  const { questions, options } = world()
  const cache = temporaryFolder()
  const folder = temporaryFolder()
  class Again extends Asking {
    override questions = { one: 'a', two: 'a', three: 'b' }
  }
  await new Again(options({ cache })).run()
  await new Asking(options({ cache })).run()
  await new Asking(options({ cache, taskDir: folder })).run()
  expect(questions.sort()).toEqual(['a', 'b'])
})

test('status and explain say who waits for whom', async () => {
  const { dir, options, stopped } = world()
  await new Asking(stopped()).run()
  const place = { directory: dir, name: 'task' }
  const { requests } = await readStatus(nodeFileSystem, place.directory, place.name)
  expect(requests).toMatchObject({ total: 4, pending: 4, queued: 2, waiting: 2, inFlight: 0, received: 0 })
  await new Asking(options()).run()
  const { lives } = await explain(nodeFileSystem, place, 'two')
  const { events, state, cost } = lives[0] ?? { events: [] }
  expect(state).toBe('succeeded')
  expect(cost).toMatchObject({ usd: 0, unpriced: 0, untold: 0 })
  const told = events.map((event) => eventText(event))
  expect(told[0]).toBe('added, to wait for the answer to the identical request r1')
  expect(events.map(({ kind }) => kind)).toEqual(['added', 'queued-again', 'received', 'sealed', 'accepted'])
  expect(events[1]).toMatchObject({ why: 'shared', customId: 'r3-1' })
})
