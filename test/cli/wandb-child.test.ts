import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdir } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { messageLine, type Order } from '../../src/progress/wandb/messages.ts'
import { temporaryFolder } from '../support/folder.ts'
import { QUICK, TASK, type WandbRig, wandbRig } from '../support/wandb-rig.ts'
import { KEY, WandbServer } from '../support/wandb-server.ts'

/** Starts the process that sends, and says to it what a runner says first. */
function startSender(rig: WandbRig, stateDir: string) {
  const child = spawn(process.execPath, ['src/cli/wandb-child.ts'], {
    env: { PATH: process.env.PATH, WANDB_API_KEY: KEY },
    stdio: ['pipe', 'ignore', 'ignore'],
  })
  const say = (order: Order) => void child.stdin.write(messageLine(order))
  const { tags, config, ...rest } = rig.wishes()
  say({
    order: 'start',
    task: TASK,
    taskDir: rig.dir,
    stateDir,
    wishes: { ...rest, tags: [...tags], config: { ...config } },
    timing: { ...QUICK, timeoutMs: 2000 },
  })
  return { child, say }
}

/** A runner that is gone without a word, once it has started the process that sends. */
async function runnerDies(rig: WandbRig): Promise<number | null> {
  const { child } = startSender(rig, rig.dir)
  child.stdin.end()
  await once(child, 'close')
  return child.exitCode
}

test.each([
  ['went on', { 'Event/kind': 'warning' }, 'running', undefined],
  ['had just ended', { 'Event/kind': 'run-finished', 'Event/outcome': 'complete' }, 'finished', 0],
  ['had just ended at a limit', { 'Event/kind': 'run-finished', 'Event/outcome': 'limited' }, 'failed', 3],
  ['had just failed', { 'Event/kind': 'run-failed' }, 'failed', 1],
] as const)('a runner that is killed when its run %s', async (_, lastRow, state, exitCode) => {
  await using server = await WandbServer.start()
  await using rig = await wandbRig(server)
  await rig.write(3)
  await rig.write(1, lastRow)
  expect(await runnerDies(rig)).toBe(0)
  expect(server.run).toMatchObject({ state, exitCode })
  expect(server.run.history).toEqual(await rig.lines())
})

test('a delivery in another folder waits until the history can be told from others', async () => {
  await using server = await WandbServer.start()
  await using rig = await wandbRig(server)
  await using kept = await temporaryFolder()
  const { child, say } = startSender(rig, kept.path)
  // Nothing is known of a history before its first line.
  say({ order: 'durable', bytes: 0 })
  await rig.write(2)
  say({ order: 'durable', bytes: Buffer.byteLength(`${(await rig.lines()).join('\n')}\n`) })
  await server.until(({ runs }) => [...runs.values()].some(({ history }) => history.length === 2))
  say({ order: 'end', exitCode: 0 })
  child.stdin.end()
  await once(child, 'close')
  expect(server.run).toMatchObject({ state: 'finished', exitCode: 0 })
  const names = await readdir(kept.path)
  expect(names).toEqual([expect.stringMatching(/^emotions_[0-9a-f]{12}_wandb\.json$/)])
  expect((await readdir(rig.dir)).filter((name) => name.includes('_wandb'))).toEqual([])
})

test('a runner that is gone before it wrote anything leaves nothing behind', async () => {
  await using server = await WandbServer.start()
  await using rig = await wandbRig(server)
  await using kept = await temporaryFolder()
  const { child } = startSender(rig, kept.path)
  child.stdin.end()
  await once(child, 'close')
  expect(child.exitCode).toBe(0)
  expect(server.calls).toEqual([])
  expect(await readdir(kept.path)).toEqual([])
})
