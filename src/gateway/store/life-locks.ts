import { createHash } from 'node:crypto'
import { sql } from 'kysely'
import type { Db, Life, Voice } from './database.ts'

/** The two numbers of an advisory lock of PostgreSQL. */
export type LifeLock = readonly [kind: number, voice: number]

/** "NSLF": what tells these locks from those of other programs on the same database. */
const KIND = 0x4e_53_4c_46

export const lifeLockOf = (voice: string): LifeLock => [
  KIND,
  createHash('sha256').update(voice).digest().readInt32BE(0),
]

/** So long after the server was started whoever lives has said so again: it tries every few seconds. */
const RETURN_MS = 10_000

/**
 * What is known of these. Each process holds a lock for as long as it is connected, so that one that is killed is known to
 * be gone at once, long before its lease ends: the retries of its callers go with what they had begun.
 * Silence means nothing at first of those that were not heard since the server was started, or started again by itself
 * after one of its processes had crashed: its statistics begin anew then, and that is when all connections were lost.
 * https://www.postgresql.org/docs/current/explicit-locking.html#ADVISORY-LOCKS
 */
export async function livesOf(db: Db, voices: readonly Voice[]): Promise<readonly Life[]> {
  if (voices.length === 0) return []
  const { rows } = await sql<{ started_at: string; now: string; heard: string[] }>`
    select extract(epoch from greatest(pg_postmaster_start_time(), begun.stats_reset)) * 1000 as started_at,
      extract(epoch from clock_timestamp()) * 1000 as now,
      array(
        select objid::text from pg_locks
        where locktype = 'advisory' and granted and objsubid = 2 and classid = ${KIND}
          and database = (select oid from pg_database where datname = current_database())
      ) as heard
    from pg_stat_bgwriter as begun`.execute(db)
  const [found] = rows
  const startedAt = Number(found?.started_at)
  const isStarting = Number(found?.now) < startedAt + RETURN_MS
  const heard = new Set(found?.heard)
  return voices.map(({ voice, at }) => {
    if (at <= startedAt && isStarting) return 'unsure'
    return voice === undefined || heard.has(shown(voice)) ? 'live' : 'gone'
  })
}

/** Numbers of locks are shown without their signs. */
const shown = (voice: string): string => String(lifeLockOf(voice)[1] >>> 0)
