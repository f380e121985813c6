import { NightshiftError } from '../errors.ts'

/** What a run is told by signals, step by step. */
export interface Interruption {
  /** Aborted by the first signal: finish what is in hand and stop. */
  readonly stop: AbortSignal
  /** Aborted by the second: do not wait for direct calls that are on the wire. */
  readonly cut: AbortSignal
  /** The first signal, when there was one. */
  readonly signal: () => 'SIGINT' | 'SIGTERM' | undefined
  /** Gives the signals back. */
  readonly end: () => void
}

export const SIGNAL_EXIT_CODES = { SIGINT: 130, SIGTERM: 143 } as const

/** Listens for SIGINT and SIGTERM. A third signal ends the process at once, which loses nothing that was paid for. */
export function listenForSignals(tell: (message: string) => void): Interruption {
  const stop = new AbortController()
  const cut = new AbortController()
  let first: keyof typeof SIGNAL_EXIT_CODES | undefined
  const onSignal = (signal: NodeJS.Signals) => {
    if (cut.signal.aborted) process.exit(SIGNAL_EXIT_CODES[first ?? 'SIGINT'])
    if (stop.signal.aborted) {
      tell('giving up on direct calls that are on the wire; the next run marks them as uncertain')
      cut.abort()
      return
    }
    first = signal === 'SIGTERM' ? 'SIGTERM' : 'SIGINT'
    tell(
      `${signal}: finishing what is in hand; run the same command again to go on (once more: do not wait for direct calls)`,
    )
    stop.abort()
  }
  process.on('SIGINT', onSignal)
  process.on('SIGTERM', onSignal)
  const end = () => {
    process.off('SIGINT', onSignal)
    process.off('SIGTERM', onSignal)
  }
  return { stop: stop.signal, cut: cut.signal, signal: () => first, end }
}

/** What a signal leads to where there is no run to sum up: while a task is opened, or in the middle of a command. */
export const isInterruption = (error: unknown): boolean =>
  NightshiftError.is(error) && ['interrupted', 'lock_aborted', 'aborted'].includes(error.code)
