import { appendFile, readFile, writeFile } from 'node:fs/promises'
import { WandbApi } from '../../src/progress/wandb/api.ts'
import { DEFAULT_TIMING, type SenderTiming } from '../../src/progress/wandb/decide.ts'
import {
  type DeliveryState,
  deliveryPath,
  historyPath,
  openDelivery,
  type RunWishes,
} from '../../src/progress/wandb/delivery-state.ts'
import { HistoryFile } from '../../src/progress/wandb/history-file.ts'
import type { News } from '../../src/progress/wandb/messages.ts'
import { type SenderEnd, type SenderOptions, WandbSender } from '../../src/progress/wandb/sender.ts'
import { type FileSystem, nodeFileSystem } from '../../src/state/file-system.ts'
import { systemClock } from '../../src/util/clock.ts'
import type { Fetch } from '../../src/util/fetch.ts'
import { Secret } from '../../src/util/secret.ts'
import { temporaryFolder } from './folder.ts'
import { KEY, type WandbServer } from './wandb-server.ts'

/** Times for tests: nothing is waited for longer than it must be. */
export const QUICK: SenderTiming = {
  ...DEFAULT_TIMING,
  paceMs: 0,
  heartbeatMs: 60_000,
  timeoutMs: 250,
  backoffMs: 1,
  maxBackoffMs: 5,
  refusedMs: 60_000,
  graceMs: 3000,
}

export const TASK = 'emotions'
export const PROJECT = 'gpt_batch_api'

/** One line as the history has them. */
export const historyLine = (step: number, more: Readonly<Record<string, string | number>> = {}): string =>
  JSON.stringify({
    _step: step,
    _timestamp: 1_795_179_600 + step,
    _runtime: step,
    'Requests/total': step,
    ...more,
  })

/** A folder with a history that a test writes, and senders of it. */
export async function wandbRig(server: Pick<WandbServer, 'url'>) {
  const folder = await temporaryFolder()
  const path = historyPath(folder.path, TASK)
  const wishes = (over: Partial<RunWishes> = {}): RunWishes => ({
    baseUrl: server.url,
    project: PROJECT,
    name: TASK,
    group: 'EmotionTask',
    tags: ['test'],
    config: { maxRetries: 2, deadline: null },
    ...over,
  })
  let lines = 0
  return {
    dir: folder.path,
    path,
    wishes,
    /** Writes so many lines more; the first one of them with `more`. */
    write: async (count: number, more: Readonly<Record<string, string | number>> = {}) => {
      const added = Array.from({ length: count }, (_, at) => historyLine(lines + at, at === 0 ? more : {}))
      lines += count
      await appendFile(path, added.map((line) => `${line}\n`).join(''))
    },
    /** A file in the place of the one there was. */
    replace: async (text: string) => {
      lines = text.split('\n').length - 1
      await writeFile(path, text)
    },
    lines: async () => (await readFile(path, 'utf8')).split('\n').slice(0, -1),
    state: async (): Promise<DeliveryState> =>
      JSON.parse(await readFile(deliveryPath(folder.path, TASK), 'utf8')),
    /** Sends all there is, with a sender of its own. `exitCode`: how the run ended; undefined: nobody knows. */
    send: async (exitCode: number | undefined, over: SendOptions = {}) => {
      const sender = await makeSender(folder.path, wishes(over.wishes), over)
      sender.sender.durable(await sender.history.sync())
      if (exitCode === undefined) sender.sender.drain()
      else sender.sender.end(exitCode)
      const why: SenderEnd = await sender.sender.run()
      return { why, news: sender.news, codes: sender.codes, error: sender.sender.lastError }
    },
    open: (over: SendOptions = {}) => makeSender(folder.path, wishes(over.wishes), over),
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  }
}

export type WandbRig = Awaited<ReturnType<typeof wandbRig>>

export interface SendOptions extends Omit<Partial<SenderOptions>, 'wishes'> {
  readonly wishes?: Partial<RunWishes>
  readonly key?: string
  /** What calls go through. Default: the real one. */
  readonly fetch?: Fetch
  /** What `_wandb.json` goes through. Default: the real one. */
  readonly fs?: FileSystem
}

async function makeSender(dir: string, wishes: RunWishes, options: SendOptions) {
  const { wishes: _, key = KEY, fetch = globalThis.fetch, fs = nodeFileSystem, ...over } = options
  const news: News[] = []
  const cut = new AbortController()
  const history = new HistoryFile(nodeFileSystem, historyPath(dir, TASK))
  const { timeoutMs } = over.timing ?? QUICK
  const file = await openDelivery(fs, deliveryPath(dir, TASK), {
    guard: () => undefined,
    onDamaged: (message) => void news.push({ news: 'trouble', code: 'wandb_new_run', message }),
  })
  const sender = new WandbSender({
    api: new WandbApi({
      baseUrl: wishes.baseUrl,
      key: new Secret(key),
      fetch,
      clock: systemClock,
      timeoutMs,
      signal: cut.signal,
    }),
    history,
    file,
    wishes,
    timing: QUICK,
    clock: systemClock,
    random: () => 0.5,
    guard: () => undefined,
    tell: (one) => void news.push(one),
    cut,
    ...over,
  })
  const codes = () => news.flatMap((one) => (one.news === 'trouble' ? [one.code] : []))
  return { sender, history, news, codes, file }
}
