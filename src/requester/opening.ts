import { randomBytes } from 'node:crypto'
import { LEDGER_FORMAT } from '../batch/ledger-format.ts'
import type { RemoteApi } from '../batch/remote-api.ts'
import type { WipeScope } from '../batch/steps.ts'
import { UsageError } from '../errors.ts'
import { OpenAIRemoteApi } from '../openai/remote-api.ts'
import type { ProgressEvent } from '../progress/events.ts'
import { type FileSystem, nodeFileSystem } from '../state/file-system.ts'
import { TaskLock } from '../state/task-lock.ts'
import { type Clock, systemClock } from '../util/clock.ts'
import { parseDeadline } from '../util/duration.ts'
import type { Fetch } from '../util/fetch.ts'
import { jsonCopy } from '../util/json-text.ts'
import type { ResolvedOptions, Settings } from '../util/options.ts'
import type { Context } from './context.ts'
import { DeadlineWatch } from './deadline-watch.ts'
import { FAILED_FILE, isSideFile, isTransient, keepsTail, STATE_FILE } from './files.ts'
import { keepReplies as keepFiles } from './kept-replies.ts'
import { openGovernor } from './open-governor.ts'
import type { OutputPlacement } from './output-placement.ts'
import type { PrepareOptions } from './prepare.ts'
import { requesterSettings } from './settings.ts'
import { StateFile } from './state-file.ts'
import { type StoreOptions, TaskStore } from './store.ts'
import { Valuer } from './valuer.ts'

/** What a task's code is recognised by in later runs; see `TaskIdentity`. */
export interface CodeFingerprint {
  readonly className: string
  readonly endpoint: string
  /** Hash of the answer schema, empty without one. */
  readonly schema: string
}

export interface RequesterOptions {
  /** From `resolveOptions`. */
  readonly settings: Settings
  readonly code: CodeFingerprint
  readonly prepare: PrepareOptions
  readonly output: OutputPlacement
  /** Called when the task is created, and for `--reinit-params`. */
  readonly createParams: () => unknown | Promise<unknown>
  /** Told of progress. Must return at once; after it threw or rejected it is told nothing more, and the run goes on. */
  readonly emit: (event: ProgressEvent) => void
  /** Aborted to stop the run; see `Context.stop`. */
  readonly stop?: AbortSignal | undefined
  /** Aborted to give up on calls that are on the wire. */
  readonly cut?: AbortSignal | undefined
  /** Speaks to the server. Default: OpenAI's API with the key of the environment. */
  readonly api?: RemoteApi | undefined
  /** Sends the HTTP requests of the default `api`. */
  readonly fetch?: Fetch | undefined
  readonly clock?: Clock | undefined
  readonly fs?: FileSystem | undefined
}

export interface OpenedTask {
  readonly context: Context
  readonly lock: TaskLock
  readonly stateFile: StateFile
  /** The server may be called. Without a key a task can only be looked at. */
  readonly isConnected: boolean
  /** Failed requests that were put back, for the task to give them again. */
  readonly putBack: number
}

/** What becomes of groups on their way to the disk. */
export type StoreNews = Required<Pick<StoreOptions, 'onDurable' | 'onDropped'>>

/** Takes the lock and brings the task's own facts up to date. What is remote is left alone. */
export async function openTask(
  options: RequesterOptions,
  halt: AbortSignal,
  news: StoreNews,
): Promise<OpenedTask> {
  const { settings, clock = systemClock, fs = nodeFileSystem } = options
  const pace = paceOf(settings.options, clock)
  const api = connect(options)
  const lock = await takeLock(settings.options, clock, options)
  let opened: TaskStore | undefined
  try {
    const { store, stateFile } = await openStore(settings.options, { fs, clock, lock, news })
    opened = store
    const requester = requesterSettings(settings.options)
    const governor = openGovernor({ ...options, api, clock })
    const context: Context = {
      store,
      api: api ?? unconnected,
      clock,
      settings: requester,
      governor,
      valuer: new Valuer({
        settings: requester,
        clock,
        emit: options.emit,
        enqueuedCap: (model) => governor.capOf(model),
        enqueuedLimit: (model) => governor.limitOf(model),
        isHurried: () => pace?.isHurried ?? false,
      }),
      emit: options.emit,
      pace,
      stop: options.stop ? AbortSignal.any([options.stop, halt]) : halt,
      cut: options.cut ?? new AbortController().signal,
    }
    const putBack = await commitFacts(context, options)
    await governor.open(store.durable.state)
    return { context, lock, stateFile, isConnected: api !== undefined, putBack }
  } catch (error) {
    await opened?.close()
    await lock.release()
    throw error
  }
}

/** A time span begins here, with the run. */
const paceOf = ({ deadline }: ResolvedOptions, clock: Clock): DeadlineWatch | undefined =>
  deadline === undefined ? undefined : new DeadlineWatch(parseDeadline(deadline, clock.now()))

/** The server, or undefined when there is no key and none is needed. */
function connect({ settings, api, fetch, clock }: RequesterOptions): RemoteApi | undefined {
  if (api) return api
  const { apiKey, baseUrl, organization, project } = settings.environment
  const { options } = settings
  if (apiKey) {
    return new OpenAIRemoteApi({
      apiKey: apiKey.reveal(),
      baseURL: baseUrl,
      organization,
      project,
      fetch,
      timeoutMs: options.requestTimeoutMs,
      clock,
    })
  }
  if (!options.run && !requestedWipe(options)) return undefined
  throw new UsageError(
    'missing_api_key',
    'OPENAI_API_KEY is not set. Set it to your key, or add --emulator to try the task against a local emulator that needs none.',
  )
}

/** Stands in where nothing may be called. */
const unconnected: RemoteApi = new Proxy({} as RemoteApi, {
  get: (_, name) => {
    throw new UsageError(
      'missing_api_key',
      `OPENAI_API_KEY is not set, so the server cannot be asked (${String(name)})`,
    )
  },
})

const takeLock = (
  options: ResolvedOptions,
  clock: Clock,
  { emit, stop }: RequesterOptions,
): Promise<TaskLock> =>
  TaskLock.acquire({
    directory: options.taskDir,
    name: options.name,
    clock,
    timeoutMs: options.lockTimeout * 1000,
    pollMs: options.lockPollInterval * 1000,
    statusMs: options.lockStatusInterval * 1000,
    signal: stop,
    onWaiting: (holder, waitedMs) => {
      const who = holder ? `process ${holder.pid} on ${holder.host}` : 'another process'
      const seconds = Math.round(waitedMs / 1000)
      emit({
        kind: 'warning',
        code: 'lock_waiting',
        message: `waiting for ${who}, which holds the task (${seconds} s so far)`,
      })
    },
  })

interface StoreParts {
  readonly fs: FileSystem
  readonly clock: Clock
  readonly lock: TaskLock
  readonly news: StoreNews
}

async function openStore(
  { taskDir, name, waitSaveInterval, keepReplies }: ResolvedOptions,
  { fs, clock, lock, news }: StoreParts,
) {
  const path = `${taskDir}/${name}${STATE_FILE}`
  const stateFile = await StateFile.open({
    fs,
    path,
    clock,
    heartbeatMs: waitSaveInterval * 1000,
    guard: () => lock.check(),
  })
  const store = await TaskStore.open({
    fs,
    clock,
    directory: taskDir,
    name,
    guard: () => lock.check(),
    keepTail: keepsTail,
    isSideFile,
    isTransient,
    leastSeq: stateFile.seq,
    ...news,
    ...(keepReplies && { beforeForget: (store, files) => keepFiles(fs, (file) => store.path(file), files) }),
  })
  return { store, stateFile }
}

/**
 * Records what the code and the options say about the task: its creation, drift, new parameters, wipes. Resolves with
 * the number of failed requests that were put back.
 */
async function commitFacts(context: Context, options: RequesterOptions): Promise<number> {
  const { store } = context
  const { options: chosen } = options.settings
  await createOrCompare(context, options)
  const scope = widest(store.durable.state.wipe, requestedWipe(chosen))
  if (scope && scope !== store.durable.state.wipe)
    await store.commit((draft) => draft.apply({ kind: 'wipe', scope }))
  return chosen.retryFailed && !scope ? restoreFailed(store) : 0
}

async function createOrCompare(
  { store, emit }: Context,
  { code, createParams, settings }: RequesterOptions,
): Promise<void> {
  const { identity } = store.durable.state
  if (!identity) {
    const params = await paramsFrom(createParams)
    const taskId = randomBytes(4).toString('hex')
    await store.commit((draft) => {
      draft.apply({ kind: 'format', ...LEDGER_FORMAT })
      draft.apply({ kind: 'task', version: 1, taskId, ...code, params })
    })
    return
  }
  await migrate(store)
  const drifted = (['className', 'endpoint', 'schema'] as const).filter(
    (field) => identity[field] !== code[field],
  )
  if (drifted.length > 0) {
    const message = `the task's code has changed since it was created (${drifted.map((field) => describeDrift[field]).join(', ')}); requests that are under way keep what they were sent with`
    emit({ kind: 'warning', code: 'drift', message })
    await store.commit((draft) => draft.apply({ kind: 'drift', ...code }))
  }
  if (settings.options.reinitParams) {
    const params = await paramsFrom(createParams)
    await store.commit((draft) => draft.apply({ kind: 'params', params }))
  }
}

/** An older program is to refuse a ledger that this one writes to, not to misread it. */
async function migrate(store: TaskStore): Promise<void> {
  if (store.durable.state.format >= LEDGER_FORMAT.version) return
  await store.commit((draft) => draft.apply({ kind: 'format', ...LEDGER_FORMAT }))
}

const describeDrift = { className: 'class', endpoint: 'endpoint', schema: 'answer schema' } as const

/** The parameters a task gets: JSON, frozen by being written down. */
export async function paramsFrom(createParams: () => unknown | Promise<unknown>): Promise<unknown> {
  return jsonCopy((await createParams()) ?? {}, { what: 'what createParams() returned', code: 'bad_params' })
}

const WIDTH: Readonly<Record<WipeScope, number>> = { requests: 1, failed: 2, task: 3 }

const widest = (a: WipeScope | undefined, b: WipeScope | undefined): WipeScope | undefined =>
  a && b ? (WIDTH[a] >= WIDTH[b] ? a : b) : (a ?? b)

/** The wipe that was asked for. Of several the one that includes the others. */
export const requestedWipe = ({
  wipeTask,
  wipeFailed,
  wipeRequests,
}: ResolvedOptions): WipeScope | undefined =>
  wipeTask ? 'task' : wipeFailed ? 'failed' : wipeRequests ? 'requests' : undefined

/** Puts all failed requests back: their keys may be given again. Resolves with their number. */
async function restoreFailed(store: TaskStore): Promise<number> {
  const { failed } = store.durable.state.counters
  if (failed === 0) return 0
  await store.commit((draft) => {
    draft.apply({ kind: 'restored', failed })
    if (draft.length(FAILED_FILE) > 0) draft.truncate(FAILED_FILE, 0)
  })
  return failed
}
