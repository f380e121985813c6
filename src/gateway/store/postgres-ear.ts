import type { Client } from 'pg'
import type { Clock } from '../../util/clock.ts'

const FIRST_PAUSE_MS = 200
const LONGEST_PAUSE_MS = 10_000

export interface EarSettings {
  /** A connection that is not open yet. */
  readonly connection: () => Client
  readonly channel: string
  readonly heard: (payload: string) => void
  readonly clock: Clock
}

/** Listens to a channel of PostgreSQL on a connection of its own, and connects anew when that is lost. */
export class PostgresEar {
  readonly #settings: EarSettings
  readonly #stopped = new AbortController()
  #listening: Promise<void> | undefined

  constructor(settings: EarSettings) {
    this.#settings = settings
  }

  /** May be called again. */
  start(): void {
    this.#listening ??= this.#listen()
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
    const { connection, channel, heard } = this.#settings
    const client = connection()
    const over = Promise.withResolvers<void>()
    const end = () => over.resolve()
    this.#stopped.signal.addEventListener('abort', end, { once: true })
    client.on('error', end)
    client.on('end', end)
    client.on('notification', ({ payload = '' }) => heard(payload))
    try {
      await client.connect()
      await client.query(`listen ${client.escapeIdentifier(channel)}`)
    } catch {
      end()
      return false
    } finally {
      await over.promise
      this.#stopped.signal.removeEventListener('abort', end)
      await client.end().catch(() => undefined)
    }
    return true
  }
}
