import { NightshiftError, UsageError } from '../errors.ts'

/** It was not the fault of what was asked: the same may succeed later. */
const RUN_AGAIN: ReadonlySet<string> = new Set(['waited_too_long', 'store_unavailable', 'store_busy'])

/** What to print for an error, and the exit code it gives: 2 for wrong usage, 3 when running again may help, else 1. */
export function describeError(error: unknown): { readonly text: string; readonly exitCode: 1 | 2 | 3 } {
  if (error instanceof UsageError) return { text: `error: ${error.message}`, exitCode: 2 }
  if (NightshiftError.is(error))
    return {
      text: `error: ${error.message}${hookStack(error)}`,
      exitCode: RUN_AGAIN.has(error.code) && error.retryable ? 3 : 1,
    }
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error)
  return { text: `error: ${text}`, exitCode: 1 }
}

/** Where in the task's own code it happened. */
function hookStack(error: NightshiftError): string {
  if (error.code !== 'hook_failed' || !(error.cause instanceof Error) || !error.cause.stack) return ''
  return `\n${error.cause.stack}`
}
