import { mkdir, readdir, readFile, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { wandbSync } from '../../src/cli/wandb-sync.ts'
import { deliveryLock, deliveryPath } from '../../src/progress/wandb/delivery-state.ts'
import { TaskLock } from '../../src/state/task-lock.ts'
import { type Clock, systemClock } from '../../src/util/clock.ts'
import { temporaryFolder } from '../support/folder.ts'
import { VirtualClock } from '../support/virtual-clock.ts'
import { historyLine, TASK, wandbRig } from '../support/wandb-rig.ts'
import { type WandbFault, WandbServer } from '../support/wandb-server.ts'

type Rig = Awaited<ReturnType<typeof wandbRig>>
interface Setting {
  readonly env: Readonly<Record<string, string>>
  readonly more?: readonly string[]
  readonly signal?: AbortSignal
  readonly clock?: Clock
  /** Called when something is told on standard error. */
  readonly onError?: () => void
}

async function sync({ dir }: Pick<Rig, 'dir'>, setting: Setting) {
  const { env, more = [], signal = new AbortController().signal } = setting
  const { clock = new VirtualClock(), onError = () => undefined } = setting
  const printed: string[] = []
  const stdout = (line: string) => void printed.push(line)
  const errors: string[] = []
  const stderr = (line: string) => {
    errors.push(line)
    onError()
  }
  const io = { stdout, stderr, signal, columns: 60, clock, env }
  const code = await wandbSync([TASK, '--task-dir', dir, ...more], io)
  return { code, text: printed.join('\n'), lines: printed, errors }
}

describe('nightshift wandb sync', () => {
  test('sends what is left, and only that, and says so', async () => {
    await using server = await WandbServer.start()
    await using rig = await wandbRig(server)
    await rig.write(3)
    await rig.send(undefined)
    await rig.write(1)
    await rig.write(1, { 'Event/kind': 'run-finished', 'Event/outcome': 'complete' })
    const { code, lines, text } = await sync(rig, { env: server.env })
    expect(code).toBe(0)
    expect(text).toContain('sent 2 lines; all 5 lines of the history are at W&B, the')
    expect(lines.filter((line) => line.length > 60 && !line.startsWith('http'))).toEqual([])
    expect(server.run.history).toEqual(await rig.lines())
    // Name, group and config are those of the run, not those of the command.
    expect(server.run).toMatchObject({ state: 'finished', exitCode: 0, group: 'EmotionTask', tags: ['test'] })
    expect(server.run.config).toMatchObject({ maxRetries: { value: 2 } })
  })

  test.each([
    ['run-finished', { 'Event/outcome': 'limited' }, 3],
    ['run-finished', { 'Event/outcome': 'interrupted' }, 130],
    ['run-failed', {}, 1],
    ['warning', {}, undefined],
  ])('tells of a last row %s %o as exit code %s', async (kind, more, exitCode) => {
    await using server = await WandbServer.start()
    await using rig = await wandbRig(server)
    await rig.write(2)
    await rig.write(1, { 'Event/kind': kind, ...more })
    await sync(rig, { env: server.env })
    expect(server.run.exitCode).toBe(exitCode)
  })

  test('gives up on a server that is down, with exit code 3 and what is left', async () => {
    const fault: WandbFault = { kind: 'status', status: 502 }
    await using server = await WandbServer.start({ fault: () => fault })
    await using rig = await wandbRig(server)
    await rig.write(4)
    const { code, text } = await sync(rig, { env: server.env, more: ['--json'] })
    expect(code).toBe(3)
    expect(JSON.parse(text)).toMatchObject({ delivered: false, url: null, sentLines: 0, leftLines: 4 })
    const { lines } = await sync(rig, { env: server.env })
    expect(lines.join(' ')).toMatch(
      /^nothing was sent, 4 lines left: W&B cannot be reached now; try again later/,
    )
  })

  test('says so when only the end of the run is not told', async () => {
    await using server = await WandbServer.start()
    await using rig = await wandbRig(server)
    await rig.write(1, { 'Event/kind': 'run-finished', 'Event/outcome': 'complete' })
    await rig.send(undefined)
    server.fault = () => ({ kind: 'status', status: 502 })
    const { code, lines } = await sync(rig, { env: server.env })
    expect(code).toBe(3)
    expect(lines.slice(0, -1).join(' ')).toMatch(
      /^there was nothing left to send, but W&B does not know yet how the run ended: W&B cannot be reached now/,
    )
  })

  test('tells the first trouble at once, on standard error, before anything is waited for', async () => {
    await using server = await WandbServer.start({ fault: () => ({ kind: 'status', status: 502 }) })
    await using rig = await wandbRig(server)
    await rig.write(4)
    const virtual = new VirtualClock()
    const waits: number[] = []
    const clock: Clock = {
      now: () => virtual.now(),
      sleep: (ms, signal) => {
        waits.push(ms)
        return virtual.sleep(ms, signal)
      },
    }
    let waitsBefore = -1
    const onError = () => {
      waitsBefore = waits.length
    }
    const { code, errors } = await sync(rig, { env: server.env, more: ['--json'], clock, onError })
    expect(code).toBe(3)
    expect(errors).toEqual([
      `W&B at ${server.url} answered 502: as planned; it is tried again for a minute or so`,
    ])
    expect(waitsBefore).toBe(0)
  })

  test('counts what it sends, not what it finds there', async () => {
    await using server = await WandbServer.start()
    await using rig = await wandbRig(server)
    await rig.write(3)
    await rig.send(undefined, { wishes: { runId: 'mine', config: { maxRetries: 7 } } })
    await rm(deliveryPath(rig.dir, TASK))
    await rig.write(2)
    const { lines } = await sync(rig, { env: server.env, more: ['--wandb-run-id', 'mine'] })
    expect(server.run.config).toMatchObject({ maxRetries: { value: 7 } })
    expect(lines[0]).toContain('sent 2 lines; all 5 lines of the history')
    expect(server.run.history).toEqual(await rig.lines())
  })

  test('keeps tasks of one name that share --wandb-dir apart, also when their folders are moved', async () => {
    await using server = await WandbServer.start()
    await using shared = await temporaryFolder()
    await using one = await wandbRig(server)
    await using two = await wandbRig(server)
    const more = ['--wandb-dir', join(shared.path, 'kept')]
    await one.write(3, { 'Event/kind': 'run-started' })
    await two.replace(`${historyLine(0, { 'Event/kind': 'run-started', of: 'two' })}\n${historyLine(1)}\n`)
    for (const rig of [one, two, one, two]) {
      await rig.write(1)
      expect(await sync(rig, { env: server.env, more })).toMatchObject({ code: 0, errors: [] })
    }
    const moved = join(shared.path, 'moved')
    await rename(one.dir, moved)
    await mkdir(one.dir)
    const last = await sync({ dir: moved }, { env: server.env, more: [...more, '--json'] })
    expect(JSON.parse(last.text)).toMatchObject({ sentLines: 0, deliveredLines: 5 })
    const histories = [...server.runs.values()].map(({ history }) => history)
    expect(histories.map(({ length }) => length)).toEqual([5, 4])
    expect(histories[1]).toEqual(await two.lines())
    const kept = await Promise.all(
      (await readdir(join(shared.path, 'kept'))).map((name) =>
        readFile(join(shared.path, 'kept', name), 'utf8'),
      ),
    )
    expect(kept).toHaveLength(2)
    expect(kept.join()).not.toContain(shared.path)
    expect(kept.join()).not.toContain(two.dir)
  })

  test('ends when it is told to', async () => {
    await using server = await WandbServer.start()
    await using rig = await wandbRig(server)
    await rig.write(4)
    const signal = AbortSignal.abort()
    await expect(sync(rig, { env: server.env, signal })).rejects.toMatchObject({ code: 'interrupted' })
    expect(server.runs.size).toBe(0)
  })

  test.each([
    ['without a key', {}, 'missing_wandb_key'],
    [
      'for another server',
      { WANDB_API_KEY: 'k', WANDB_BASE_URL: 'https://evil.example' },
      'other_wandb_server',
    ],
  ])('%s sends nothing anywhere', async (_, env, code) => {
    await using server = await WandbServer.start()
    await using rig = await wandbRig(server)
    await rig.write(1)
    await rig.send(undefined)
    const base = code === 'missing_wandb_key' ? { WANDB_BASE_URL: server.url } : {}
    const { length } = server.calls
    await expect(sync(rig, { env: { ...base, ...env } })).rejects.toMatchObject({ code })
    expect(server.calls).toHaveLength(length)
  })

  test('needs a history, and nobody who sends it already', async () => {
    await using server = await WandbServer.start()
    await using rig = await wandbRig(server)
    await expect(sync(rig, { env: server.env })).rejects.toMatchObject({ code: 'no_history' })
    await rig.write(1)
    const name = deliveryLock(TASK)
    const lock = await TaskLock.acquire({ directory: rig.dir, name, clock: systemClock })
    await expect(sync(rig, { env: server.env })).rejects.toMatchObject({ code: 'locked' })
    await lock.release()
    expect(await sync(rig, { env: server.env })).toMatchObject({ code: 0 })
  })
})
