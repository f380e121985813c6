import { sql } from 'kysely'
import type { Db } from './database.ts'

/** What a transaction writes beside its work; see CommitMarks. */
export interface CommitMark {
  readonly slot: number
  readonly token: string
}

/**
 * Marks by which a process knows whether a commit was made that went unanswered. PostgreSQL's own word on the number of
 * a transaction will not do: after a crash such a number may be given to another one.
 *
 * Each transaction puts a token of its own into a row that no other one writes to meanwhile. Where the connection broke
 * under it the row is left alone: the server may still hold it locked.
 */
export class CommitMarks {
  readonly #voice: string
  /** Rows that may be written to again. */
  readonly #free: number[] = []
  #slots = 0
  #tokens = 0

  /** `voice`: unique to this process. */
  constructor(voice: string) {
    this.#voice = voice
  }

  begin(): CommitMark {
    return { slot: this.#free.pop() ?? this.#slots++, token: `${this.#tokens++}` }
  }

  /** The transaction is over, and the server knows. */
  end({ slot }: CommitMark): void {
    this.#free.push(slot)
  }

  /** Writes a mark, and gives the server's time in milliseconds since 1970. */
  async write(db: Db, { slot, token }: CommitMark): Promise<number> {
    const at = sql<number>`(extract(epoch from clock_timestamp()) * 1000)::bigint`
    const row = await db
      .insertInto('commit_marks')
      .values({ voice: this.#voice, slot, token, at })
      .onConflict((of) => of.columns(['voice', 'slot']).doUpdateSet({ token, at }))
      .returning('at')
      .executeTakeFirstOrThrow()
    return row.at
  }

  /** Whether the transaction of a mark was committed. Waits while the server is still at it. */
  isCommitted(db: Db, { slot, token }: CommitMark): Promise<boolean> {
    return db.transaction().execute(async (db) => {
      // Whoever writes the same row waits for whoever writes it, be it for the first time.
      const nothing = { voice: this.#voice, slot, token: '', at: 0 }
      await db
        .insertInto('commit_marks')
        .values(nothing)
        .onConflict((of) => of.doNothing())
        .execute()
      const row = await db
        .selectFrom('commit_marks')
        .select('token')
        .where('voice', '=', this.#voice)
        .where('slot', '=', slot)
        .forUpdate()
        .executeTakeFirstOrThrow()
      return row.token === token
    })
  }
}

/** No process waits for an answer for so long. */
const OLD_MS = 7 * 24 * 3_600_000

/** Takes away what processes have left behind that are gone for long. */
export async function forgetOldMarks(db: Db): Promise<void> {
  const old = sql<number>`(extract(epoch from statement_timestamp()) * 1000)::bigint - ${OLD_MS}`
  await db.deleteFrom('commit_marks').where('at', '<', old).execute()
}
