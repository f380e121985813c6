import { errorText, LockError, type NightshiftError, StateError, UsageError } from '../errors.ts'

export const overlapping = (path: string): UsageError =>
  new UsageError('commit_overlapping', `a commit to ${path} is under way: wait for it before the next one.`)

export function ledgerChanged(path: string, expected: number, size: number | undefined): LockError {
  const found = size === undefined ? 'is missing' : `has ${size} bytes`
  const message =
    `${path} ${found} where this process left ${expected}: somebody else wrote to it. Nothing more is written. ` +
    'Make sure that only one process runs the task, then run it again.'
  return new LockError('ledger_changed', message)
}

export function fileChanged(path: string, expected: number, size: number | undefined): StateError {
  const found = size === undefined ? 'is missing' : `has ${size} bytes`
  const message =
    `${path} ${found} where ${expected} are committed: it was changed while the task ran. The commit was undone. ` +
    'Restore the file and run again.'
  return new StateError('file_changed', message)
}

export const fileMissing = (path: string): StateError =>
  new StateError('file_missing', `${path} was to be recorded but is missing. The commit was dropped.`)

export function cutBackFailed(cause: NightshiftError, error: unknown): StateError {
  const message =
    `${cause.message} Undoing it failed too (${errorText(error)}), so nothing more ` +
    'is written. Run again: a new start cuts every file to its last commit.'
  return new StateError('cut_back_failed', message, { cause: error })
}

export const unwritable = (error: unknown): UsageError =>
  new UsageError(
    'group_invalid',
    `the steps of a commit are no JSON (${errorText(error)}). Nothing was written.`,
    {
      cause: error,
    },
  )
