import { errorText, LockError } from '../../errors.ts'
import { nodeFileSystem } from '../../state/file-system.ts'
import { TaskLock } from '../../state/task-lock.ts'
import { assertNever } from '../../util/exhaustive.ts'
import { type EnvironmentVariables, environmentWith } from '../../util/options.ts'
import type { HistorySender, HistorySource, OpenSender, RunEnd } from '../history-sender.ts'
import { wandbConfig } from './config.ts'
import { DEFAULT_TIMING, type SenderTiming } from './decide.ts'
import { deliveryName } from './delivery-name.ts'
import {
  begun,
  deliveryLock,
  deliveryPath,
  historyPath,
  openDelivery,
  type RunWishes,
} from './delivery-state.ts'
import { findKey } from './find-key.ts'
import { HistoryFile } from './history-file.ts'
import { type SenderNews, SenderProcess, type SenderProcessOptions } from './sender-process.ts'

export interface WandbSenderOptions {
  /** Default: as `DEFAULT_TIMING` has them. */
  readonly timing?: SenderTiming | undefined
  readonly postLines?: SenderProcessOptions['postLines']
  readonly program?: SenderProcessOptions['program']
  readonly endMs?: SenderProcessOptions['endMs']
}

/** The sender is told all it has to know; other keys, and variables that options stood in for, stay here. */
const NOT_ITS_BUSINESS: EnvironmentVariables = Object.fromEntries(
  [
    ...['OPENAI_API_KEY', 'OPENAI_ADMIN_KEY', 'OPENAI_BASE_URL', 'OPENAI_ENDPOINT', 'OPENAI_ORG_ID'],
    ...['OPENAI_PROJECT_ID', 'WANDB_BASE_URL', 'WANDB_MODE', 'WANDB_PROJECT', 'WANDB_ENTITY', 'WANDB_NAME'],
    ...['WANDB_RUN_GROUP', 'WANDB_RUN_ID', 'WANDB_DIR', 'WANDB_TAGS'],
  ].map((name) => [name, undefined]),
)

/**
 * Delivers the history of a run to W&B, if that is wanted: `--wandb` and `--no-wandb` say so; else it is when there is
 * a key. Offline, only what the run is to be is written down, for `wandb sync`. What goes wrong is told by warnings.
 */
export const wandbSender =
  (options: WandbSenderOptions = {}): OpenSender =>
  (source) => {
    const { mode, wanted } = source.settings.environment.wandb
    if (mode === 'disabled' || wanted === false) return undefined
    return mode === 'offline' ? new OfflineDelivery(source) : new OnlineDelivery(source, options)
  }

/** Looks for the key, and starts the sender when there is one. */
class OnlineDelivery implements HistorySender {
  readonly #sender: Promise<SenderProcess | undefined>
  #started: SenderProcess | undefined
  #durableBytes = 0

  constructor(source: HistorySource, options: WandbSenderOptions) {
    this.#sender = this.#start(source, options).catch((error: unknown) => {
      warn(source, 'wandb_sender_failed', `the history cannot be sent to W&B: ${errorText(error)}`)
      return undefined
    })
  }

  durable(bytes: number): void {
    this.#durableBytes = bytes
    this.#started?.durable(bytes)
  }

  async end({ exitCode }: RunEnd): Promise<void> {
    const sender = await this.#sender
    await sender?.end(exitCode)
  }

  async #start(source: HistorySource, options: WandbSenderOptions): Promise<SenderProcess | undefined> {
    const { settings, clock, name, taskDir } = source
    const { apiKey, baseUrl, netrc, wanted } = settings.environment.wandb
    const { key, problem } = await findKey(
      { apiKey, baseUrl, netrcPaths: netrc ? [netrc] : [] },
      nodeFileSystem,
    )
    if (!key) {
      if (wanted || problem) warn(source, 'wandb_no_key', noKey(baseUrl, problem))
      return undefined
    }
    const { timing = DEFAULT_TIMING, postLines, program, endMs } = options
    this.#started = new SenderProcess({
      task: name,
      taskDir,
      stateDir: stateDirOf(source),
      wishes: wishesOf(source),
      timing,
      postLines,
      env: environmentWith({ ...NOT_ITS_BUSINESS, WANDB_API_KEY: key.reveal() }),
      clock,
      fs: nodeFileSystem,
      tell: (news) => tellNews(source, news),
      program,
      endMs,
    })
    this.#started.durable(this.#durableBytes)
    return this.#started
  }
}

/** Writes down what the run is to be. */
class OfflineDelivery implements HistorySender {
  readonly #written: Promise<void>
  readonly #begun = Promise.withResolvers<void>()

  constructor(source: HistorySource) {
    this.#written = writeWishes(source, this.#begun.promise)
  }

  durable(bytes: number): void {
    if (bytes > 0) this.#begun.resolve()
  }

  end(): Promise<void> {
    this.#begun.resolve()
    return this.#written
  }
}

/** `hasBegun`: resolves when the history has its first line, or never will. */
async function writeWishes(source: HistorySource, hasBegun: Promise<void>): Promise<void> {
  const directory = stateDirOf(source)
  const { clock } = source
  try {
    const name = (await nameOf(source)) ?? (await hasBegun.then(() => nameOf(source)))
    if (name === undefined) return
    const lock = await TaskLock.acquire({ directory, name: deliveryLock(name), clock })
    try {
      const file = await openDelivery(nodeFileSystem, deliveryPath(directory, name), {
        guard: () => lock.check(),
        onDamaged: (message) => warn(source, 'wandb_new_run', message),
      })
      await file.write(begun(file.data, wishesOf(source)).state)
    } finally {
      await lock.release()
    }
  } catch (error) {
    // Somebody sends the history right now, and will see to it.
    if (error instanceof LockError && error.code === 'locked') return
    const message = `what the W&B run is to be could not be written down (${errorText(error)}): give it to nightshift wandb sync by its flags`
    warn(source, 'wandb_offline', message)
  }
}

const nameOf = (source: HistorySource): Promise<string | undefined> => {
  const { name: task, taskDir } = source
  const history = new HistoryFile(nodeFileSystem, historyPath(taskDir, task))
  return deliveryName({ task, taskDir, stateDir: stateDirOf(source) }, history)
}

function tellNews(source: HistorySource, news: SenderNews): void {
  if (news.kind === 'run') source.emit({ kind: 'monitored', url: news.url })
  else if (news.kind === 'trouble') warn(source, news.code, news.message)
  else assertNever(news)
}

const warn = ({ emit }: HistorySource, code: string, message: string): void =>
  emit({ kind: 'warning', code, message })

const stateDirOf = ({ settings, taskDir }: HistorySource): string => settings.environment.wandb.dir ?? taskDir

function wishesOf({ settings, className, name: task }: HistorySource): RunWishes {
  const { options, environment } = settings
  const { baseUrl, entity, project, runId, name = task, group = className, tags } = environment.wandb
  return { baseUrl, entity, project, runId, name, group, tags, config: wandbConfig(options) }
}

function noKey(baseUrl: string, problem: string | undefined): string {
  const why =
    problem ?? `WANDB_API_KEY is not set, and no netrc file has an entry for ${URL.parse(baseUrl)?.host}`
  return `nothing is sent to W&B: ${why}; the history is kept, and nightshift wandb sync sends it later`
}
