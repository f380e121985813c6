import { type Row, renderRows } from '../table.ts'
import type { Figures } from './audit.ts'
import type { KilledGateways } from './campaign.ts'

const ROWS: readonly (readonly [keyof Figures, string, 'must be 0'?])[] = [
  ['calls', 'calls, each with a body of its own'],
  ['answered', 'answered with their own answer'],
  ['refused', 'answered with their own error'],
  ['unanswered', 'never answered', 'must be 0'],
  ['wrongAnswers', 'answered with anything else', 'must be 0'],
  ['batches', 'batches created'],
  ['lines', 'lines in them'],
  ['tagsTwice', 'batches created twice', 'must be 0'],
  ['neverSent', 'bodies never sent', 'must be 0'],
  ['inTwoBatches', 'bodies in two batches', 'must be 0'],
  ['batchedAndCalled', 'bodies in a batch, and called too', 'must be 0'],
  ['batchesFailed', 'batches that did not complete'],
  ['batchedAgain', 'bodies batched again after such a batch'],
  ['calledBack', 'bodies called after such a batch'],
  ['directCalls', 'direct calls'],
  ['flexCalls', 'flex calls'],
  ['calledAgain', 'calls made again'],
  ['calledAgainOddly', 'calls made again though no kill cut them', 'must be 0'],
  ['remoteFilesLeft', 'files left at the server', 'must be 0'],
  ['stored', 'requests on record'],
  ['storedTwice', 'bodies on record twice', 'must be 0'],
  ['notDone', 'requests that are not done', 'must be 0'],
  ['openBatches', 'batches that are not done', 'must be 0'],
  ['litterLeft', 'remote files still to be deleted', 'must be 0'],
  ['setAside', 'tenants with money set aside', 'must be 0'],
  ['purseOff', 'tenants that spent something else than their requests cost', 'must be 0'],
  ['unsound', 'other faults in the books', 'must be 0'],
  ['crashes', 'gateways that ended by themselves, or would not stop', 'must be 0'],
]

const TITLES = { postgres: 'two gateways on PostgreSQL', sqlite: 'a gateway on SQLite' } as const

/** What was done and found, as text for people. */
export function renderKilledGateways(killed: KilledGateways): string {
  const { store, kills, aimed, databaseKills, figures, violations, seconds } = killed
  const rows: Row[] = ROWS.map(([figure, what, zero]) => ({
    what,
    value: figures[figure],
    ...(zero && { most: 0 }),
    ...(figure === 'calledAgain' && { most: figures.calledAgainBound }),
  }))
  return [
    `${TITLES[store]}, ${seconds.toFixed(0)} s`,
    renderRows([
      { what: 'kills of gateways', value: kills },
      { what: '  at a call that they were aimed at', value: aimed },
      { what: 'kills of the database', value: databaseKills },
      ...rows,
    ]),
    ...violations.map((what) => `VIOLATION: ${what}`),
    '',
  ].join('\n')
}
