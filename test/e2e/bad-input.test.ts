import { readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { z } from 'zod'
import { describeError } from '../../src/cli/report-error.ts'
import { accept, TaskManager, type TaskRequest, type TaskResponse } from '../../src/index.ts'
import { TaskLock } from '../../src/state/task-lock.ts'
import { systemClock } from '../../src/util/clock.ts'
import { contentsOf } from '../support/folder.ts'
import { ask, type Harness, harness, names, stepsOf, taskLines } from '../support/task-harness.ts'

/** What a command-line user gets to see of a run that fails, and the exit code. */
async function failureOf(run: () => Promise<unknown>) {
  try {
    await run()
  } catch (error) {
    const { text, exitCode } = describeError(error)
    return { text, exitCode }
  }
  throw new Error('the run did not fail')
}

const oneLine = expect.stringMatching(/^error: [^\n]+$/)

/** All but the state file and the history, which also tell of a run that has failed. */
const taskFiles = (dir: string) => contentsOf(dir, (file) => !/_(state\.json|progress\.jsonl)/.test(file))

class Texts extends TaskManager {
  *generateRequests(): Iterable<TaskRequest> {
    for (const key of names(20)) yield { key, body: ask(key) }
  }

  processResponse({ key, text }: TaskResponse) {
    return accept({ key, text })
  }
}

/** A task with results, and with requests that wait in a queue file. */
async function halfDone(): Promise<Harness> {
  const parts = harness()
  const options = parts.options({ maxBatchRequests: 10, maxTaskRequests: 10 })
  expect(await new Texts(options).run()).toMatchObject({ outcome: 'limits', succeeded: 10, pending: 10 })
  return parts
}

describe('files that are not as they were left stop the run, and stay as they are:', () => {
  const LEDGER = 'task_ledger.jsonl'
  const STATE = 'task_state.json'

  type Damage = (path: (name: string) => string) => Promise<void>
  const cases: readonly (readonly [string, Damage, string])[] = [
    ['a state file that is no JSON', (path) => writeFile(path(STATE), '{"version": 1,'), STATE],
    ['an empty state file', (path) => writeFile(path(STATE), ''), STATE],
    ['a state file without its fields', (path) => writeFile(path(STATE), '{"version": 1}'), 'seq'],
    ['a state file of a newer version', (path) => writeFile(path(STATE), '{"version": 99}'), '99'],
    ['a flipped bit in the middle of the ledger', (path) => flipBit(path(LEDGER)), 'is corrupt: line'],
    ['a missing ledger', (path) => rm(path(LEDGER)), LEDGER],
    ['a state file without anything else', (path) => keepOnly(path, STATE), LEDGER],
    ['an older copy of the ledger', (path) => dropLastLine(path(LEDGER)), 'an older copy of the ledger'],
    [
      'a shortened output',
      (path) => truncate(path('task_output.jsonl'), 5),
      'task_output.jsonl has only 5 bytes',
    ],
    ['a missing output', (path) => rm(path('task_output.jsonl')), 'task_output.jsonl is missing'],
    [
      'a shortened queue file',
      (path) => truncate(path('task_batch2.jsonl'), 5),
      'task_batch2.jsonl has only 5',
    ],
  ]

  test.each(cases)('%s', async (_, damage, told) => {
    const { dir, options, seen } = await halfDone()
    await damage((name) => join(dir, name))
    const before = await contentsOf(dir)
    const calls = seen.length
    const failure = await failureOf(() => new Texts(options()).run())
    expect(failure).toEqual({ text: oneLine, exitCode: 1 })
    expect(failure.text).toContain(told)
    expect(await contentsOf(dir)).toEqual(before)
    expect(seen).toHaveLength(calls)
  })

  async function flipBit(path: string): Promise<void> {
    const bytes = await readFile(path)
    const middle = bytes.length >> 1
    bytes.writeUInt8(bytes.readUInt8(middle) ^ 1, middle)
    await writeFile(path, bytes)
  }

  async function keepOnly(path: (name: string) => string, kept: string): Promise<void> {
    const gone = (await readdir(path('.'))).filter((name) => name !== kept)
    await Promise.all(gone.map((name) => rm(path(name))))
  }

  async function dropLastLine(path: string): Promise<void> {
    const lines = (await readFile(path, 'utf8')).split('\n')
    await writeFile(path, `${lines.slice(0, -2).join('\n')}\n`)
  }

  test('but a missing state file alone is written anew', async () => {
    const { dir, options } = await halfDone()
    await rm(join(dir, STATE))
    expect(await new Texts(options()).run()).toMatchObject({ complete: true, succeeded: 20 })
    expect(taskLines(dir, '_output.jsonl')).toHaveLength(20)
  })
})

describe('a task folder', () => {
  test('that another process holds is left alone', async () => {
    const { dir, options } = await halfDone()
    const lock = await TaskLock.acquire({ directory: dir, name: 'task', clock: systemClock })
    onTestFinished(() => lock.release())
    const before = await contentsOf(dir)
    const failure = await failureOf(() => new Texts(options()).run())
    expect(failure).toEqual({ text: oneLine, exitCode: 1 })
    expect(failure.text).toContain(`task.lock is held by process ${process.pid} `)
    expect(await contentsOf(dir)).toEqual(before)
  })

  test.each(['file', 'file/below'])(
    'that cannot be made, because %s is in the way, is named',
    async (name) => {
      const { dir, options, seen } = harness()
      await writeFile(join(dir, 'file'), 'mine')
      const failure = await failureOf(() => new Texts(options({ taskDir: join(dir, name) })).run())
      expect(failure).toEqual({ text: oneLine, exitCode: 1 })
      expect(failure.text).toContain(join(dir, name))
      expect(await readFile(join(dir, 'file'), 'utf8')).toBe('mine')
      expect(seen).toEqual([])
    },
  )

  test('stays empty when there is no key, and the message names both ways to go on', async () => {
    const { dir, options, seen } = harness()
    const failure = await failureOf(() => new Texts(options({ env: {} })).run())
    expect(failure).toEqual({ text: oneLine, exitCode: 2 })
    expect(failure.text).toContain('OPENAI_API_KEY')
    expect(failure.text).toContain('--emulator')
    expect(await contentsOf(dir)).toEqual([])
    expect(seen).toEqual([])
  })
})

describe('a request that cannot be is named, not recorded, and nothing is sent:', () => {
  const cycle: Record<string, unknown> = {}
  cycle.self = cycle
  const cases: readonly (readonly [string, object, string])[] = [
    ['a BigInt', { seed: 1n }, '$.seed: the bigint 1n'],
    ['NaN', { temperature: Number.NaN }, '$.temperature: NaN'],
    ['an infinite number', { temperature: Number.POSITIVE_INFINITY }, '$.temperature: Infinity'],
    ['a function', { tools: [{ call: () => 1 }] }, '$.tools[0].call: a function'],
    ['a cycle', { extra: cycle }, '$.extra.self: the value contains itself'],
    ['a Set', { extra: new Set() }, '$.extra: an object of class Set'],
  ]

  test.each(cases)('a body with %s', async (_, part, told) => {
    const { dir, options, count } = harness()
    class Faulty extends Texts {
      override *generateRequests() {
        yield { key: 'good', body: ask('good') }
        yield { key: 'faulty', body: { ...ask('faulty'), ...part } }
      }
    }
    const failure = await failureOf(() => new Faulty(options()).run())
    expect(failure).toEqual({ text: oneLine, exitCode: 1 })
    expect(failure.text).toContain('"faulty"')
    expect(failure.text).toContain(told)
    expect(keysIn(dir)).not.toContain('faulty')
    expect(count('POST', /.*/)).toBe(0)
  })

  test('a key given twice with different bodies', async () => {
    const { dir, options, count } = harness()
    class Twice extends Texts {
      override *generateRequests() {
        yield { key: 'same', body: ask('first') }
        yield { key: 'same', body: ask('second') }
      }
    }
    const failure = await failureOf(() => new Twice(options()).run())
    expect(failure).toEqual({ text: oneLine, exitCode: 1 })
    expect(failure.text).toContain('"same" was given twice with different bodies')
    expect(await filesWith(dir, 'second')).toEqual([])
    expect(count('POST', /.*/)).toBe(0)
  })

  test('a key given twice with different bodies, the first of them answered in an earlier run', async () => {
    const { dir, options, count } = harness()
    let twice = false
    class Twice extends Texts {
      override *generateRequests() {
        yield* super.generateRequests()
        if (twice) yield { key: 'k-7', body: ask('something else') }
      }
    }
    expect(await new Twice(options()).run()).toMatchObject({ complete: true })
    const [before, calls] = [await taskFiles(dir), count('POST', /.*/)]
    twice = true
    const failure = await failureOf(() => new Twice(options()).run())
    expect(failure).toEqual({ text: oneLine, exitCode: 1 })
    expect(failure.text).toContain('"k-7" was given twice with different bodies')
    expect(await taskFiles(dir)).toEqual(before)
    expect(count('POST', /.*/)).toBe(calls)
  })

  const keysIn = (dir: string) => stepsOf(dir, 'add').flatMap(({ keys }) => keys)

  async function filesWith(dir: string, text: string): Promise<string[]> {
    const files = (await contentsOf(dir)).map((file) => join(dir, file.split(' ')[0] ?? ''))
    const texts = await Promise.all(files.map((file) => readFile(file, 'utf8')))
    return files.filter((_, index) => texts[index]?.includes(text))
  }
})

test('a schema that strict JSON cannot say is named by its path, before anything is written', async () => {
  const { dir, options, seen } = harness()
  class Counted extends TaskManager {
    override answerSchema = z.object({ words: z.array(z.object({ counts: z.map(z.string(), z.int()) })) });

    *generateRequests() {
      yield { key: 'only', body: ask('only') }
    }

    processResponse({ key }: TaskResponse) {
      return accept(key)
    }
  }
  const failure = await failureOf(() => new Counted(options()).run())
  expect(failure).toEqual({ text: oneLine, exitCode: 1 })
  expect(failure.text).toContain('Counted: words[].counts is of type "map"')
  expect(await contentsOf(dir)).toEqual([])
  expect(seen).toEqual([])
})

describe('a hook that throws', () => {
  test('in generateRequests ends the run with its message; what it gave before waits for the next run', async () => {
    const { dir, options, count } = harness()
    let broken = true
    class Fragile extends Texts {
      override *generateRequests() {
        yield* super.generateRequests()
        if (broken) throw new Error('the data set is damaged')
      }
    }
    const failure = await failureOf(() => new Fragile(options()).run())
    expect(failure.exitCode).toBe(1)
    expect(failure.text.split('\n')[0]).toBe(
      'error: generateRequests failed: the data set is damaged. What it gave before is kept; the next run calls it again.',
    )
    expect(count('POST', /.*/)).toBe(0)
    broken = false
    expect(await new Fragile(options()).run()).toMatchObject({ complete: true, succeeded: 20 })
    expect(taskLines(dir, '_output.jsonl')).toHaveLength(20)
  })

  test('in processResponse ends the run with the key; verdicts before it stay, and the next run delivers the reply again', async () => {
    const { dir, options, count } = harness()
    const delivered: string[] = []
    let broken = true
    class Fragile extends Texts {
      override processResponse(response: TaskResponse) {
        delivered.push(response.key)
        if (broken && response.key === 'k-5') throw new Error('not today')
        return super.processResponse(response)
      }
    }
    const failure = await failureOf(() => new Fragile(options()).run())
    expect(failure.exitCode).toBe(1)
    expect(failure.text.split('\n')[0]).toContain('processResponse failed for key "k-5": not today')
    const before = delivered.slice(0, -1)
    expect(taskLines(dir, '_output.jsonl').map(({ key }) => key)).toEqual(before)
    const calls = count('POST', /.*/)

    broken = false
    delivered.length = 0
    expect(await new Fragile(options()).run()).toMatchObject({ complete: true, succeeded: 20 })
    expect(new Set(delivered)).toEqual(new Set(names(20).filter((key) => !before.includes(key))))
    expect(delivered).toContain('k-5')
    expect(delivered).toHaveLength(20 - before.length)
    expect(taskLines(dir, '_output.jsonl')).toHaveLength(20)
    expect(count('POST', /.*/)).toBe(calls)
  })
})
