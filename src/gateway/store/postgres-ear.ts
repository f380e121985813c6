import type { Client } from 'pg'
import type { Clock } from '../../util/clock.ts'
import type { LifeLock } from './life-locks.ts'

const FIRST_PAUSE_MS = 200
/** Others wait for it: what it holds is not known to be held until it is back (RETURN_MS in life-locks.ts). */
const LONGEST_PAUSE_MS = 2000
/** A connection that says nothing for so long is lost, whatever the system thinks of it. */
const ANSWER_MS = 5000
const GOODBYE_MS = 1000

export interface EarSettings {
  /** A connection that is not open yet. */
  readonly connection: () => Client
  readonly channel: string
  /** Others can tell by its lock that this process lives: PostgreSQL frees it as soon as the connection is gone. */
  readonly lifeLock: LifeLock
  readonly heard: (payload: string) => void
  /** The connection is gone, and the lock with it. */
  readonly lost: () => void
  /** It listens again. */
  readonly back: () => void
  readonly clock: Clock
}

/** Listens to a channel of PostgreSQL on a connection of its own, and connects anew when that is lost. */
export class PostgresEar {
  readonly #settings: EarSettings
  readonly #stopped = new AbortController()
  #listening: Promise<void> | undefined
  /** The connection, while it listens. */
  #open: Client | undefined
  #wasOpen = false
  /** Ends when the next try to connect has. */
  #tried = Promise.withResolvers<void>()
  #pause = new AbortController()

  constructor(settings: EarSettings) {
    this.#settings = settings
  }

  /** May be called again. */
  start(): void {
    this.#listening ??= this.#listen()
  }

  /**
   * Whether it listens, and has its lock; when it does not, that is tried at once. The server is asked: what lies
   * between may have dropped a silent connection without a word, and the server its lock. A connection that does not
   * answer is given up.
   */
  async isOpen(): Promise<boolean> {
    if (this.#stopped.signal.aborted) return false
    this.start()
    this.#pause.abort()
    await this.#tried.promise
    const client = this.#open
    return client !== undefined && (await this.#answers(client))
  }

  async #answers(client: Client): Promise<boolean> {
    const over = new AbortController()
    const { signal } = over
    const asked = client.query('select').then(
      () => true,
      () => false,
    )
    const tooLate = this.#settings.clock.sleep(ANSWER_MS, signal, { background: true }).then(() => false)
    const answers = await Promise.race([asked, tooLate])
    over.abort()
    if (!answers) client.connection.stream.destroy()
    return answers && client === this.#open
  }

  async stop(): Promise<void> {
    this.#stopped.abort()
    this.#pause.abort()
    this.#tried.resolve()
    await this.#listening
  }

  async #listen(): Promise<void> {
    const { clock, lost } = this.#settings
    const { signal } = this.#stopped
    let pauseMs = FIRST_PAUSE_MS
    while (!signal.aborted) {
      const wasHeard = await this.#listenOnce()
      if (signal.aborted) return
      if (wasHeard) lost()
      pauseMs = wasHeard ? FIRST_PAUSE_MS : Math.min(2 * pauseMs, LONGEST_PAUSE_MS)
      this.#pause = new AbortController()
      await clock.sleep(pauseMs, this.#pause.signal, { background: true })
    }
  }

  /** Resolves when the connection is lost: false when there was none. Whoever writes is told what is wrong with the database. */
  async #listenOnce(): Promise<boolean> {
    const client = this.#settings.connection()
    const over = Promise.withResolvers<void>()
    const end = () => over.resolve()
    this.#stopped.signal.addEventListener('abort', end, { once: true })
    client.on('error', end)
    client.on('end', end)
    client.on('notification', ({ payload = '' }) => this.#settings.heard(payload))
    try {
      await this.#connect(client)
      this.#open = client
      this.#tried.resolve()
      if (this.#wasOpen) this.#settings.back()
      this.#wasOpen = true
    } catch {
      end()
      return false
    } finally {
      await over.promise
      this.#open = undefined
      this.#tried.resolve()
      this.#tried = Promise.withResolvers()
      this.#stopped.signal.removeEventListener('abort', end)
      await this.#leave(client)
    }
    return true
  }

  async #connect(client: Client): Promise<void> {
    const { channel, lifeLock } = this.#settings
    await client.connect()
    // It says nothing for hours, which its owner may have forbidden. PostgreSQL 13 knows no such limit.
    await client.query(
      "select set_config(name, '0', false) from pg_settings where name = 'idle_session_timeout'",
    )
    await client.query('select pg_advisory_lock_shared($1, $2)', [...lifeLock])
    await client.query(`listen ${client.escapeIdentifier(channel)}`)
  }

  /** Whoever does not hear the goodbye is not waited for. */
  async #leave(client: Client): Promise<void> {
    const gone = client.end().catch(() => undefined)
    await Promise.race([gone, this.#settings.clock.sleep(GOODBYE_MS, undefined, { background: true })])
    client.connection.stream.destroy()
  }
}
