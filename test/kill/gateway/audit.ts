import type { StoreSettings } from '../../../src/gateway/store/open-store.ts'
import { type Query, readBooks, unsoundBooks } from '../../support/gateway-books.ts'
import type { End } from './callers.ts'
import type { Call, Report } from './messages.ts'
import { serialIn } from './workload.ts'

/** What it is judged by whether gateways that were killed lost anything, or did anything twice. */
export interface Figures {
  readonly calls: number
  readonly answered: number
  readonly refused: number
  readonly unanswered: number
  readonly wrongAnswers: number
  readonly batches: number
  readonly lines: number
  readonly batchesFailed: number
  readonly tagsTwice: number
  readonly neverSent: number
  readonly inTwoBatches: number
  readonly batchedAgain: number
  readonly batchedAndCalled: number
  readonly calledBack: number
  readonly directCalls: number
  readonly flexCalls: number
  readonly calledAgain: number
  readonly calledAgainBound: number
  readonly calledAgainOddly: number
  readonly remoteFilesLeft: number
  readonly stored: number
  readonly storedTwice: number
  readonly notDone: number
  readonly openBatches: number
  readonly litterLeft: number
  readonly setAside: number
  readonly purseOff: number
  readonly unsound: number
  readonly crashes: number
}

export interface AuditInput {
  readonly store: StoreSettings
  readonly server: Report
  /** Of the calls that were made. */
  readonly serials: readonly number[]
  /** By serial number; those that are not there got none. */
  readonly ends: ReadonlyMap<number, End>
  /** When gateways were killed, by number, in milliseconds since 1970. */
  readonly kills: readonly (readonly number[])[]
  /** Flex and direct calls that one gateway makes at once. */
  readonly concurrency: number
  readonly crashes: readonly string[]
}

export interface Audit {
  readonly figures: Figures
  /** What must not be, in words. */
  readonly violations: readonly string[]
}

/** Compares what callers got, what the server was asked for, and what is on record. */
export async function auditGateways(input: AuditInput): Promise<Audit> {
  const complaints = new Complaints()
  const figures: Figures = {
    ...judgeEnds(input, complaints),
    ...judgeSent(input, complaints),
    ...judgeCalls(input, complaints),
    ...(await judgeBooks(input, complaints)),
    remoteFilesLeft: complaints.each('left at the server', input.server.files),
    crashes: complaints.each('a gateway ended by itself', input.crashes),
  }
  return { figures, violations: complaints.all }
}

const SHOWN = 8

/** Collects what is wrong. */
class Complaints {
  readonly all: string[] = []

  /** Returns how many there are. */
  each(what: string, names: Iterable<string | number>): number {
    const all = [...names]
    const more = all.length > SHOWN ? `, and ${all.length - SHOWN} more` : ''
    if (all.length > 0) this.all.push(`${what}: ${all.slice(0, SHOWN).join(', ')}${more}`)
    return all.length
  }
}

function judgeEnds({ ends, serials }: AuditInput, complaints: Complaints) {
  const wrong = [...ends].filter(([, end]) => end.startsWith('wrong'))
  const missing = serials.filter((serial) => !ends.has(serial))
  return {
    calls: serials.length,
    answered: [...ends.values()].filter((end) => end === 'answered').length,
    refused: [...ends.values()].filter((end) => end === 'refused').length,
    unanswered: complaints.each('never answered', missing),
    wrongAnswers: complaints.each(
      'answered wrongly',
      wrong.map(([serial, end]) => `#${serial} ${end}`),
    ),
  }
}

/** How each body went: in which batches, and by which calls. */
interface Journey {
  readonly serial: number
  readonly statuses: readonly string[]
  readonly calls: readonly Call[]
}

/** A batch that ended otherwise gave back what it had not answered. */
const COMPLETED = 'completed'

function judgeSent({ server, serials }: AuditInput, complaints: Complaints) {
  const journeys = journeysOf(server, serials)
  const again = journeys.filter(({ statuses }) => statuses.length > 1)
  const [twice, resent] = split(again, ({ statuses }) => statuses.slice(0, -1).includes(COMPLETED))
  const both = journeys.filter(({ statuses, calls }) => statuses.length > 0 && calls.length > 0)
  const [called, calledBack] = split(both, ({ statuses }) => statuses.includes(COMPLETED))
  const failed = server.batches.filter(({ status }) => status !== COMPLETED)
  const show = (some: readonly Journey[]) =>
    some.map(({ serial, statuses }) => `#${serial} (${statuses.join(', ')})`)
  const never = journeys.filter(({ statuses, calls }) => statuses.length + calls.length === 0)
  return {
    batches: server.batches.length,
    lines: server.batches.reduce((sum, batch) => sum + batch.serials.length, 0),
    batchesFailed: failed.length,
    tagsTwice: complaints.each('batches of one tag', repeated(server.batches.map(({ tag }) => tag))),
    neverSent: complaints.each('never sent', show(never)),
    inTwoBatches: complaints.each('in two batches', show(twice)),
    batchedAgain: resent.length,
    batchedAndCalled: complaints.each('batched, and called too', show(called)),
    calledBack: calledBack.length,
  }
}

function journeysOf({ batches, calls }: Report, serials: readonly number[]): Journey[] {
  const statuses = Map.groupBy(
    batches.flatMap(({ status, serials: all }) => all.map((serial) => ({ serial, status }))),
    ({ serial }) => serial,
  )
  const direct = Map.groupBy(calls, ({ serial }) => serial)
  return serials.map((serial) => ({
    serial,
    statuses: statuses.get(serial)?.map(({ status }) => status) ?? [],
    calls: direct.get(serial) ?? [],
  }))
}

/**
 * A call is made again when its gateway was killed before its answer was on record: each kill cuts no more calls than one
 * gateway makes at once.
 */
function judgeCalls({ server, kills, concurrency }: AuditInput, complaints: Complaints) {
  const again = [...Map.groupBy(server.calls, ({ serial }) => serial)].flatMap(([, calls]) =>
    calls.slice(1).map((next, index) => ({ call: calls[index] ?? next, next })),
  )
  const cuts = again.map(({ call, next }) => {
    const at = kills[call.door]?.find((kill) => call.from <= kill && kill <= next.from)
    return { serial: call.serial, by: at === undefined ? undefined : `${call.door} ${at}` }
  })
  const odd = cuts.filter(({ by }) => by === undefined)
  const most = Math.max(
    0,
    ...[...Map.groupBy(cuts, ({ by }) => by)].map(([by, some]) => (by ? some.length : 0)),
  )
  if (most > concurrency) complaints.each('calls cut by one kill', [most])
  return {
    directCalls: server.calls.filter(({ isFlex }) => !isFlex).length,
    flexCalls: server.calls.filter(({ isFlex }) => isFlex).length,
    calledAgain: again.length,
    calledAgainBound: concurrency * kills.flat().length,
    calledAgainOddly: complaints.each(
      'called again though no kill cut it',
      odd.map(({ serial }) => `#${serial}`),
    ),
  }
}

async function judgeBooks({ store, serials }: AuditInput, complaints: Complaints) {
  const unsound = complaints.each('in the books', await unsoundBooks(store))
  const books = await readBooks(store, readAll)
  const stored = Map.groupBy(books.answers, (text) => serialIn(text) ?? 0)
  const twice = [...stored].filter(([, texts]) => texts.length > 1)
  if (stored.size !== serials.length)
    complaints.each('requests on record', [`${stored.size} of ${serials.length}`])
  return {
    stored: books.requests,
    storedTwice: complaints.each(
      'on record twice',
      twice.map(([serial]) => `#${serial}`),
    ),
    notDone: complaints.each('not done', books.notDone),
    openBatches: complaints.each('batches that are open', books.openBatches),
    litterLeft: complaints.each('files to be deleted', books.litter),
    setAside: complaints.each('something is set aside', books.setAside),
    purseOff: complaints.each('spent something else than its requests cost', books.purseOff),
    unsound,
  }
}

async function readAll(query: Query) {
  const column = async (sql: string): Promise<string[]> =>
    (await query(sql)).map((row) => String(Object.values(Object(row))[0]))
  return {
    requests: Number((await column('select count(*) from requests'))[0]),
    answers: await column('select body from answers'),
    notDone: await column("select id from requests where state <> 'done'"),
    openBatches: await column("select number from batches where phase <> 'done'"),
    litter: await column('select file_id from litter'),
    setAside: await column('select name from tenants where reserved_nano <> 0'),
    purseOff: await column(`select name from tenants where spent_nano <>
      (select coalesce(sum(cost_nano), 0) from requests where requests.tenant = tenants.name)`),
  }
}

function split<Item>(items: readonly Item[], isFirst: (item: Item) => boolean): [Item[], Item[]] {
  return [items.filter(isFirst), items.filter((item) => !isFirst(item))]
}

function repeated(names: readonly string[]): string[] {
  const seen = new Set<string>()
  return names.filter((name) => seen.size === seen.add(name).size)
}
