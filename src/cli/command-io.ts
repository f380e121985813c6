import type { Clock } from '../util/clock.ts'
import type { Fetch } from '../util/fetch.ts'
import type { EnvironmentVariables } from '../util/options.ts'

/** What a command is given by the program around it. */
export interface CommandIo {
  /** Prints one line, or several. */
  readonly stdout: (line: string) => void
  /** Tells at once what cannot wait for the end of the command, as one line. Default: nobody is told. */
  readonly stderr?: ((line: string) => void) | undefined
  /** Aborted by a signal: end at once. */
  readonly signal: AbortSignal
  /** Width to wrap text to, in characters. */
  readonly columns: number
  readonly clock: Clock
  /** Default: the process's. */
  readonly env?: EnvironmentVariables | undefined
  /** Sends HTTP requests. Default: the global `fetch`. */
  readonly fetch?: Fetch | undefined
}
