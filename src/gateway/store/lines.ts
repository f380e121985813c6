import type { Database } from './database.ts'

export interface BatchLine {
  readonly id: string
  readonly bodyText: string
}

const PAGE_LINES = 500
/** Of what is held at once; a single line may be larger. */
const PAGE_BYTES = 4_000_000

/** Lines of a batch whose requests still wait for it, in the order they came in. Holds one page of bodies at a time. */
export async function* lines(database: Database, batch: number): AsyncGenerator<BatchLine> {
  let after = 0
  while (true) {
    const seqs = await nextPage(database, batch, after)
    const last = seqs.at(-1)
    if (last === undefined) return
    yield* await linesBetween(database, batch, { after, last })
    after = last
  }
}

async function nextPage(database: Database, batch: number, after: number): Promise<readonly number[]> {
  const rows = await database.read((db) =>
    db
      .selectFrom('requests')
      .where('batch', '=', batch)
      .where('state', '=', 'batched')
      .where('seq', '>', after)
      .select(['seq', 'line_bytes'])
      .orderBy('seq')
      .limit(PAGE_LINES)
      .execute(),
  )
  let bytes = 0
  const end = rows.findIndex(({ line_bytes }, index) => {
    bytes += line_bytes
    return index > 0 && bytes > PAGE_BYTES
  })
  return rows.slice(0, end === -1 ? undefined : end).map(({ seq }) => seq)
}

interface Between {
  readonly after: number
  readonly last: number
}

const linesBetween = (database: Database, batch: number, { after, last }: Between): Promise<BatchLine[]> =>
  database.read((db) =>
    db
      .selectFrom('requests')
      .innerJoin('bodies', 'bodies.seq', 'requests.seq')
      .where('batch', '=', batch)
      .where('state', '=', 'batched')
      .where('requests.seq', '>', after)
      .where('requests.seq', '<=', last)
      .select(['requests.id', 'bodies.body as bodyText'])
      .orderBy('requests.seq')
      .execute(),
  )

export const waitingFor = (database: Database, batch: number): Promise<readonly string[]> =>
  database.read(async (db) => {
    const rows = await db
      .selectFrom('requests')
      .where('batch', '=', batch)
      .where('state', '=', 'batched')
      .select('id')
      .orderBy('seq')
      .execute()
    return rows.map(({ id }) => id)
  })
