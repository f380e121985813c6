import { readdirSync, writeFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { accept } from '../../src/batch/verdict.ts'
import { TaskManager } from '../../src/task/task-manager.ts'
import type { TaskResponse } from '../../src/task/task-types.ts'
import {
  ask,
  type CrashPoint,
  crashing,
  type Harness,
  harness,
  isKind,
  names,
  type Seen,
  stepsOf,
  taskLines,
} from '../support/task-harness.ts'

class Ten extends TaskManager {
  *generateRequests() {
    for (const key of names(10)) yield { key, body: ask(key) }
  }

  processResponse({ key }: TaskResponse) {
    return accept(key)
  }
}

/** Runs until the crash; gives the folder that is left. */
async function crash(rig: Harness, point: CrashPoint, over = {}): Promise<string> {
  const crashed = crashing(rig, point, over)
  const run = new Ten(crashed.options).run()
  const folder = await crashed.folder
  crashed.bury()
  await Promise.allSettled([run])
  return folder
}

async function remoteBatches({ emulator }: Harness): Promise<number> {
  const response = await emulator.fetch('http://console.test/v1/batches?limit=100')
  return JSON.parse(await response.text()).data.length
}

const at = (method: string, path: string | RegExp) => (seen: Seen) => isKind(seen, method, path)

const points: readonly (readonly [string, CrashPoint['at'], boolean])[] = [
  ['the upload arrived', at('POST', '/v1/files'), true],
  ['the upload was lost', at('POST', '/v1/files'), false],
  ['the create arrived', at('POST', '/v1/batches'), true],
  ['the create was lost', at('POST', '/v1/batches'), false],
  ['it was polled', at('GET', /^\/v1\/batches/), true],
  ['results were downloaded', at('GET', /content$/), true],
  ['remote files were deleted', at('DELETE', /files/), true],
  ['remote files were to be deleted', at('DELETE', /files/), false],
]

describe('a crash of a batch run', () => {
  test.each(points)('while %s: the next run goes on, each request is done once', async (_, point, acted) => {
    const rig = harness()
    const folder = await crash(rig, { at: point, acted })
    const summary = await new Ten(rig.options({ taskDir: folder })).run()
    expect(summary).toMatchObject({ complete: true, requests: 10, succeeded: 10, retries: 0, batches: 1 })
    expect(taskLines(folder, '_output.jsonl')).toEqual(names(10))
    expect(await remoteBatches(rig)).toBe(1)
    const files = await rig.emulator.fetch('http://console.test/v1/files')
    expect(JSON.parse(await files.text()).data).toEqual([])
  })

  test('after an upload that arrived does not upload again', async () => {
    const rig = harness()
    const folder = await crash(rig, { at: at('POST', '/v1/files'), acted: true })
    await new Ten(rig.options({ taskDir: folder })).run()
    expect(rig.count('POST', '/v1/files')).toBe(1)
    expect(rig.count('POST', '/v1/batches')).toBe(1)
  })

  test('after a create that arrived adopts the batch', async () => {
    const rig = harness()
    const folder = await crash(rig, { at: at('POST', '/v1/batches'), acted: true })
    await new Ten(rig.options({ taskDir: folder })).run()
    expect(rig.count('POST', '/v1/batches')).toBe(1)
    expect(stepsOf(folder, 'created')).toMatchObject([{ adopted: true }])
    expect(stepsOf(folder, 'fenced')).toEqual([])
  })

  test('after a create that was lost waits for the grace before it begins anew', async () => {
    const rig = harness()
    const folder = await crash(rig, { at: at('POST', '/v1/batches') })
    const before = rig.clock.now()
    await new Ten(rig.options({ taskDir: folder })).run()
    expect(rig.clock.now() - before).toBeGreaterThanOrEqual(30_000)
    expect(stepsOf(folder, 'intent')).toHaveLength(2)
    expect(stepsOf(folder, 'abandoned')).toHaveLength(1)
  })

  test('over and over again, at every second request, comes to the same end', async () => {
    const rig = harness()
    let taskDir = rig.dir
    for (let crashes = 0; crashes < 8; crashes++) {
      let seen = 0
      taskDir = await crash(
        rig,
        { at: () => ++seen === 2, acted: crashes % 2 === 0 },
        { taskDir, maxBatchRequests: 5 },
      )
    }
    expect(await new Ten(rig.options({ taskDir })).run()).toMatchObject({ complete: true, succeeded: 10 })
    expect(taskLines<string>(taskDir, '_output.jsonl').sort()).toEqual(names(10))
    expect(await remoteBatches(rig)).toBe(2)
  })
})

describe('a crash of a direct run', () => {
  test('sends again only what was on the wire, and says that it is uncertain', async () => {
    const rig = harness()
    let calls = 0
    const direct = { forceDirect: true, directConcurrency: 3 }
    const folder = await crash(
      rig,
      { at: ({ method }) => method === 'POST' && ++calls === 6, acted: true },
      direct,
    )
    const sent = rig.count('POST', '/v1/chat/completions')
    const summary = await new Ten(rig.options({ ...direct, taskDir: folder })).run()
    expect(summary).toMatchObject({ complete: true, succeeded: 10, failed: 0 })
    const uncertain = stepsOf(folder, 'uncertain').flatMap(({ requests }) => requests)
    expect(uncertain.length).toBeGreaterThanOrEqual(1)
    expect(uncertain.length).toBeLessThanOrEqual(3)
    expect(rig.count('POST', '/v1/chat/completions') - sent).toBeLessThanOrEqual(10 - sent + 3)
    expect(taskLines<string>(folder, '_output.jsonl').sort()).toEqual(names(10))
  })
})

describe('a crash in the first reply of a direct set', () => {
  test.each([
    ['nothing', ''],
    ['half a line', '{"custom_id":"r1-0","response":{"sta'],
    ['a line that is damaged', '{"custom_id":"r1-0","response":null,"error":null,"crc":"00000000"}\n'],
  ])('that left %s on the disk leaves nothing in the end', async (_, text) => {
    const rig = harness()
    const direct = { forceDirect: true, directConcurrency: 3 }
    const folder = await crash(rig, { at: at('POST', '/v1/chat/completions') }, direct)
    writeFileSync(`${folder}/task_replies1.jsonl`, text)
    expect(await new Ten(rig.options({ ...direct, taskDir: folder })).run()).toMatchObject({ complete: true })
    expect(readdirSync(folder).sort()).toEqual([
      'task_ledger.jsonl',
      'task_output.jsonl',
      'task_progress.jsonl',
      'task_state.json',
    ])
  })
})

describe('another account', () => {
  const isPoll = at('GET', /^\/v1\/batches/)

  test('than the batches were created with stops the run with a clear message, and changes nothing', async () => {
    const rig = harness()
    const folder = await crash(rig, { at: isPoll })
    const other = harness()
    const stranger = { taskDir: folder, env: { OPENAI_API_KEY: 'sk-other' }, fetch: other.options().fetch }
    const run = new Ten(rig.options(stranger)).run()
    await expect(run).rejects.toMatchObject({
      code: 'wrong_account',
      message: expect.stringContaining('OPENAI_API_KEY'),
    })
    expect(other.seen.every(({ method }) => method === 'GET')).toBe(true)
    expect(await new Ten(rig.options({ taskDir: folder })).run()).toMatchObject({
      complete: true,
      succeeded: 10,
    })
    expect(await remoteBatches(rig)).toBe(1)
  })

  test('key of the same account goes on', async () => {
    const rig = harness()
    const folder = await crash(rig, { at: isPoll })
    const renewed = { taskDir: folder, env: { OPENAI_API_KEY: 'sk-renewed' } }
    expect(await new Ten(rig.options(renewed)).run()).toMatchObject({
      complete: true,
      succeeded: 10,
      batches: 1,
    })
    expect(stepsOf(folder, 'account')).toHaveLength(2)
  })

  test('with an upload under way and nothing else is noticed, too', async () => {
    const rig = harness()
    const folder = await crash(rig, { at: at('POST', '/v1/batches') })
    const other = harness()
    const stranger = { taskDir: folder, env: { OPENAI_API_KEY: 'sk-other' }, fetch: other.options().fetch }
    await expect(new Ten(rig.options(stranger)).run()).rejects.toMatchObject({ code: 'wrong_account' })
  })

  test('with nothing remote outstanding is worth a warning only', async () => {
    const rig = harness()
    await new Ten(rig.options()).run()
    expect(rig.warnings('other_account')).toEqual([])
    const env = { OPENAI_API_KEY: 'sk-other' }
    expect(await new Ten(rig.options({ env })).run()).toMatchObject({ complete: true })
    expect(rig.warnings('other_account')).toHaveLength(1)
    expect(await new Ten(rig.options({ env })).run()).toMatchObject({ complete: true })
    expect(rig.warnings('other_account')).toHaveLength(1)
  })
})
