import type { RemoteApi } from '../batch/remote-api.ts'
import type { OpenSender } from '../progress/history-sender.ts'
import type { Reporter } from '../progress/reporter.ts'
import type { PilotReport } from '../requester/pilot-report.ts'
import type { FileSystem } from '../state/file-system.ts'
import type { Clock } from '../util/clock.ts'
import type { Fetch } from '../util/fetch.ts'
import type { EnvironmentVariables } from '../util/options.ts'

/** What a task can be given beside its options. None of it is stored. */
export interface TaskDependencies {
  /** Values of the task's own flags, as `runTask` parsed them. */
  readonly flags?: Readonly<Record<string, unknown>> | undefined
  /** Aborted to stop the run safely: what is in hand is finished and recorded. */
  readonly stop?: AbortSignal | undefined
  /** Aborted to give up even on direct calls that are on the wire. */
  readonly cut?: AbortSignal | undefined
  /** Asked after a pilot (`pilot`) whether the rest is to be sent. Default: whatever the option `yes` says. */
  readonly confirm?: ((report: PilotReport) => Promise<boolean>) | undefined
  readonly reporters?: readonly Reporter[] | undefined
  /** Sends the history of a run on while it is written. Default: to Weights & Biases, where that is wanted. */
  readonly openSender?: OpenSender | undefined
  /** Told what went wrong when the reporters were closed, line by line. Default: a warning of the process. */
  readonly warn?: ((message: string) => void) | undefined
  /** Sends all HTTP requests, such as an emulator's. Default: the global `fetch`. */
  readonly fetch?: Fetch | undefined
  /** Speaks to the server in place of the OpenAI client. */
  readonly api?: RemoteApi | undefined
  readonly clock?: Clock | undefined
  readonly fs?: FileSystem | undefined
  /** Environment variables. Default: those of the process. */
  readonly env?: EnvironmentVariables | undefined
}
