import { setTimeout as sleep } from 'node:timers/promises'
import { type GatewayProcess, startGateway } from '../../support/gateway-process.ts'
import type { Ended } from '../../support/program.ts'

export interface ReplicaSettings {
  readonly port: number
  readonly args: readonly string[]
  readonly env: Readonly<Record<string, string>>
}

/** While the database is away a gateway ends before it serves. */
const MOST_STARTS = 200
const BETWEEN_STARTS_MS = 200

/**
 * One gateway among those that are killed, on a port of its own, again and again:
 *
 *     down -> starting -> up -> down
 */
export class Replica {
  readonly url: string
  readonly #settings: ReplicaSettings
  #life: GatewayProcess | undefined
  #starting: Promise<void> | undefined
  #isKilled = false
  /** When it was killed, in milliseconds since 1970. */
  readonly kills: number[] = []
  /** What its processes logged, oldest first. */
  readonly logs: string[] = []
  /** Ends that nobody asked for. */
  readonly crashes: string[] = []

  constructor(settings: ReplicaSettings) {
    this.#settings = settings
    this.url = `http://127.0.0.1:${settings.port}`
  }

  get pid(): number | undefined {
    return this.#life?.pid
  }

  /** It serves, and nobody is about to kill it. */
  get isUp(): boolean {
    return this.#life !== undefined && !this.#isKilled
  }

  /** Resolves when it serves; safe to be called twice. */
  start(): Promise<void> {
    this.#starting ??= this.#start().finally(() => {
      this.#starting = undefined
    })
    return this.#starting
  }

  /** Kills it in its own time: `ending` is for whoever has it killed by somebody else. Resolves when it is gone. */
  async kill(ending: Promise<unknown> = Promise.resolve()): Promise<void> {
    const life = this.#life
    if (!life) return
    this.#isKilled = true
    await Promise.race([ending, life.ended])
    life.kill('SIGKILL')
    await life.ended
    this.kills.push(Date.now())
  }

  /** Stops it in order. */
  async stop(): Promise<void> {
    const life = this.#life
    if (!life) return
    this.#isKilled = true
    life.kill('SIGTERM')
    const ended = await life.ended
    if (ended.code !== 0) this.crashes.push(describe(ended))
  }

  async #start(): Promise<void> {
    if (this.#life) return
    for (let starts = 1; ; starts++) {
      try {
        return this.#live(await this.#begin())
      } catch (error) {
        if (starts === MOST_STARTS) throw error
        await sleep(BETWEEN_STARTS_MS)
      }
    }
  }

  #begin(): Promise<GatewayProcess> {
    const { port, args, env } = this.#settings
    return startGateway(args, { ...env, NIGHTSHIFT_PORT: `${port}` })
  }

  #live(life: GatewayProcess): void {
    this.#isKilled = false
    this.#life = life
    void life.ended.then((ended) => {
      this.#life = undefined
      this.logs.push(ended.stderr)
      if (this.#isKilled) return
      this.crashes.push(describe(ended))
      void this.start()
    })
  }
}

const describe = ({ code, signal, stderr }: Ended): string =>
  `${signal ?? `exit code ${code}`}: ${stderr.slice(-1000)}`
