import type { Client } from 'pg'
import type { Clock } from '../../util/clock.ts'
import type { LifeLock } from './life-locks.ts'

const FIRST_PAUSE_MS = 200
const LONGEST_PAUSE_MS = 10_000

export interface EarSettings {
  /** A connection that is not open yet. */
  readonly connection: () => Client
  readonly channel: string
  /** Others can tell by its lock that this process lives: PostgreSQL frees it as soon as the connection is gone. */
  readonly lifeLock: LifeLock
  readonly heard: (payload: string) => void
  readonly clock: Clock
}

/** Listens to a channel of PostgreSQL on a connection of its own, and connects anew when that is lost. */
export class PostgresEar {
  readonly #settings: EarSettings
  readonly #stopped = new AbortController()
  #listening: Promise<void> | undefined
  #isOpen = false
  readonly #tried = Promise.withResolvers<void>()

  constructor(settings: EarSettings) {
    this.#settings = settings
  }

  /** May be called again. */
  start(): void {
    this.#listening ??= this.#listen()
  }

  /** Whether it listens, and has its lock: as soon as that was tried for the first time. */
  async isOpen(): Promise<boolean> {
    this.start()
    await this.#tried.promise
    return this.#isOpen
  }

  async stop(): Promise<void> {
    this.#stopped.abort()
    await this.#listening
  }

  async #listen(): Promise<void> {
    const { signal } = this.#stopped
    let pauseMs = FIRST_PAUSE_MS
    while (!signal.aborted) {
      const wasHeard = await this.#listenOnce()
      if (signal.aborted) return
      pauseMs = wasHeard ? FIRST_PAUSE_MS : Math.min(2 * pauseMs, LONGEST_PAUSE_MS)
      await this.#settings.clock.sleep(pauseMs, signal, { background: true })
    }
  }

  /** Resolves when the connection is lost: false when there was none. Whoever writes is told what is wrong with the database. */
  async #listenOnce(): Promise<boolean> {
    const { connection, channel, lifeLock, heard } = this.#settings
    const client = connection()
    const over = Promise.withResolvers<void>()
    const end = () => over.resolve()
    this.#stopped.signal.addEventListener('abort', end, { once: true })
    client.on('error', end)
    client.on('end', end)
    client.on('notification', ({ payload = '' }) => heard(payload))
    try {
      await client.connect()
      await client.query('select pg_advisory_lock_shared($1, $2)', [...lifeLock])
      await client.query(`listen ${client.escapeIdentifier(channel)}`)
      this.#isOpen = true
      this.#tried.resolve()
    } catch {
      end()
      return false
    } finally {
      await over.promise
      this.#isOpen = false
      this.#tried.resolve()
      this.#stopped.signal.removeEventListener('abort', end)
      await client.end().catch(() => undefined)
    }
    return true
  }
}
