import { existsSync, rmSync, statSync, utimesSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { accept, reject, type Verdict } from '../../src/batch/verdict.ts'
import { JsonLinesOutput, JsonOutput } from '../../src/task/output.ts'
import { TaskManager } from '../../src/task/task-manager.ts'
import type { TaskResponse } from '../../src/task/task-types.ts'
import { ask, harness, names, readTaskFile, taskLines } from '../support/task-harness.ts'

describe('JsonLinesOutput', () => {
  class Parts extends TaskManager {
    override createOutput() {
      return new JsonLinesOutput({ maxEntries: 4 })
    }

    *generateRequests() {
      for (const key of names(10)) yield { key, body: ask(key) }
    }

    processResponse({ key }: TaskResponse): Verdict {
      return accept(key)
    }
  }

  test('in parts fills one after another, over runs', async () => {
    const { options, dir } = harness()
    const first = await new Parts(
      options({ maxBatchRequests: 2, maxSessionRequests: 6, maxRemoteBatches: 1 }),
    ).run()
    expect(first).toMatchObject({ outcome: 'limits', succeeded: 6 })
    expect(first.output).toEqual([1, 2].map((part) => `${dir}/task_output_part00${part}.jsonl`))
    const summary = await new Parts(options()).run()
    expect(summary.output).toEqual([1, 2, 3].map((part) => `${dir}/task_output_part00${part}.jsonl`))
    const parts = [1, 2, 3].map((part) => taskLines<string>(dir, `_output_part00${part}.jsonl`))
    expect(parts.map((lines) => lines.length)).toEqual([4, 4, 2])
    expect(parts.flat().sort()).toEqual(names(10))
    expect(existsSync(`${dir}/task_output.jsonl`)).toBe(false)
  })

  test('in another form than before stops the run before anything is written', async () => {
    const { options, seen } = harness()
    await new Parts(options({ maxBatchRequests: 2, maxSessionRequests: 4 })).run()
    class Whole extends Parts {
      override createOutput() {
        return new JsonLinesOutput()
      }
    }
    const sent = seen.length
    await expect(new Whole(options()).run()).rejects.toMatchObject({ code: 'output_changed' })
    expect(seen.length).toBe(sent)
    expect(await new Parts(options()).run()).toMatchObject({ complete: true, succeeded: 10 })
  })

  test('holds each accepted value once, and nothing for accepts without one', async () => {
    const { options, dir } = harness({ failureRate: 0.5 })
    class Some extends Parts {
      override createOutput() {
        return new JsonLinesOutput()
      }

      override processResponse({ key }: TaskResponse) {
        const number = Number(key.at(-1))
        return number < 3
          ? accept()
          : number === 3
            ? accept(null)
            : number === 4
              ? accept({ odd: '\u2028' })
              : accept(key)
      }
    }
    await new Some(options()).run()
    const lines = taskLines<unknown>(dir, '_output.jsonl')
    expect(lines).toHaveLength(7)
    expect(lines).toContainEqual(null)
    expect(lines).toContainEqual({ odd: '\u2028' })
    expect(lines).toEqual(expect.arrayContaining(names(10).slice(5)))
  })

  test('that cannot be written stops the run with the key; nothing of it is kept', async () => {
    const { options, dir } = harness()
    let broken = true
    class Odd extends Parts {
      override processResponse({ key }: TaskResponse) {
        return accept(broken && key === 'k-5' ? Number.NaN : key)
      }
    }
    await expect(new Odd(options()).run()).rejects.toThrow('"k-5"')
    const kept = [1, 2].flatMap((part) => taskLines(dir, `_output_part00${part}.jsonl`))
    expect(kept.slice(0, 5)).toEqual(names(5))
    expect(kept).not.toContain(null)
    expect(kept).not.toContain('k-5')
    broken = false
    expect(await new Odd(options()).run()).toMatchObject({ complete: true, succeeded: 10 })
  })
})

describe('JsonOutput', () => {
  class Sum extends TaskManager {
    static projections = 0

    override createOutput() {
      return new JsonOutput<{ length: number }>(async (entries) => {
        Sum.projections++
        let sum = 0
        for await (const { length } of entries) sum += length
        return { sum }
      })
    }

    *generateRequests() {
      for (const key of names(8)) yield { key, body: ask(key) }
    }

    processResponse({ key }: TaskResponse) {
      return key === 'k-7' ? reject('not counted') : accept({ length: key.length })
    }
  }

  test('projects all that was accepted in all runs', async () => {
    const { options, dir } = harness()
    await new Sum(options({ maxBatchRequests: 2, maxSessionRequests: 4 })).run()
    expect(JSON.parse(readTaskFile(dir, '_output.json'))).toEqual({ sum: 12 })
    const summary = await new Sum(options()).run()
    expect(summary.output).toEqual([`${dir}/task_output.json`])
    expect(JSON.parse(readTaskFile(dir, '_output.json'))).toEqual({ sum: 21 })
    expect(taskLines(dir, '_output.jsonl')).toHaveLength(7)
  })

  test('is made again after new lines, even when a clock that was set back calls them old', async () => {
    const { options, dir } = harness()
    await new Sum(options({ maxBatchRequests: 2, maxSessionRequests: 4 })).run()
    const ahead = Date.now() / 1000 + 86_400
    utimesSync(`${dir}/task_output.json`, ahead, ahead)
    await new Sum(options()).run()
    expect(JSON.parse(readTaskFile(dir, '_output.json'))).toEqual({ sum: 21 })
  })

  test('is made again when the file is missing or older than the lines, and only then', async () => {
    const { options, dir } = harness()
    await new Sum(options()).run()
    const file = `${dir}/task_output.json`
    const { mtimeMs } = statSync(`${dir}/task_output.jsonl`)
    utimesSync(file, (mtimeMs + 5_000) / 1000, (mtimeMs + 5_000) / 1000)
    const made = Sum.projections
    await new Sum(options()).run()
    expect(Sum.projections).toBe(made)
    utimesSync(file, (mtimeMs - 5_000) / 1000, (mtimeMs - 5_000) / 1000)
    await new Sum(options()).run()
    expect(Sum.projections).toBe(made + 1)
    rmSync(file)
    await new Sum(options({ run: false })).run()
    expect(Sum.projections).toBe(made + 2)
    expect(JSON.parse(readTaskFile(dir, '_output.json'))).toEqual({ sum: 21 })
  })
})
