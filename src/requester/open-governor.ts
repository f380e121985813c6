import { join, resolve } from 'node:path'
import type { RemoteApi } from '../batch/remote-api.ts'
import { fetchBatchLimits } from '../openai/batch-limits.ts'
import type { ProgressEvent } from '../progress/events.ts'
import type { Clock } from '../util/clock.ts'
import type { Fetch } from '../util/fetch.ts'
import type { Settings } from '../util/options.ts'
import { Governor } from './governor.ts'
import { QuotaFile } from './quota-board.ts'

interface GovernorSources {
  readonly settings: Settings
  readonly emit: (event: ProgressEvent) => void
  readonly fetch?: Fetch | undefined
  /** Undefined when nothing may be called: then nothing is shared either. */
  readonly api: RemoteApi | undefined
  readonly clock: Clock
}

/** The first batch waits for the answer, which it can do without: a call that hangs may not hold it up for long. */
const LONGEST_ASK_MS = 20_000

/** The governor of a run: tasks of one account share it by a file in the user's state directory. */
export function openGovernor(sources: GovernorSources): Governor {
  const { settings, emit, api, clock } = sources
  const { taskDir, name, maxTokenSafety } = settings.options
  const { stateDir } = settings.environment
  const warn = (code: string) => (message: string) => emit({ kind: 'warning', code, message })
  const quota = new QuotaFile({
    path: stateDir !== undefined && api ? join(stateDir, quotaFileName(api.fingerprint)) : undefined,
    clock,
    task: join(resolve(taskDir), name),
    onTrouble: warn('quota_file'),
  })
  return new Governor({
    quota,
    safety: maxTokenSafety,
    fetchLimits: limitsFetcher(sources),
    onTrouble: warn('account_limits'),
  })
}

const quotaFileName = (fingerprint: string): string =>
  `quota-${fingerprint.replace(/[^\w-]/g, '_').slice(0, 64)}.json`

/** Only a project has limits to ask for. */
function limitsFetcher({
  settings,
  fetch,
  clock,
}: GovernorSources): ((signal: AbortSignal) => Promise<ReadonlyMap<string, number>>) | undefined {
  const { adminKey, baseUrl, organization, project } = settings.environment
  if (!adminKey || project === undefined) return undefined
  const timeoutMs = Math.min(settings.options.requestTimeoutMs, LONGEST_ASK_MS)
  const how = { baseURL: baseUrl, organization, project, fetch, timeoutMs, clock }
  return (signal) => fetchBatchLimits({ ...how, adminKey: adminKey.reveal() }, signal)
}
