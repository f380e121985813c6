import { amount } from '../../util/amount.ts'
import type { BatchRecord } from './batch-log.ts'
import type { ColorName } from './chart.ts'

/** How long a batch was at the server, in milliseconds; undefined for one that is not over. */
export function durationOf({ as, tookMs, sentAt, endedAt }: BatchRecord): number | undefined {
  if (as !== 'batch' || sentAt === undefined || endedAt === undefined) return undefined
  return tookMs ?? Math.max(0, endedAt - sentAt)
}

/** The server's word for a batch, as long as it has one; what becomes of a set of direct calls. */
export function stateText({ as, phase, status }: BatchRecord): string {
  if (phase === 'wiped') return 'wiped'
  if (as === 'direct') return phase === 'done' ? 'direct, done' : 'direct'
  return status ?? phase
}

/** The colour of that, the same in tables and charts. */
export function toneOf({ as, phase, status, endedAt }: BatchRecord): ColorName {
  if (phase === 'wiped') return 'grey'
  if (as === 'direct') return 'purple'
  if (endedAt === undefined) return 'blue'
  if (status === 'completed') return 'green'
  return status === 'failed' ? 'red' : 'amber'
}

/** `12 batches and 3 sets of direct calls`. */
export function setsText(records: readonly BatchRecord[]): string {
  const batches = records.filter(({ as }) => as === 'batch').length
  const sets = records.length - batches
  return [
    ...(batches > 0 ? [amount(batches, 'batch', 'batches')] : []),
    ...(sets > 0 ? [amount(sets, 'set of direct calls', 'sets of direct calls')] : []),
  ].join(' and ')
}
