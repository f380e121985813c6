import { NightshiftError, UsageError } from '../errors.ts'
import { hookStack } from '../task/task-hooks.ts'
import { plainLines } from '../util/text.ts'

/** It was not the fault of what was asked: the same may succeed later. */
const RUN_AGAIN: ReadonlySet<string> = new Set(['waited_too_long', 'store_unavailable', 'store_busy'])

export interface DescribedError {
  readonly message: string
  /** The message as it is printed. */
  readonly text: string
  /** 2 for wrong usage, 3 when running again may help, else 1. */
  readonly exitCode: 1 | 2 | 3
}

/** What to say of an error: safe for a terminal, for messages quote keys, replies and file contents. */
export function describeError(error: unknown): DescribedError {
  const message = plainLines(textOf(error))
  return { message, text: `error: ${message}`, exitCode: exitCodeOf(error) }
}

function textOf(error: unknown): string {
  const stack = hookStack(error)
  if (NightshiftError.is(error)) return stack === undefined ? error.message : `${error.message}\n${stack}`
  return error instanceof Error ? (error.stack ?? error.message) : String(error)
}

function exitCodeOf(error: unknown): 1 | 2 | 3 {
  if (error instanceof UsageError) return 2
  return NightshiftError.is(error) && error.retryable && RUN_AGAIN.has(error.code) ? 3 : 1
}
