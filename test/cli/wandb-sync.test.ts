import { describe, expect, test } from 'vitest'
import { wandbSync } from '../../src/cli/wandb-sync.ts'
import { deliveryLock } from '../../src/progress/wandb/delivery-state.ts'
import { TaskLock } from '../../src/state/task-lock.ts'
import { systemClock } from '../../src/util/clock.ts'
import { VirtualClock } from '../support/virtual-clock.ts'
import { TASK, wandbRig } from '../support/wandb-rig.ts'
import { type WandbFault, WandbServer } from '../support/wandb-server.ts'

type Rig = Awaited<ReturnType<typeof wandbRig>>
interface Setting {
  readonly env: Readonly<Record<string, string>>
  readonly more?: readonly string[]
  readonly signal?: AbortSignal
}

async function sync({ dir }: Rig, { env, more = [], signal = new AbortController().signal }: Setting) {
  const printed: string[] = []
  const stdout = (line: string) => void printed.push(line)
  const io = { stdout, signal, columns: 60, clock: new VirtualClock(), env }
  const code = await wandbSync([TASK, '--task-dir', dir, ...more], io)
  return { code, text: printed.join('\n'), lines: printed }
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
