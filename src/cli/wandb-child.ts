import { createInterface } from 'node:readline'
import { errorText, NightshiftError } from '../errors.ts'
import { WandbApi } from '../progress/wandb/api.ts'
import { exitCodeOf } from '../progress/wandb/config.ts'
import { deliveryName } from '../progress/wandb/delivery-name.ts'
import { deliveryLock, deliveryPath, historyPath, openDelivery } from '../progress/wandb/delivery-state.ts'
import { HistoryFile } from '../progress/wandb/history-file.ts'
import { messageLine, type News, type Order, readOrder } from '../progress/wandb/messages.ts'
import { WandbSender } from '../progress/wandb/sender.ts'
import { nodeFileSystem } from '../state/file-system.ts'
import { TaskLock } from '../state/task-lock.ts'
import { systemClock } from '../util/clock.ts'
import { readEnvironment } from '../util/options.ts'

/**
 * Sends the history of a task to W&B, in a process of its own: see `progress/wandb/sender-process.ts`, which starts it
 * and speaks with it. Its standard input is its life: when that ends, whatever the reason, it has a few seconds left.
 */

type Start = Extract<Order, { order: 'start' }>

/** What was ordered so far, for a sender that may not be there yet. */
interface Orders {
  durableBytes: number
  exitCode: number | undefined
  isInputOver: boolean
}

/** Time for giving the lock back, once the sender has stopped. */
const LAST_MS = 1_000
/** A sender that ended with its runner a moment ago holds the lock for some seconds more: that is no trouble. */
const LOCK_TROUBLE_MS = 15_000

const say = (news: News): void => void process.stdout.write(messageLine(news))

async function main(): Promise<void> {
  const orders: Orders = { durableBytes: 0, exitCode: undefined, isInputOver: false }
  const over = new AbortController()
  const listeners: (() => void)[] = []
  const changed = (): void => {
    for (const listener of listeners) listener()
  }
  const started = Promise.withResolvers<Start | undefined>()
  createInterface({ input: process.stdin })
    .on('line', (line) => {
      const order = readOrder(line)
      if (order?.order === 'start') started.resolve(order)
      if (order?.order === 'durable') orders.durableBytes = order.bytes
      if (order?.order === 'end') orders.exitCode = order.exitCode
      changed()
    })
    .on('close', () => {
      started.resolve(undefined)
      orders.isInputOver = true
      over.abort()
      changed()
    })
  const start = await started.promise
  if (start) await deliver(start, orders, { over: over.signal, listeners })
}

interface Input {
  /** Aborted when the runner is gone, or has no more to say. */
  readonly over: AbortSignal
  /** Called after every order. */
  readonly listeners: (() => void)[]
}

async function deliver(start: Start, orders: Orders, { over, listeners }: Input): Promise<void> {
  const { apiKey } = readEnvironment().wandb
  if (!apiKey) throw new NightshiftError('missing_wandb_key', 'there is no WANDB_API_KEY in the environment')
  const { task, taskDir, stateDir, wishes, timing, postLines } = start
  const history = new HistoryFile(nodeFileSystem, historyPath(taskDir, task))
  const name = await nameOnceKnown(start, history, orders, listeners)
  if (name === undefined) return
  const lock = await waitForLock(stateDir, name, over)
  if (!lock) return
  try {
    const guard = () => lock.check()
    const cut = new AbortController()
    const { baseUrl } = wishes
    const { timeoutMs } = timing
    const sender = new WandbSender({
      api: new WandbApi({ baseUrl, key: apiKey, fetch, clock: systemClock, timeoutMs, signal: cut.signal }),
      history,
      file: await openDelivery(nodeFileSystem, deliveryPath(stateDir, name), {
        guard,
        onDamaged: (message) => say({ news: 'trouble', code: 'wandb_new_run', message }),
      }),
      wishes,
      timing,
      postLines,
      clock: systemClock,
      random: Math.random,
      guard,
      tell: say,
      cut,
    })
    follow(orders, sender, { history, graceMs: timing.graceMs, listeners })
    say({ news: 'done', why: await sender.run() })
  } finally {
    await lock.release()
  }
}

/** Undefined when the runner is gone and wrote no line of history: there is nothing to send. */
async function nameOnceKnown(
  start: Start,
  history: HistoryFile,
  orders: Orders,
  listeners: Input['listeners'],
): Promise<string | undefined> {
  for (;;) {
    const changed = new Promise<void>((resolve) => listeners.push(resolve))
    const { isInputOver } = orders
    const name = await deliveryName(start, history)
    if (name !== undefined || isInputOver) return name
    await changed
  }
}

/** Undefined when the runner was gone before the lock was free: then there is nothing that may be said. */
async function waitForLock(
  directory: string,
  name: string,
  over: AbortSignal,
): Promise<TaskLock | undefined> {
  try {
    return await TaskLock.acquire({
      directory,
      name: deliveryLock(name),
      clock: systemClock,
      timeoutMs: -1,
      signal: over,
      onWaiting: (holder, waitedMs) => {
        if (waitedMs < LOCK_TROUBLE_MS) return
        const who = holder ? `process ${holder.pid} on ${holder.host}` : 'another process'
        const message = `${who} sends the history of this task to W&B already; this run waits for its end`
        say({ news: 'trouble', code: 'wandb_locked', message })
      },
    })
  } catch (error) {
    if (NightshiftError.is(error) && error.code === 'lock_aborted') return undefined
    throw error
  }
}

interface Following {
  readonly history: HistoryFile
  readonly graceMs: number
  readonly listeners: (() => void)[]
}

/** Passes on to the sender what was ordered, and what is ordered from now on. */
function follow(orders: Orders, sender: WandbSender, { history, graceMs, listeners }: Following): void {
  let isOver = false
  const pass = (): void => {
    sender.durable(orders.durableBytes)
    if (orders.exitCode !== undefined) sender.end(orders.exitCode)
    if (!orders.isInputOver || isOver) return
    isOver = true
    setTimeout(() => process.exit(1), graceMs + LAST_MS).unref()
    sender.stopWithin(graceMs)
    if (orders.exitCode === undefined) void endAlone(sender, history, orders.durableBytes)
  }
  listeners.push(pass)
  pass()
}

/**
 * The runner was killed: what it wrote and had no time to make durable is made so here. If that tells how the run ended,
 * as it does when the kill came a moment too late, W&B is told.
 */
async function endAlone(sender: WandbSender, history: HistoryFile, durableBytes: number): Promise<void> {
  try {
    // Whole lines only: the next run, which may have begun already, puts others in the place of what was torn off.
    const bytes = await history.endOfLines(durableBytes, await history.sync())
    const exitCode = exitCodeOf(await history.runEnd(bytes))
    sender.durable(bytes)
    if (exitCode !== undefined) sender.end(exitCode)
  } catch (error) {
    say({ news: 'trouble', code: 'wandb_history_unreadable', message: errorText(error) })
  }
  sender.drain()
}

// Who ends this process is the end of its input. Signals that are sent to a whole container or service come while the
// runner still has to finish what it has in hand, and to have it told.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => undefined)
// The runner is gone: nobody is left to tell.
process.stdout.on('error', () => undefined)

try {
  await main()
  process.exit(0)
} catch (error) {
  say({
    news: 'trouble',
    code: 'wandb_sender_failed',
    message: `the history cannot be sent to W&B: ${errorText(error)}`,
  })
  process.stderr.write(`${errorText(error)}\n`, () => process.exit(1))
}
