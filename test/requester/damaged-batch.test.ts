import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { accept } from '../../src/batch/verdict.ts'
import { TaskManager } from '../../src/task/task-manager.ts'
import type { TaskResponse } from '../../src/task/task-types.ts'
import { ask, type Harness, harness, names, taskLines } from '../support/task-harness.ts'

class Ten extends TaskManager {
  *generateRequests() {
    for (const key of names(10)) yield { key, body: ask(key) }
  }

  processResponse({ key }: TaskResponse) {
    return accept(key)
  }
}

/** A task with two sealed batches of five requests, nothing of which was sent. */
async function sealed(): Promise<Harness> {
  const rig = harness()
  const run = new Ten(rig.options({ maxBatchRequests: 5, maxRemoteBatches: 0 })).run()
  expect(await run).toMatchObject({ outcome: 'limits', pending: 10 })
  return rig
}

const pathOf = ({ dir }: Harness): string => join(dir, 'task_batch1.jsonl')

const statusesOf = ({ events }: Harness, file: number): string[] =>
  events.flatMap((event) => (event.kind === 'batch-changed' && event.file === file ? [event.status] : []))

/** Changes the first batch's file, but not its length. Returns what it was. */
function damage(rig: Harness, from: string, to: string): string {
  expect(to.length).toBe(from.length)
  const before = readFileSync(pathOf(rig), 'utf8')
  expect(before).toContain(from)
  writeFileSync(pathOf(rig), before.replace(from, to))
  return before
}

describe('a batch file that was damaged before its upload', () => {
  test.each([
    ['is no JSON any more', '"custom_id":"r3-0"', '"custom_id":"r3-0 ', 'line 3: not_json'],
    ['has an id twice', 'r4-0', 'r2-0', 'line 4: duplicate_custom_id'],
    ['has another model', '"model":"gpt-5-mini"', '"model":"gpt-5-maxi"', 'line 1: mixed_models'],
    ['has a request less', '}}\n', '}} ', 'line 1: not_json'],
    ['has zeros where a disk lost a block', '"method"', '\0\0\0\0\0\0\0\0', 'line 1: not_json'],
  ])('because it %s stays here; the others go on', async (_, from, to, finding) => {
    const rig = await sealed()
    damage(rig, from, to)
    const summary = await new Ten(rig.options({ maxBatchRequests: 5 })).run()
    expect(summary).toMatchObject({ complete: false, outcome: 'failed-batches', succeeded: 5, pending: 5 })
    expect(summary.details).toEqual([expect.stringContaining(finding)])
    expect(summary.details[0]).toContain('task_batch1.jsonl')
    expect(summary.details[0]).not.toContain(rig.dir)
    expect(rig.count('POST', '/v1/files')).toBe(1)
    expect(rig.warnings('batch_damaged')).toHaveLength(1)
    expect(statusesOf(rig, 1)).toEqual(['refused'])
    expect(taskLines<string>(rig.dir, '_output.jsonl').sort()).toEqual(names(10).slice(5))
  })

  test('is sent once it is restored', async () => {
    const rig = await sealed()
    const before = damage(rig, '"method"', '"mothod"')
    expect(await new Ten(rig.options()).run()).toMatchObject({ outcome: 'failed-batches' })
    writeFileSync(pathOf(rig), before)
    expect(await new Ten(rig.options()).run()).toMatchObject({ complete: true, succeeded: 10, batches: 2 })
  })

  test('gives its requests back by --wipe-requests', async () => {
    const rig = await sealed()
    damage(rig, '"method"', '"mothod"')
    const summary = await new Ten(rig.options({ wipeRequests: true })).run()
    expect(summary).toMatchObject({ complete: true, succeeded: 10 })
    expect(taskLines<string>(rig.dir, '_output.jsonl').sort()).toEqual(names(10))
  })
})
