import type { Figures } from './audit.ts'
import type { Campaign } from './campaign.ts'
import { phasesOf } from './disk-points.ts'
import { kindOf, placeOf } from './orders.ts'

/** A line of the table. `most`: what it may be at most. */
export interface Row {
  readonly what: string
  readonly value: number
  readonly most?: number
}

const ROWS: readonly (readonly [keyof Figures, string, 'must be 0'?])[] = [
  ['keysExpected', 'keys expected in the outputs'],
  ['keysInOutput', 'keys in the outputs'],
  ['keysTwice', 'keys twice', 'must be 0'],
  ['keysMissing', 'keys missing', 'must be 0'],
  ['keysWrong', 'keys with another output, or that should have none', 'must be 0'],
  ['failedExpected', 'requests expected to fail for good'],
  ['failedWrong', 'failed requests missing, twice, or that should not be', 'must be 0'],
  ['batchesCreated', 'batches created'],
  ['batchesTwice', 'batches created twice (tag, queue file or input)', 'must be 0'],
  ['batchesNotCompleted', 'batches not completed', 'must be 0'],
  ['strays', 'stray batches', 'must be 0'],
  ['linesAnswered', 'answers in batches'],
  ['paidAndUnused', 'answers in batches paid and unused', 'must be 0'],
  ['directAnswers', 'answers to direct calls'],
  ['sentAgain', 'direct calls sent again, each in a ledger'],
  ['sentAgainSilently', 'direct calls sent again without a word', 'must be 0'],
  ['judgedUnanswered', 'requests judged with too few answers', 'must be 0'],
  ['localFilesLeft', 'files left in the task folders', 'must be 0'],
  ['remoteFilesLeft', 'files left at the servers', 'must be 0'],
]

/** What a campaign did and found, as text for people. */
export function renderCampaign({ jobs, unreached }: Campaign): string {
  const sum = (figure: keyof Figures): number =>
    jobs.reduce((total, { figures }) => total + figures[figure], 0)
  const found: Row[] = ROWS.map(([figure, what, zero]) => ({
    what,
    value: sum(figure),
    ...(zero && { most: 0 }),
    ...(figure === 'sentAgain' && { most: sum('sentAgainBound') }),
  }))
  return [
    renderRows([...killRows(jobs), ...placeRows(jobs)]),
    '',
    renderRows(found),
    ...placesLeftOut(jobs).map((place) => `not killed at: ${place}`),
    ...unreached.map((order) => `never came about: ${placeOf(order) ?? kindOf(order)}`),
    ...jobs.flatMap(({ folder, violations }) => violations.map((what) => `VIOLATION in ${folder}: ${what}`)),
    '',
  ].join('\n')
}

function killRows(jobs: Campaign['jobs']): Row[] {
  const kills = jobs.flatMap((job) => job.kills)
  const kinds = [...Map.groupBy(kills, kindOf)].sort(([a], [b]) => a.localeCompare(b))
  return [
    { what: 'jobs', value: jobs.length },
    { what: 'kills', value: kills.length },
    ...kinds.map(([kind, ofKind]) => ({ what: `  ${kind}`, value: ofKind.length })),
    {
      what: 'restarts that found a lock without a name',
      value: jobs.reduce((sum, { leases }) => sum + leases, 0),
    },
  ]
}

const placesLeftOut = (jobs: Campaign['jobs']): string[] => {
  const { places, killedAt } = coverage(jobs)
  return [...places].filter((place) => !killedAt.has(place))
}

/** Every operation on the disk that any process did, and in which phases one was killed. */
function placeRows(jobs: Campaign['jobs']): Row[] {
  const { places, killedAt } = coverage(jobs)
  return [
    { what: 'places at the disk (operation and phase)', value: places.size },
    { what: '  killed at', value: [...places].filter((place) => killedAt.has(place)).length },
    {
      what: 'places at the server killed at',
      value: [...killedAt].filter((place) => !places.has(place)).length,
    },
  ]
}

/** Places at the disk that there are, and all that a process was killed at. */
function coverage(jobs: Campaign['jobs']) {
  const points = new Set(jobs.flatMap(({ operations }) => operations))
  const places = new Set([...points].flatMap((point) => phasesOf(point).map((phase) => `${phase} ${point}`)))
  const killedAt = new Set(jobs.flatMap(({ kills }) => kills.flatMap((order) => placeOf(order) ?? [])))
  return { places, killedAt }
}

export function renderRows(rows: readonly Row[]): string {
  const width = Math.max(...rows.map(({ what }) => what.length))
  return rows.map((row) => `${row.what.padEnd(width)}  ${renderValue(row)}`).join('\n')
}

function renderValue({ value, most }: Row): string {
  const text = value.toLocaleString('en').padStart(7)
  if (most === undefined) return text
  return `${text}  (${value <= most ? 'ok' : 'NOT OK'}, at most ${most.toLocaleString('en')})`
}
