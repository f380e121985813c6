import { describe, expect, test } from 'vitest'
import { accept } from '../../src/batch/verdict.ts'
import { batches } from '../../src/cli/batches.ts'
import { TaskManager } from '../../src/task/task-manager.ts'
import type { TaskResponse } from '../../src/task/task-types.ts'
import { command, commandJson, runUntilCreated, tooWide } from '../support/command.ts'
import { ask, type Harness, harness, NAME, names, readTaskFile, taskLines } from '../support/task-harness.ts'

class Ten extends TaskManager {
  *generateRequests() {
    for (const key of names(10)) yield { key, body: ask(key) }
  }

  processResponse({ key }: TaskResponse) {
    return accept(key)
  }
}

/** Runs the task until so many batches are created, and stops. */
const submitted = (rig: Harness, count = 1): Promise<unknown> =>
  runUntilCreated(rig, count, (over) => new Ten(rig.options({ ...over, maxBatchRequests: 10 / count })).run())

const SLOW = { latency: { runMs: 60_000, perRequestMs: 0 } }

/** A batch of somebody else on the same account. */
async function foreignBatch({ emulator }: Harness): Promise<string> {
  const form = new FormData()
  form.set('purpose', 'batch')
  const line = { custom_id: 'a', method: 'POST', url: '/v1/chat/completions', body: ask('hello') }
  form.set('file', new File([`${JSON.stringify(line)}\n`], 'theirs.jsonl'))
  const file = await emulator.fetch('http://x.test/v1/files', { method: 'POST', body: form })
  const { id } = JSON.parse(await file.text())
  const body = { input_file_id: id, endpoint: '/v1/chat/completions', completion_window: '24h' }
  const created = await emulator.fetch('http://x.test/v1/batches', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  })
  return JSON.parse(await created.text()).id
}

const statuses = async ({ emulator }: Harness): Promise<Record<string, string>> => {
  const listed = await emulator.fetch('http://x.test/v1/batches?limit=100')
  const { data } = JSON.parse(await listed.text())
  return Object.fromEntries(data.map(({ id, status }: { id: string; status: string }) => [id, status]))
}

describe('batches list', () => {
  test('shows the batches of the task, with what the ledger knows of them', async () => {
    const rig = harness(SLOW)
    await submitted(rig, 2)
    const theirs = await foreignBatch(rig)
    const { batches: own } = await commandJson(batches, rig, { action: 'list' })
    expect(own).toMatchObject([
      { relation: { kind: 'in-use', file: 2, phase: 'remote' }, isOver: false, requests: { total: 5 } },
      { relation: { kind: 'in-use', file: 1, phase: 'remote' } },
    ])
    const { batches: all } = await commandJson(batches, rig, { action: 'list', more: ['--all'] })
    expect(all).toHaveLength(3)
    expect(all).toContainEqual(expect.objectContaining({ id: theirs, relation: { kind: 'foreign' } }))
    await new Ten(rig.options()).run()
    const { batches: after } = await commandJson(batches, rig, { action: 'list' })
    expect(after).toMatchObject([
      { status: 'completed', relation: { kind: 'finished', file: 2 } },
      { status: 'completed', relation: { kind: 'finished', file: 1 } },
    ])
  })

  test.each([40, 80])('fits %d columns', async (columns) => {
    const rig = harness(SLOW)
    await submitted(rig)
    const { code, text, lines } = await command(batches, rig, { action: 'list', columns })
    expect(code).toBe(0)
    expect(tooWide(lines, columns)).toEqual([])
    expect(text).toContain('queue file 1')
  })

  test('knows nothing of a task that sent nothing', async () => {
    const rig = harness()
    await new Ten(rig.options({ maxSessionRequests: 0 })).run()
    const { text } = await command(batches, rig, { action: 'list' })
    expect(text).toBe(`the server lists no batches of task ${NAME}`)
  })
})

describe('batches cancel', () => {
  test('only says what it would do without --yes', async () => {
    const rig = harness(SLOW)
    await submitted(rig)
    const before = await statuses(rig)
    const { code, text } = await command(batches, rig, { action: 'cancel' })
    expect(code).toBe(0)
    expect(text).toContain('would cancel 1 batch; add --yes to do it')
    expect(await statuses(rig)).toEqual(before)
  })

  test('with --yes cancels those of the task alone, and the task goes on with what was answered', async () => {
    const rig = harness(SLOW)
    await submitted(rig, 2)
    const theirs = await foreignBatch(rig)
    rig.clock.advance(30_000)
    const ledger = readTaskFile(rig.dir, '_ledger.jsonl')
    const report = await commandJson(batches, rig, { action: 'cancel', more: ['--yes'] })
    expect(report).toMatchObject({ dryRun: false, failed: [] })
    expect(report.cancelled).toHaveLength(2)
    expect(readTaskFile(rig.dir, '_ledger.jsonl')).toBe(ledger)
    const now = await statuses(rig)
    expect(now[theirs]).toBe('in_progress')
    expect(Object.values(now).filter((status) => status === 'cancelling')).toHaveLength(2)
    const summary = await new Ten(rig.options()).run()
    expect(summary).toMatchObject({ complete: true, succeeded: 10, retries: 0 })
    expect(taskLines<string>(rig.dir, '_output.jsonl').sort()).toEqual(names(10))
  })

  test('takes ids, and cancels nothing when one of them may not be', async () => {
    const rig = harness(SLOW)
    await submitted(rig, 2)
    const theirs = await foreignBatch(rig)
    const before = await statuses(rig)
    const own = Object.keys(before).find((id) => id !== theirs) ?? ''
    await expect(
      command(batches, rig, { action: 'cancel', more: [own, theirs, '--yes'] }),
    ).rejects.toMatchObject({
      code: 'not_cancelled',
      message: expect.stringContaining(`${theirs}: it is not a batch of this task; --all allows it`),
    })
    expect(await statuses(rig)).toEqual(before)
    const { code } = await command(batches, rig, { action: 'cancel', more: [own, theirs, '--yes', '--all'] })
    expect(code).toBe(0)
    const after = await statuses(rig)
    expect([after[own], after[theirs]]).toEqual(['cancelling', 'cancelling'])
    expect(Object.values(after).filter((status) => status === 'in_progress')).toHaveLength(1)
  })

  test('says when there is nothing to cancel, and what the server refused', async () => {
    const rig = harness()
    await new Ten(rig.options()).run()
    expect((await command(batches, rig, { action: 'cancel', more: ['--yes'] })).text).toBe(
      'there is nothing to cancel',
    )
    const slow = harness(SLOW)
    await submitted(slow)
    const { code, text } = await command(batches, slow, {
      action: 'cancel',
      more: ['--yes'],
      fetch: async (input, init) =>
        init?.method === 'POST'
          ? Response.json({ error: { message: 'too late' } }, { status: 400 })
          : slow.emulator.fetch(input, init),
    })
    expect(code).toBe(1)
    expect(text).toContain('NOT cancelled')
    expect(text).toMatch(/HTTP 400:\s+too\s+late/)
  })
})

describe('a command line that cannot be', () => {
  const rig = harness.bind(undefined, {})

  test.each([
    [{ action: undefined }, 'nightshift batches needs an action: list or cancel, not "task"'],
    [{ action: 'list', more: ['--yes'] }, 'there is no flag --yes'],
    [{ action: 'list', more: ['more'] }, '"more" is one word too many: nightshift batches list TASK'],
    [{ action: 'list', env: {} }, 'OPENAI_API_KEY is not set'],
    [{ action: 'list', env: { OPENAI_API_KEY: 'k', OPENAI_BASE_URL: 'x' } }, 'OPENAI_BASE_URL is "x"'],
  ])('%j', async ({ action, ...setting }, message) => {
    const one = rig()
    await new Ten(one.options()).run()
    const given = { ...setting, ...(action !== undefined && { action }) }
    await expect(command(batches, one, given)).rejects.toMatchObject({
      name: 'UsageError',
      message: expect.stringContaining(message),
    })
  })

  test('a task that is not there is told before a key is asked for', async () => {
    await expect(command(batches, rig(), { action: 'list', env: {} })).rejects.toMatchObject({
      code: 'unknown_task',
    })
  })
})
