import { isAbortedTransactionError } from 'kysely'
import { errorText, NightshiftError } from '../../errors.ts'
import { StoreError } from './store-error.ts'

/** PostgreSQL's code of an error (https://www.postgresql.org/docs/current/errcodes-appendix.html), if it is one of its. */
export function sqlState(error: unknown): string | undefined {
  if (!(error instanceof Error && 'code' in error) || typeof error.code !== 'string') return undefined
  return /^[0-9A-Z]{5}$/.test(error.code) && 'severity' in error ? error.code : undefined
}

/** Two transactions were in each other's way, or one made what the other was about to: who runs again sees that. */
const COLLISIONS = new Set(['40001', '40P01', '23505'])
export const isCollision = (error: unknown): boolean => COLLISIONS.has(sqlState(error) ?? '')

/** The database goes down, or is not up yet, or has no connection to spare. */
const AWAY = /^(08...|57P0[1-3]|53300|57P05|25P03)$/

/** The connection broke, or there was none: whatever was on its way may have arrived. */
export function isConnectionLoss(error: unknown): boolean {
  if (NightshiftError.is(error) || isAbortedTransactionError(error)) return false
  const state = sqlState(error)
  if (state !== undefined) return AWAY.test(state)
  return error instanceof Error && (hasNetworkCode(error) || DRIVER_WORDS.test(error.message))
}

const NETWORK = /^(ECONN|EPIPE|ETIMEDOUT|EHOST|ENET|ENOTFOUND|EAI_|EADDR)/
/** Whatever keeps it from connecting; the socket of a server on this machine is a file, which is gone with the server. */
const hasNetworkCode = (error: Error): boolean =>
  ('code' in error && typeof error.code === 'string' && NETWORK.test(error.code)) ||
  ('syscall' in error && error.syscall === 'connect')

/** What `pg` says of a connection without giving it a code. */
const DRIVER_WORDS =
  /^Connection terminated|timeout exceeded when trying to connect|timeout expired|Query read timeout|not queryable|connection has been discarded/i

/** What `pg` and TLS say when the two sides do not agree how to speak, or who is there. */
const SETUP_WORDS = /\b(SSL|TLS|SASL|SCRAM|certificate|password must be)/i

/** Busy: transactions in each other's way, a lock or a statement that took longer than it may. Full: no room on its disk. */
const BUSY = new Set(['40001', '40P01', '55P03', '57014'])
const FULL = new Set(['53100', '53200'])

/** What a failure means. Errors of anything but the database are left as they are. `place`: where it is, without a password. */
export function storeErrorOf(place: string, error: unknown): unknown {
  if (NightshiftError.is(error)) return error
  const [state, why] = [sqlState(error), errorText(error)]
  const options = { cause: error, retryable: true }
  if (isConnectionLoss(error))
    return new StoreError('store_unavailable', `PostgreSQL at ${place} cannot be reached (${why})`, options)
  if (BUSY.has(state ?? ''))
    return new StoreError('store_busy', `PostgreSQL at ${place} is too busy (${why})`, options)
  if (FULL.has(state ?? ''))
    return new StoreError('store_full', `PostgreSQL at ${place} has no room (${why}): make some`, options)
  if (state === undefined && error instanceof Error && SETUP_WORDS.test(error.message))
    return new StoreError(
      'store_unavailable',
      `PostgreSQL at ${place} cannot be used as its URL says (${why})`,
      { cause: error },
    )
  if (state === undefined) return error
  const message = `PostgreSQL at ${place} refused what the gateway asked for (${state}: ${why})`
  return new StoreError('store_failed', message, { cause: error })
}
