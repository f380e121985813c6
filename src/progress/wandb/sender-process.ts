import { type ChildProcess, spawn } from 'node:child_process'
import { Socket } from 'node:net'
import { extname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { errorText } from '../../errors.ts'
import type { FileSystem } from '../../state/file-system.ts'
import { amount } from '../../util/amount.ts'
import type { Clock } from '../../util/clock.ts'
import type { EnvironmentVariables } from '../../util/options.ts'
import type { SenderTiming } from './decide.ts'
import { deliveryName } from './delivery-name.ts'
import { historyPath, type RunWishes, readDelivery } from './delivery-state.ts'
import { HistoryFile } from './history-file.ts'
import { messageLine, type News, type Order, readNews } from './messages.ts'

/** What a runner hears of the delivery of its history. */
export type SenderNews =
  | { readonly kind: 'run'; readonly url: string }
  /** Each code is told once. */
  | { readonly kind: 'trouble'; readonly code: string; readonly message: string }

export interface SenderProcessOptions {
  readonly task: string
  readonly taskDir: string
  /** Folder of `<name>_wandb.json`. */
  readonly stateDir: string
  readonly wishes: RunWishes
  readonly timing: SenderTiming
  /** Lines in one post, at most. Default: `MAX_POST_LINES`. */
  readonly postLines?: number | undefined
  /** Environment of the process, with the key in it. */
  readonly env: EnvironmentVariables
  readonly clock: Clock
  readonly fs: FileSystem
  readonly tell: (news: SenderNews) => void
  /** Program to run. Default: `cli/wandb-child` of this package. */
  readonly program?: string | undefined
  /** How long `end` waits, in milliseconds. Default: 5000. */
  readonly endMs?: number | undefined
}

const END_MS = 5_000
const RESTART_MS = [1_000, 5_000, 15_000] as const
const LATER_RESTARTS_MS = 60_000
/** Longer than any message: whoever writes more without a line break writes no messages. */
const MAX_LINE = 64 * 1024
const MAX_STDERR = 2_000

/** Beside this file both as source and compiled, so that it runs without a loader. */
const childProgram = (): string =>
  fileURLToPath(new URL(`../../cli/wandb-child${extname(import.meta.url)}`, import.meta.url))

/**
 * The runner's side of a sender in a process of its own. The process is in a group of its own, so that a Ctrl+C at the
 * terminal does not reach it, and ends when its standard input does, so that it never outlives the runner by more than
 * a few seconds. Nothing here waits for it, except `end`, and that not for long; nothing is kept for it but one number.
 *
 * `running` -- it ends unasked --> `waiting` -- a pause --> `running`; `end` --> `over`.
 */
export class SenderProcess {
  readonly #options: SenderProcessOptions
  readonly #told = new Set<string>()
  readonly #over = Promise.withResolvers<void>()
  readonly #stop = new AbortController()
  #child: ChildProcess | undefined
  #durableBytes = 0
  #exitCode: number | undefined
  #starts = 0

  constructor(options: SenderProcessOptions) {
    this.#options = options
    this.#start()
  }

  /** So many bytes of the history file may be sent. */
  durable(bytes: number): void {
    this.#durableBytes = bytes
    const { stdin } = this.#child ?? {}
    // While the pipe is full nothing is kept but the newest number; it is written when there is room again.
    if (stdin && !stdin.writableNeedDrain) this.#order({ order: 'durable', bytes })
  }

  /**
   * Has the rest sent, and W&B told how the run ended; waits for that, but not for long, and never throws. What is left
   * is told, with the command that sends it.
   */
  async end(exitCode: number): Promise<void> {
    if (this.#exitCode !== undefined) return
    this.#exitCode = exitCode
    if (this.#child) this.#orderEnd(exitCode)
    else this.#start()
    const { clock, endMs = END_MS } = this.#options
    await Promise.race([this.#over.promise, clock.sleep(endMs, this.#stop.signal)])
    this.#stop.abort()
    this.#child?.stdin?.end()
    await this.#tellWhatIsLeft()
  }

  #start(): void {
    const { env, program = childProgram() } = this.#options
    this.#starts++
    try {
      const child = spawn(process.execPath, [program], {
        detached: true,
        windowsHide: true,
        stdio: ['pipe', 'pipe', 'pipe'],
        env: { ...env },
      })
      this.#child = child
      this.#listen(child)
      this.#release(child)
      this.#greet()
    } catch (error) {
      this.#ended(errorText(error))
    }
  }

  #listen(child: ChildProcess): void {
    let errors = ''
    let failure: string | undefined
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      errors = (errors + text).slice(-MAX_STDERR)
    })
    onLines(child, (line) => {
      const news = readNews(line)
      if (news) this.#hear(news)
    })
    child.stdin?.on('drain', () => this.#order({ order: 'durable', bytes: this.#durableBytes }))
    // Its end is told by `close`; until then there is nobody to write to, or to hear.
    for (const stream of streamsOf(child)) stream.on('error', () => undefined)
    child.on('error', (error) => {
      failure = errorText(error)
    })
    child.on('close', (code, signal) => {
      if (this.#child !== child) return
      this.#child = undefined
      const last = errors.trim().split('\n').at(-1)
      this.#ended(failure ?? `${signal ?? `exit code ${code}`}${last ? `: ${last}` : ''}`)
    })
  }

  /** The process and its pipes keep nobody alive. */
  #release(child: ChildProcess): void {
    child.unref()
    for (const stream of streamsOf(child)) if (stream instanceof Socket) stream.unref()
  }

  #greet(): void {
    const { task, taskDir, stateDir, wishes, timing, postLines } = this.#options
    const { tags, config, ...rest } = wishes
    this.#order({
      order: 'start',
      task,
      taskDir,
      stateDir,
      wishes: { ...rest, tags: [...tags], config: { ...config } },
      timing,
      postLines,
    })
    if (this.#exitCode === undefined) this.#order({ order: 'durable', bytes: this.#durableBytes })
    else this.#orderEnd(this.#exitCode)
  }

  /** The newest number goes first: it may have been kept back while the pipe was full. */
  #orderEnd(exitCode: number): void {
    this.#order({ order: 'durable', bytes: this.#durableBytes })
    this.#order({ order: 'end', exitCode })
  }

  #order(order: Order): void {
    const { stdin } = this.#child ?? {}
    if (stdin?.writable) stdin.write(messageLine(order))
  }

  #hear(news: News): void {
    if (news.news === 'run') this.#tell({ kind: 'run', url: news.url }, `run ${news.url}`)
    if (news.news === 'trouble')
      this.#tell({ kind: 'trouble', code: news.code, message: news.message }, news.code)
  }

  #tell(news: SenderNews, key: string): void {
    if (this.#told.has(key)) return
    this.#told.add(key)
    this.#options.tell(news)
  }

  #ended(why: string): void {
    if (this.#exitCode !== undefined) {
      this.#over.resolve()
      return
    }
    const message = `the process that sends the history to W&B ended (${why}) and is started again; the run goes on, and nothing of its history is lost`
    this.#tell({ kind: 'trouble', code: 'wandb_sender_ended', message }, 'wandb_sender_ended')
    void this.#startLater(RESTART_MS[this.#starts - 1] ?? LATER_RESTARTS_MS)
  }

  async #startLater(ms: number): Promise<void> {
    await this.#options.clock.sleep(ms, this.#stop.signal, { background: true })
    if (this.#exitCode === undefined && !this.#child) this.#start()
  }

  async #tellWhatIsLeft(): Promise<void> {
    const { task, taskDir, stateDir, fs, wishes } = this.#options
    const command = syncCommand(this.#options)
    try {
      const history = new HistoryFile(fs, historyPath(taskDir, task))
      const name = await deliveryName(this.#options, history)
      const state = name === undefined ? undefined : await readDelivery(fs, stateDir, name)
      const lines = await history.count(state?.ackedBytes ?? 0, this.#durableBytes)
      const isToldOfEnd = state?.ended?.exitCode === this.#exitCode
      if (lines === 0 && isToldOfEnd) return
      const what =
        lines > 0
          ? `${amount(lines, 'line')} of the history ${lines === 1 ? 'is' : 'are'} not at W&B yet`
          : 'W&B does not know yet how the run ended'
      const message = `${what}; the next run sends the rest, or: ${command}`
      this.#options.tell({ kind: 'trouble', code: 'wandb_undelivered', message })
    } catch (error) {
      const message = `how much of the history is at W&B (${wishes.baseUrl}) cannot be told (${errorText(error)}); to send what is left: ${command}`
      this.#options.tell({ kind: 'trouble', code: 'wandb_undelivered', message })
    }
  }
}

const shellWord = (text: string): string =>
  /^[\w./:@%+-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`

function syncCommand({ task, taskDir, stateDir }: SenderProcessOptions): string {
  const flags = [
    ...(taskDir === 'tasks' ? [] : ['--task-dir', taskDir]),
    ...(stateDir === taskDir ? [] : ['--wandb-dir', stateDir]),
  ]
  return ['nightshift wandb sync', task, ...flags.map(shellWord)].join(' ')
}

/** None when the process could not be started for want of file descriptors, whatever the types say. */
const streamsOf = ({ stdin, stdout, stderr }: ChildProcess) =>
  [stdin, stdout, stderr].filter((stream) => stream !== null && stream !== undefined)

function onLines({ stdout }: ChildProcess, take: (line: string) => void): void {
  let rest = ''
  stdout?.setEncoding('utf8').on('data', (text: string) => {
    const lines = (rest + text).split('\n')
    rest = (lines.pop() ?? '').slice(0, MAX_LINE)
    for (const line of lines) take(line)
  })
}
