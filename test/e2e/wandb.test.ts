import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { deliveryLock } from '../../src/progress/wandb/delivery-state.ts'
import { TaskLock } from '../../src/state/task-lock.ts'
import { processIsThere } from '../support/alive.ts'
import { jsonLines, temporaryFolder } from '../support/folder.ts'
import { type Ended, type Program, startNode, startProgram } from '../support/program.ts'
import { between, randomFrom } from '../support/random.ts'
import { KEY, type WandbFault, WandbServer } from '../support/wandb-server.ts'

const PROGRAM = 'test/support/wandb-topics.ts'
const CLI = 'src/cli/main.ts'
const PER_BATCH = 25

const flags = (taskDir: string, more: readonly string[] = []): string[] => [
  '--emulator',
  '--task-dir',
  taskDir,
  // A kill while a batch is made must not have the next run wait for half a minute.
  ...[
    '--create-grace-ms',
    '100',
    '--remote-update-interval',
    '1',
    '--max-batch-requests',
    `${PER_BATCH}`,
    '--min-batch-requests',
    '1',
  ],
  ...more,
]

interface Site extends AsyncDisposable {
  readonly server: WandbServer
  readonly dir: string
  start(more?: readonly string[], env?: Readonly<Record<string, string>>): Program
  sync(more?: readonly string[], env?: Readonly<Record<string, string>>): Promise<Ended>
  lines(): Promise<string[]>
}

async function site(
  fault?: (call: { readonly kind: string }, index: number) => WandbFault | undefined,
): Promise<Site> {
  const server = await WandbServer.start(fault ? { fault } : {})
  const folder = await temporaryFolder()
  const dir = folder.path
  return {
    server,
    dir,
    start: (more, env) => startNode([PROGRAM, ...flags(dir, more)], { ...server.env, ...env }),
    sync: (more = [], env) =>
      startNode([CLI, 'wandb', 'sync', 'topics', '--task-dir', dir, ...more], { ...server.env, ...env })
        .ended,
    lines: async () => (await readFile(join(dir, 'topics_progress.jsonl'), 'utf8')).split('\n').slice(0, -1),
    [Symbol.asyncDispose]: async () => {
      await server[Symbol.asyncDispose]()
      await folder[Symbol.asyncDispose]()
    },
  }
}

/** The process that sends the history, once there is one. */
async function senderOf({ server, dir }: Site): Promise<number> {
  await server.until(({ calls }) => calls.length > 0)
  const holder = await TaskLock.holder(dir, deliveryLock('topics'))
  if (!holder) throw new Error('nobody sends the history')
  return holder.pid
}

/** Resolves when the process, which is no child of this one, is gone. */
async function gone(pid: number): Promise<void> {
  await once(spawn('tail', [`--pid=${pid}`, '-s', '0.05', '-f', '/dev/null']), 'exit')
  expect(processIsThere(pid)).toBe(false)
}

const statOf = async (pid: number): Promise<string[]> => {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8')
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ')
}
const groupOf = async (pid: number): Promise<string | undefined> => (await statOf(pid))[2]

describe.concurrent('a run with W&B on', { timeout: 60_000 }, () => {
  test('that completes is there line by line, finished, and told of with its address; its key is nowhere', async () => {
    await using here = await site()
    // With a loader; its sender needs none.
    const program = startProgram(PROGRAM, flags(here.dir), here.server.env)
    const sender = await senderOf(here)
    const commandLine = await readFile(`/proc/${sender}/cmdline`, 'utf8')
    expect(await groupOf(sender)).toBe(`${sender}`)
    expect(await groupOf(program.pid)).not.toBe(`${sender}`)

    const { code, stdout, stderr } = await program.ended
    expect(code, stderr).toBe(0)
    const { run, violations } = here.server
    expect(run.history).toEqual(await here.lines())
    expect(violations).toEqual([])
    expect(run).toMatchObject({ state: 'finished', exitCode: 0, displayName: 'topics', group: 'Topics' })
    expect(run.config).toMatchObject({ maxBatchRequests: { value: PER_BATCH }, emulator: { value: true } })
    expect(stderr).toContain(`${here.server.url}/someone/gpt_batch_api/runs/${run.id}`)
    await gone(sender)

    const names = await readdir(here.dir)
    const texts = await Promise.all(
      names.filter((name) => name.startsWith('topics')).map((name) => readFile(join(here.dir, name), 'utf8')),
    )
    expect([stdout, stderr, commandLine, ...texts].join()).not.toContain(KEY)
    const sent = here.server.calls.map(({ body }) => body).join()
    expect(sent).not.toContain(KEY)
    expect(sent).not.toContain('secret-key-')
  })

  test('that is interrupted in the middle of a commit completes that commit, and ends with 130', async () => {
    await using here = await site()
    const program = here.start(['--hold-commit', '3'])
    await program.says('in a commit')
    const before = await jsonLines(join(here.dir, 'topics_ledger.jsonl'))
    program.kill('SIGINT')
    const { code, stderr } = await program.ended
    expect(code, stderr).toBe(130)
    const after = await jsonLines(join(here.dir, 'topics_ledger.jsonl'))
    expect(after.slice(0, before.length)).toEqual(before)
    expect(here.server.run.history).toEqual(await here.lines())
    expect(here.server.run).toMatchObject({ state: 'failed', exitCode: 130 })

    const again = await here.start().ended
    expect(again.code, again.stderr).toBe(0)
    expect(here.server.run.history).toEqual(await here.lines())
    expect(here.server.run.state).toBe('finished')
    const steps = here.server.run.history.map(
      (line) => z.object({ _step: z.number() }).parse(JSON.parse(line))._step,
    )
    expect(steps).toEqual(steps.map((_, index) => index))
  })

  test('whose hook throws is shown as failed', async () => {
    await using here = await site()
    const { code, stderr } = await here.start(['--broken']).ended
    expect(code, stderr).toBe(1)
    expect(here.server.run).toMatchObject({ state: 'failed', exitCode: 1 })
    expect(here.server.run.history).toEqual(await here.lines())
    expect(here.server.run.history.at(-1)).toContain('"Event/kind":"run-failed"')
  })

  test('that is killed has its lines there, but no end; its sender ends by itself', async () => {
    await using here = await site()
    const program = here.start(['--sentences', '200'])
    const sender = await senderOf(here)
    await here.server.until(({ runs }) => [...runs.values()].some(({ history }) => history.length > 3))
    program.kill('SIGKILL')
    await program.ended
    await gone(sender)
    expect(here.server.run).toMatchObject({ state: 'running', exitCode: undefined })
    expect(here.server.run.history).toEqual(await here.lines())
    expect(here.server.calls.filter(({ body }) => body.includes('"complete"'))).toEqual([])

    const synced = await here.sync()
    expect(synced).toMatchObject({ code: 0, stderr: '' })
    expect(synced.stdout).toContain('there was nothing left to send')
    expect(here.server.run).toMatchObject({ state: 'running', exitCode: undefined })

    const again = await here.start().ended
    expect(again.code, again.stderr).toBe(0)
    expect(here.server.run).toMatchObject({ state: 'finished', exitCode: 0 })
    expect(here.server.run.history).toEqual(await here.lines())
  })

  test('whose sender is killed starts another one, and says so once', async () => {
    await using here = await site()
    const program = here.start(['--sentences', '150'])
    process.kill(await senderOf(here), 'SIGKILL')
    const { code, stderr } = await program.ended
    expect(code, stderr).toBe(0)
    expect(stderr.match(/the process that sends the history to W&B ended \(SIGKILL\)/g)).toHaveLength(1)
    expect(here.server.run.history).toEqual(await here.lines())
    expect(here.server.run.state).toBe('finished')
  })

  test('while W&B is down completes all the same; wandb sync delivers it later', async () => {
    await using here = await site(() => ({ kind: 'cut', applied: false }))
    const program = here.start()
    const sender = await senderOf(here)
    const { code, stderr } = await program.ended
    expect(code, stderr).toBe(0)
    await gone(sender)
    const count = (await here.lines()).length
    expect(stderr).toContain(`${count} lines of the history are not at W&B yet`)
    expect(stderr).toContain(`nightshift wandb sync topics --task-dir ${here.dir}`)
    expect(stderr.match(/cannot be reached/g)).toHaveLength(1)

    here.server.fault = undefined
    const synced = await here.sync(['--json'])
    expect(synced.code, synced.stderr).toBe(0)
    expect(JSON.parse(synced.stdout)).toEqual({
      task: 'topics',
      delivered: true,
      url: `${here.server.url}/someone/gpt_batch_api/runs/${here.server.run.id}`,
      runId: here.server.run.id,
      sentLines: count,
      deliveredLines: count,
      leftLines: 0,
      end: 'finished',
      warnings: [],
    })
    expect(here.server.run.history).toEqual(await here.lines())
    expect(here.server.run).toMatchObject({ state: 'finished', group: 'Topics', displayName: 'topics' })
  })

  test('with a wrong key completes all the same, and says once what to do', async () => {
    await using here = await site()
    const wrong = { WANDB_API_KEY: 'f'.repeat(40) }
    const { code, stdout, stderr } = await here.start([], wrong).ended
    expect(code, stderr).toBe(0)
    expect(stderr.match(/check WANDB_API_KEY/g)).toHaveLength(1)
    expect(stdout + stderr).not.toContain(wrong.WANDB_API_KEY)
    const refused = await here.sync([], wrong)
    expect(refused).toMatchObject({ code: 1, stdout: '' })
    expect(refused.stderr).toContain('check WANDB_API_KEY')
  })

  test.each([
    ['', undefined],
    [' with --wandb-dir', 'kept'],
  ])('offline%s, makes no call; wandb sync sends it with its config', async (_, kept) => {
    await using here = await site()
    const at = kept === undefined ? [] : ['--wandb-dir', join(here.dir, kept)]
    const offline = { WANDB_MODE: 'offline' }
    const { code, stderr } = await here.start(['--wandb-group', 'mine', ...at], offline).ended
    expect(code, stderr).toBe(0)
    expect(here.server.calls).toEqual([])
    const synced = await here.sync(at, offline)
    expect(synced.code, synced.stderr).toBe(0)
    expect(synced.stdout).toContain('are at W&B, the run as finished')
    expect(here.server.run).toMatchObject({ group: 'mine', state: 'finished' })
    expect(here.server.run.config).toMatchObject({ maxBatchRequests: { value: PER_BATCH } })
    expect(here.server.run.history).toEqual(await here.lines())
  })

  test.each([
    ['--no-wandb', ['--no-wandb'], {}],
    ['WANDB_MODE=disabled', [], { WANDB_MODE: 'disabled' }],
  ])('%s sends and writes nothing of it', async (_, more, env) => {
    await using here = await site()
    const { code, stderr } = await here.start(more, env).ended
    expect(code, stderr).toBe(0)
    expect(here.server.calls).toEqual([])
    expect((await readdir(here.dir)).filter((name) => name.includes('_wandb'))).toEqual([])
  })
})

/** Passing faults, as in life: most of them after the server acted or before, at random. */
function randomFault(random: () => number): WandbFault {
  const applied = random() < 0.5
  const kinds: readonly WandbFault[] = [
    { kind: 'hang', applied },
    { kind: 'cut', applied },
    { kind: 'truncated', applied },
    { kind: 'status', status: 500, applied },
    { kind: 'status', status: 429, headers: { 'retry-after': '0' } },
    { kind: 'status', status: 503, applied },
  ]
  return kinds[between(random, 0, kinds.length - 1)] ?? { kind: 'cut', applied }
}

const startsIn = (lines: readonly string[]): number =>
  lines.filter((line) => line.includes('"Event/kind":"run-started"')).length

test('50 faults, kills and restarts later, W&B has the history line for line', {
  timeout: 150_000,
}, async () => {
  const random = randomFrom(20_261_121)
  let faults = 0
  let kills = 0
  const fault = () => {
    if (random() > 0.45) return undefined
    faults++
    return randomFault(random)
  }
  await using here = await site(fault)
  // Small posts: there are many of them, and each may fail.
  const small = ['--post-lines', '1']
  const args = ['--sentences', '100', ...small]
  while (faults + kills < 50 || kills < 8) {
    const program = here.start(args)
    const reached = here.server.calls.length + between(random, 3, 12)
    const over = await Promise.race([
      program.ended.then(() => true),
      here.server.until(({ calls }) => calls.length >= reached).then(() => false),
    ])
    if (over) continue
    kills++
    const holder = await TaskLock.holder(here.dir, deliveryLock('topics'))
    const victim = random()
    if (victim < 0.4 && holder && processIsThere(holder.pid)) {
      process.kill(holder.pid, 'SIGKILL')
      const later = here.server.calls.length + 3
      await Promise.race([program.ended, here.server.until(({ calls }) => calls.length >= later)])
      kills++
    }
    program.kill(victim < 0.8 ? 'SIGKILL' : 'SIGINT')
    await program.ended
  }
  const isAllThere = async () => {
    expect(here.server.violations).toEqual([])
    expect(here.server.run.history).toEqual(await here.lines())
  }

  // What is new keeps it at work until it is killed.
  const more = ['--sentences', '200', ...small]
  here.server.fault = undefined
  const starts = startsIn(await here.lines())
  const killed = here.start(more)
  await here.server.until(({ run }) => startsIn(run.history) > starts)
  killed.kill('SIGKILL')
  await killed.ended
  const afterKill = await here.sync()
  expect(afterKill.code, afterKill.stdout + afterKill.stderr).toBe(0)
  await isAllThere()
  expect(here.server.run.state).toBe('running')

  here.server.fault = fault
  const last = await here.start(more).ended
  expect(last.code, last.stderr).toBe(0)
  here.server.fault = undefined
  const synced = await here.sync()
  expect(synced.code, synced.stdout + synced.stderr).toBe(0)
  await isAllThere()
  expect(here.server.run).toMatchObject({ state: 'finished', exitCode: 0 })
  expect(here.server.run.history.length).toBeGreaterThan(50)
})
