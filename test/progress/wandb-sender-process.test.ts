import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { historyPath } from '../../src/progress/wandb/delivery-state.ts'
import { type SenderNews, SenderProcess } from '../../src/progress/wandb/sender-process.ts'
import { nodeFileSystem } from '../../src/state/file-system.ts'
import { type Clock, systemClock } from '../../src/util/clock.ts'
import { temporaryFolder } from '../support/folder.ts'
import { VirtualClock } from '../support/virtual-clock.ts'
import { historyLine, QUICK, TASK } from '../support/wandb-rig.ts'

interface Setting {
  /** JavaScript of the program that stands in for the sender; `FILE` is a path it may write to. */
  readonly program: string
  readonly clock: Clock
  readonly endMs?: number
  readonly stateDir?: string
}

async function started({ program, clock, endMs, stateDir }: Setting) {
  const folder = await temporaryFolder()
  const file = join(folder.path, 'written')
  const path = join(folder.path, 'program.mjs')
  await writeFile(
    path,
    `import fs from 'node:fs'; import path from 'node:path'; const FILE = ${JSON.stringify(file)}; ${program}`,
  )
  await writeFile(historyPath(folder.path, TASK), `${historyLine(0)}\n${historyLine(1)}\n`)
  const news: SenderNews[] = []
  const heard = Promise.withResolvers<void>()
  const sender = new SenderProcess({
    task: TASK,
    taskDir: folder.path,
    stateDir: stateDir ?? folder.path,
    wishes: { baseUrl: 'http://127.0.0.1:9', project: 'p', name: TASK, tags: [], config: {} },
    timing: QUICK,
    env: { PATH: process.env.PATH },
    clock,
    fs: nodeFileSystem,
    tell: (one) => {
      news.push(one)
      if (one.kind === 'run') heard.resolve()
    },
    program: path,
    endMs,
  })
  const written = async () => (await readFile(file, 'utf8')).trim().split('\n')
  return { folder, sender, news, heard: heard.promise, written, dir: folder.path }
}

const KEEPS_ON = 'setInterval(() => {}, 1000);'

describe('the end of a run', () => {
  test('waits at most 5 s for a sender that hangs, and says what is left and how to send it', async () => {
    const clock = new VirtualClock()
    const before = clock.now()
    // It ends after all, so that nothing is left of the test.
    const program = `${KEEPS_ON} process.stdin.on('end', () => process.exit()).resume()`
    const { folder, sender, news, dir } = await started({ program, clock })
    sender.durable(1000)
    await sender.end(0)
    expect(clock.now() - before).toBe(5000)
    expect(news).toEqual([
      {
        kind: 'trouble',
        code: 'wandb_undelivered',
        message: `2 lines of the history are not at W&B yet; the next run sends the rest, or: nightshift wandb sync ${TASK} --task-dir ${dir}`,
      },
    ])
    await sender.end(0)
    expect(news).toHaveLength(1)
    await folder[Symbol.asyncDispose]()
  })

  test('names the folder of the delivery, too, and quotes what a shell would not take as it is', async () => {
    const clock = new VirtualClock()
    const program = `${KEEPS_ON} process.stdin.on('end', () => process.exit()).resume()`
    const { folder, sender, news, dir } = await started({ program, clock, stateDir: "a b's" })
    sender.durable(1000)
    await sender.end(0)
    expect(JSON.stringify(news)).toContain(
      JSON.stringify(`wandb sync ${TASK} --task-dir ${dir} --wandb-dir 'a b'\\''s'`).slice(1, -1),
    )
    await folder[Symbol.asyncDispose]()
  })

  test('does not wait for a sender that is gone', async () => {
    const clock: Clock = { now: () => 0, sleep: () => new Promise(() => undefined) }
    const program = `process.stdin.on('data', (text) => { if (text.includes('"end"')) process.exit(1) })`
    const { folder, sender } = await started({ program, clock })
    await sender.end(0)
    await folder[Symbol.asyncDispose]()
  })
})

test('a sender that ends again and again is started again, later and later, and that is told once', async () => {
  const pauses: number[] = []
  const enough = Promise.withResolvers<void>()
  const clock: Clock = {
    now: () => 0,
    sleep: async (ms) => {
      if (pauses.push(ms) === 5) enough.resolve()
      if (pauses.length >= 5) await new Promise(() => undefined)
    },
  }
  const program = "fs.appendFileSync(FILE, 'started\\n'); console.error('out of luck'); process.exit(7)"
  const { folder, news, written } = await started({ program, clock })
  await enough.promise
  expect(pauses).toEqual([1000, 5000, 15_000, 60_000, 60_000])
  expect(await written()).toHaveLength(5)
  expect(news).toHaveLength(1)
  expect(news[0]).toMatchObject({ code: 'wandb_sender_ended' })
  expect(JSON.stringify(news)).toContain('(exit code 7: out of luck)')
  await folder[Symbol.asyncDispose]()
})

test('a sender that does not read is not written to without bound, and learns the newest number', async () => {
  // It reads once there is the file that says that all was written.
  const program = `
    let text = ''
    process.stdin.on('end', () => {
      const orders = text.trim().split('\\n').map((line) => JSON.parse(line)).filter(({ order }) => order === 'durable')
      fs.writeFileSync(FILE, orders.length + '\\n' + orders.at(-1).bytes)
      console.log('{"news":"run","url":"done"}')
    })
    const watcher = fs.watch(path.dirname(FILE), () => read())
    const read = () => {
      if (!fs.existsSync(FILE + '-go')) return
      watcher.close()
      process.stdin.on('data', (data) => { text += data })
    }
    read()`
  const { folder, sender, heard, written } = await started({ program, clock: systemClock, endMs: 1000 })
  const MANY = 300_000
  for (let bytes = 1; bytes <= MANY; bytes++) sender.durable(bytes)
  await writeFile(join(folder.path, 'written-go'), '')
  await sender.end(0)
  await heard
  const [count, last] = await written()
  expect(Number(last)).toBe(MANY)
  expect(Number(count)).toBeLessThan(MANY / 10)
  await folder[Symbol.asyncDispose]()
})
