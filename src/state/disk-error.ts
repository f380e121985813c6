import { errorText, StateError } from '../errors.ts'
import { systemCode } from '../util/system-code.ts'

const FULL = new Set(['ENOSPC', 'EDQUOT'])
const FORBIDDEN = new Set(['EACCES', 'EPERM', 'EROFS'])

/** A failed write as `disk_full` or `write_failed`; `effect` says what became of the data, ending in a full stop. */
export function writeError(path: string, cause: unknown, effect: string): StateError {
  const code = systemCode(cause) ?? ''
  const reason = errorText(cause)
  if (FULL.has(code)) {
    const message = `the disk is full: writing ${path} failed (${reason}). ${effect} Free some space and run again.`
    return new StateError('disk_full', message, { cause, retryable: true })
  }
  const advice = FORBIDDEN.has(code)
    ? 'Make the file and its folder writable and run again.'
    : 'Check the disk and run again.'
  return new StateError('write_failed', `writing ${path} failed (${reason}). ${effect} ${advice}`, { cause })
}

/** A failed fsync: nobody can tell what is on the disk until the file is read again. */
export function syncError(path: string, cause: unknown): StateError {
  const message =
    `making ${path} durable failed (${errorText(cause)}): what reached the disk is unknown, so nothing more is ` +
    'written. Check the disk, then run again: a new start reads what is really there.'
  return new StateError('fsync_failed', message, { cause })
}

/** A failed read of a file that should be readable. */
export function readError(path: string, cause: unknown): StateError {
  const message = `reading ${path} failed (${errorText(cause)}). Nothing was changed. Make it readable and run again.`
  return new StateError('read_failed', message, { cause })
}
