import { NightshiftError } from '../../errors.ts'

/**
 * The gateway's store did not do what it was asked to. Codes:
 *
 * - `store_busy`: another process had it locked for too long. Retryable, nothing was changed.
 * - `store_unavailable`: the database cannot be reached, or ended the connection. Retryable, nothing was changed. Of
 *   SQLite: its folder or its files cannot be used. Not retryable.
 * - `store_full`: no room on the disk. Retryable, nothing was changed.
 * - `in_doubt`: the connection broke while a change was committed, and whether it was cannot be found out now. Retryable.
 * - `newer_store`: a newer release has made the store its own. `not_a_store`: the file is something else, or damaged.
 * - `unfinished_batch`: a batch that still has requests waiting for it cannot be done.
 * - `store_failed`: the database refused a statement. Not retryable.
 * - `store_closed`: this process has closed it.
 * - `old_server`: PostgreSQL is older than the gateway can use.
 * - `no_sessions`: a pooler stands before PostgreSQL that keeps no sessions.
 */
export class StoreError extends NightshiftError {
  override readonly name = 'StoreError'
}

export const closed = (place: string): StoreError =>
  new StoreError('store_closed', `the gateway's store ${place} was closed; nothing was changed`)
