import { setTimeout as sleep } from 'node:timers/promises'
import { type GatewayProcess, startGateway } from '../../support/gateway-process.ts'
import type { Ended } from '../../support/program.ts'

/** While the database is away a gateway ends before it serves. */
const MOST_STARTS = 200
const BETWEEN_STARTS_MS = 200

/**
 * One gateway among those that are killed, on a port of its own, again and again:
 *
 *     down -> starting -> up -> doomed -> down
 */
export class Replica {
  readonly url: string
  readonly #env: Readonly<Record<string, string>>
  #life: GatewayProcess | undefined
  #starting: Promise<void> | undefined
  /** Its process is to end. */
  #isDoomed = false
  /** No other process is to follow. */
  #isOver = false
  /** When it was killed, in milliseconds since 1970. */
  readonly kills: number[] = []
  /** What its processes logged, oldest first. */
  readonly logs: string[] = []
  /** Ends that nobody asked for. */
  readonly crashes: string[] = []

  constructor(port: number, env: Readonly<Record<string, string>>) {
    this.#env = { ...env, NIGHTSHIFT_PORT: `${port}` }
    this.url = `http://127.0.0.1:${port}`
  }

  get pid(): number | undefined {
    return this.#life?.pid
  }

  /** It serves, and nobody is about to kill it. */
  get isUp(): boolean {
    return this.#life !== undefined && !this.#isDoomed
  }

  /** Resolves when it serves; safe to be called twice. */
  start(): Promise<void> {
    this.#starting ??= this.#start().finally(() => {
      this.#starting = undefined
    })
    return this.#starting
  }

  /** Kills it, once `patience` has ended: until then somebody else may. Resolves when it is gone. */
  async kill(patience: Promise<unknown> = Promise.resolve()): Promise<void> {
    const life = this.#doomed()
    if (!life) return
    await Promise.race([patience, life.ended])
    life.kill('SIGKILL')
    await life.ended
    this.kills.push(Date.now())
  }

  /** Stops it in order. */
  async stop(): Promise<void> {
    const life = this.#doomed()
    life?.kill('SIGTERM')
    const ended = await life?.ended
    if (ended && ended.code !== 0) this.crashes.push(describe(ended))
  }

  /** Nothing is left of it. */
  async end(): Promise<void> {
    this.#isOver = true
    await this.#starting?.catch(() => undefined)
    const life = this.#doomed()
    life?.kill('SIGKILL')
    await life?.ended
  }

  #doomed(): GatewayProcess | undefined {
    this.#isDoomed = true
    return this.#life
  }

  async #start(): Promise<void> {
    for (let starts = 1; !this.#life && !this.#isOver; starts++) {
      try {
        this.#live(await startGateway([], this.#env))
      } catch (error) {
        if (starts === MOST_STARTS) throw error
        await sleep(BETWEEN_STARTS_MS)
      }
    }
  }

  #live(life: GatewayProcess): void {
    this.#isDoomed = false
    this.#life = life
    void life.ended.then((ended) => {
      this.#life = undefined
      this.logs.push(ended.stderr)
      if (this.#isDoomed) return
      this.crashes.push(describe(ended))
      this.start().catch((error: unknown) => this.crashes.push(String(error)))
    })
  }
}

const describe = ({ code, signal, stderr }: Ended): string =>
  `${signal ?? `exit code ${code}`}: ${stderr.slice(-1000)}`
