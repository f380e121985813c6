import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { accept } from '../../src/batch/verdict.ts'
import { batches } from '../../src/cli/batches.ts'
import { files } from '../../src/cli/files.ts'
import { createEmulator } from '../../src/emulator/create-emulator.ts'
import { TaskLock } from '../../src/state/task-lock.ts'
import { TaskManager } from '../../src/task/task-manager.ts'
import type { TaskResponse } from '../../src/task/task-types.ts'
import { command, commandJson, runUntilCreated, tooWide } from '../support/command.ts'
import {
  ask,
  crashing,
  type Harness,
  harness,
  isKind,
  NAME,
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

const SLOW = { latency: { runMs: 60_000, perRequestMs: 0 } }
const DAY_MS = 24 * 3600 * 1000

async function uploadAs({ emulator }: Harness, filename: string): Promise<string> {
  const form = new FormData()
  form.set('purpose', 'batch')
  const line = { custom_id: 'a', method: 'POST', url: '/v1/chat/completions', body: ask('hello') }
  form.set('file', new File([`${JSON.stringify(line)}\n`], filename))
  const file = await emulator.fetch('http://x.test/v1/files', { method: 'POST', body: form })
  return JSON.parse(await file.text()).id
}

async function remoteFiles({ emulator }: Harness): Promise<string[]> {
  const listed = await emulator.fetch('http://x.test/v1/files')
  return JSON.parse(await listed.text()).data.map(({ id }: { id: string }) => id)
}

/** Runs until one of its requests, which the server still gets, and what is left of it is copied. */
async function crashed(rig: Harness, at: (seen: Seen) => boolean): Promise<string> {
  const crash = crashing(rig, { at, acted: true })
  const run = new Ten(crash.options).run()
  const folder = await crash.folder
  crash.bury()
  await Promise.allSettled([run])
  return folder
}

describe('files list', () => {
  test('shows input, output and error file of the task, and why they are needed', async () => {
    const rig = harness({ ...SLOW, failureRate: 0.3 })
    await runUntilCreated(rig, 1, (over) => new Ten(rig.options(over)).run())
    expect(await commandJson(files, rig, { action: 'list' })).toMatchObject({
      task: NAME,
      files: [{ role: 'input', neededFor: expect.stringContaining('is in_progress') }],
    })
    rig.clock.advance(120_000)
    const { files: after } = await commandJson(files, rig, { action: 'list' })
    expect(after).toMatchObject([
      { role: 'input', neededFor: 'queue file 1 is remote' },
      { role: 'output', neededFor: expect.stringContaining('have not been received') },
      { role: 'errors', neededFor: expect.stringContaining('have not been received') },
    ])
    await new Ten(rig.options()).run()
    const { text } = await command(files, rig, { action: 'list' })
    expect(text).toBe(`the server has no files of task ${NAME}`)
  })

  test.each([40, 80])('fits %d columns', async (columns) => {
    const rig = harness(SLOW)
    await runUntilCreated(rig, 1, (over) => new Ten(rig.options(over)).run())
    const { lines, text } = await command(files, rig, { action: 'list', columns })
    expect(tooWide(lines, columns)).toEqual([])
    expect(text).toContain('needed:')
  })
})

describe('files clean', () => {
  test('deletes what a crash left over, once it is told to', async () => {
    const rig = harness()
    const taskDir = await crashed(rig, (seen) => isKind(seen, 'DELETE', /files/))
    const before = await remoteFiles(rig)
    const dry = await commandJson(files, rig, { action: 'clean', taskDir })
    expect(dry).toMatchObject({ dryRun: true, deleted: [] })
    expect(await remoteFiles(rig)).toEqual(before)
    expect(dry.toDelete).toHaveLength(before.length)
    const { code, text } = await command(files, rig, { action: 'clean', taskDir, more: ['--yes'] })
    expect([code, text]).toEqual([0, `deleted ${before.length} file${before.length === 1 ? '' : 's'}.`])
    expect(await remoteFiles(rig)).toEqual([])
    expect(await new Ten(rig.options({ taskDir })).run()).toMatchObject({ complete: true, succeeded: 10 })
  })

  test('leaves files alone that are not of the task; with --all only those not of Nightshift', async () => {
    const rig = harness()
    await new Ten(rig.options()).run()
    const theirs = await uploadAs(rig, 'nightshift-notes.jsonl')
    const others = await uploadAs(rig, 'nightshift-ffffffff-1-0123456789ab.jsonl')
    await command(files, rig, { action: 'clean', more: ['--yes'] })
    await command(files, rig, { action: 'clean', more: ['--yes', '--all'] })
    // Somebody may be about to make a batch of it.
    expect(await remoteFiles(rig)).toEqual([others, theirs])
    rig.clock.advance(2 * DAY_MS)
    await command(files, rig, { action: 'clean', more: ['--yes'] })
    expect(await remoteFiles(rig)).toEqual([others, theirs])
    await command(files, rig, { action: 'clean', more: ['--yes', '--all'] })
    expect(await remoteFiles(rig)).toEqual([theirs])
  })

  test.each([1, 3])('before every request of a run, %d batches, harms nothing', async (count) => {
    const rig = harness({ failureRate: 0.2 })
    const clean = () => command(files, rig, { action: 'clean', more: ['--yes', '--all'] })
    const summary = await new Ten(
      rig.options({
        maxBatchRequests: Math.ceil(10 / count),
        fetch: async (input, init) => {
          // Not before there is a ledger with something in it.
          if (stepsOf(rig.dir, 'task').length > 0) await clean()
          return rig.emulator.fetch(input, init)
        },
      }),
    ).run()
    expect(summary).toMatchObject({ complete: true, succeeded: 10 })
    expect(taskLines<string>(rig.dir, '_output.jsonl').sort()).toEqual(names(10))
    expect(stepsOf(rig.dir, 'doubt').length + stepsOf(rig.dir, 'abandoned').length).toBe(0)
    expect(await remoteFiles(rig)).toEqual([])
  })

  test.each([
    ['the upload arrived', (seen: Seen) => isKind(seen, 'POST', '/v1/files')],
    ['the create arrived', (seen: Seen) => isKind(seen, 'POST', '/v1/batches')],
    ['it was polled', (seen: Seen) => isKind(seen, 'GET', /^\/v1\/batches/)],
    ['results were downloaded', (seen: Seen) => isKind(seen, 'GET', /content$/)],
  ])('after a crash when %s loses nothing, even days later', async (_, at) => {
    const rig = harness()
    const taskDir = await crashed(rig, at)
    rig.clock.advance(5 * DAY_MS)
    await command(files, rig, { action: 'clean', taskDir, more: ['--yes', '--all'] })
    const summary = await new Ten(rig.options({ taskDir })).run()
    expect(summary).toMatchObject({ complete: true, succeeded: 10, retries: 0, batches: 1 })
    expect(taskLines(taskDir, '_output.jsonl')).toEqual(names(10))
  })

  test('says what could not be deleted', async () => {
    const rig = harness()
    const taskDir = await crashed(rig, (seen) => isKind(seen, 'DELETE', /files/))
    const { code, text } = await command(files, rig, {
      action: 'clean',
      taskDir,
      more: ['--yes'],
      fetch: async (input, init) =>
        init?.method === 'DELETE'
          ? Response.json({ error: { message: 'not today' } }, { status: 403 })
          : rig.emulator.fetch(input, init),
    })
    expect(code).toBe(1)
    expect(text).toContain('NOT deleted')
  })
})

describe('--emulator', () => {
  /** A task whose emulator keeps its data in the task's folder, as `runTask` has it, stopped before any answer. */
  async function stopped(): Promise<Harness> {
    const rig = harness()
    const emulator = createEmulator({
      clock: rig.clock,
      dataDir: join(rig.dir, '.emulator'),
      answer: () => new Promise(() => {}),
    })
    await runUntilCreated({ ...rig, emulator }, 1, (over) => new Ten(rig.options(over)).run())
    await emulator.close()
    return rig
  }

  test('looks into the data of the task, needs no key, and gives no answers of its own', async () => {
    const rig = await stopped()
    const setting = { action: 'list', more: ['--emulator'], env: {} }
    expect(await commandJson(batches, rig, setting)).toMatchObject({
      batches: [{ isOver: false, relation: { kind: 'in-use', file: 1 } }],
    })
    expect(await commandJson(files, rig, setting)).toMatchObject({ files: [{ role: 'input' }] })
    const texts: string[] = []
    class Telling extends Ten {
      override processResponse({ key, text }: TaskResponse) {
        texts.push(text)
        return accept(key)
      }
    }
    const emulator = createEmulator({
      clock: rig.clock,
      dataDir: join(rig.dir, '.emulator'),
      answer: () => 'of the task',
    })
    const fetch: typeof emulator.fetch = (input, init) => emulator.fetch(input, init)
    await new Telling(rig.options({ fetch })).run()
    await emulator.close()
    expect(texts).toEqual(names(10).map(() => 'of the task'))
  })

  test('does not disturb a run, whose emulator has the data in its hands', async () => {
    const rig = await stopped()
    await using _ = await TaskLock.acquire({ directory: rig.dir, name: NAME, clock: rig.clock })
    const looking = command(batches, rig, { action: 'list', more: ['--emulator'] })
    const message = expect.stringContaining(`nightshift status ${NAME} says which it is`)
    await expect(looking).rejects.toMatchObject({ code: 'locked', message })
  })

  test('says when the task was not run with it', async () => {
    const rig = harness()
    await new Ten(rig.options()).run()
    await expect(command(files, rig, { action: 'list', more: ['--emulator'] })).rejects.toMatchObject({
      code: 'no_emulator_data',
    })
  })
})
