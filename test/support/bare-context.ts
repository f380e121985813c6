import type { RemoteApi } from '../../src/batch/remote-api.ts'
import { OpenAIRemoteApi } from '../../src/openai/remote-api.ts'
import type { ProgressEvent } from '../../src/progress/events.ts'
import type { Context } from '../../src/requester/context.ts'
import { Governor } from '../../src/requester/governor.ts'
import { QuotaFile } from '../../src/requester/quota-board.ts'
import { requesterSettings } from '../../src/requester/settings.ts'
import { TaskStore } from '../../src/requester/store.ts'
import { Valuer } from '../../src/requester/valuer.ts'
import type { TaskManagerOptions } from '../../src/task/task-manager.ts'
import type { Fetch } from '../../src/util/fetch.ts'
import { resolveOptions } from '../../src/util/options.ts'
import { PowerLossFs } from './power-loss-fs.ts'
import { VirtualClock } from './virtual-clock.ts'

export interface BareContextOptions {
  readonly options?: Partial<TaskManagerOptions>
  readonly clock?: VirtualClock
  /** Default: a call is an error. */
  readonly fetch?: Fetch
  /** What its governor goes by. Default: a count of its own, of a task named `task`. */
  readonly quota?: QuotaFile
}

/** What parts of a requester work with, of a task that has nothing yet; all its events, and what stops it. */
export async function bareContext({
  options = {},
  clock = new VirtualClock(),
  fetch,
  quota,
}: BareContextOptions = {}) {
  const stop = new AbortController()
  const events: ProgressEvent[] = []
  const emit = (event: ProgressEvent) => void events.push(event)
  const settings = requesterSettings(
    resolveOptions({ name: 'task', ...options }, { OPENAI_API_KEY: 'sk' }).options,
  )
  const context: Context = {
    store: await emptyStore(clock),
    api: apiOn(fetch),
    clock,
    settings,
    valuer: new Valuer({ settings, clock, emit }),
    governor: new Governor({
      quota: quota ?? new QuotaFile({ path: undefined, clock, task: 'task' }),
      safety: settings.maxTokenSafety,
      onTrouble: () => {},
    }),
    emit,
    stop: stop.signal,
    cut: new AbortController().signal,
  }
  return { context, clock, stop, events }
}

const emptyStore = (clock: VirtualClock): Promise<TaskStore> =>
  TaskStore.open({
    fs: new PowerLossFs(),
    clock,
    directory: '/d',
    name: 'task',
    guard: () => {},
    keepTail: () => false,
    isSideFile: () => false,
  })

const nothing: Fetch = () => Promise.reject(new Error('nothing is to be called'))

const apiOn = (fetch: Fetch = nothing): RemoteApi =>
  new OpenAIRemoteApi({ apiKey: 'sk', timeoutMs: 1000, fetch })
