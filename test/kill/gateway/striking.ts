import { setTimeout as sleep } from 'node:timers/promises'
import type { EmulatorProcess } from './emulator.ts'
import type { Pace } from './pace.ts'
import type { MortalDatabase } from './place.ts'
import type { Replica } from './replica.ts'
import type { DatabaseStrike, ReplicaStrike, Strike } from './strikes.ts'

export interface StrikingParts {
  readonly replicas: readonly Replica[]
  readonly emulator: EmulatorProcess
  readonly database: MortalDatabase | undefined
  readonly say: (text: string) => void
}

/** A gateway is killed wherever it is when the call it was to be killed at does not come for so long. */
const PATIENCE_MS = 6000
const LOOK_MS = 20

/** Carries out the strikes at their times, each in its own way, and brings back what they brought down. */
export class Striking {
  readonly #parts: StrikingParts
  /** Kills at a call that they were aimed at. */
  aimed = 0
  databaseKills = 0
  #database: Promise<void> = Promise.resolve()

  constructor(parts: StrikingParts) {
    this.#parts = parts
  }

  /** Resolves when all is up again. */
  async run(strikes: readonly Strike[], pace: Pick<Pace, 'reached'>): Promise<void> {
    await Promise.all(
      strikes.map(async (strike) => {
        await pace.reached(strike.atCall)
        await sleep(strike.afterMs)
        await (strike.kind === 'database' ? this.#strikeDatabase(strike) : this.#strikeReplica(strike))
      }),
    )
  }

  /** One after another: it is killed once it is up. */
  #strikeDatabase({ downMs }: DatabaseStrike): Promise<void> {
    this.#database = this.#database.then(async () => {
      const start = await this.#parts.database?.kill()
      if (!start) throw new Error('there is no database that can be killed')
      this.#parts.say(`the database is down for ${downMs} ms`)
      await sleep(downMs)
      await start()
      this.databaseKills++
    })
    return this.#database
  }

  async #strikeReplica(strike: ReplicaStrike): Promise<void> {
    const number = await this.#victim(strike.victim)
    const replica = this.#parts.replicas[number]
    if (!replica) return
    const how = await this.#kill(replica, number, strike)
    this.#parts.say(`gateway ${number} is killed ${how}, down for ${strike.downMs} ms`)
    await sleep(strike.downMs)
    await replica.start()
  }

  /** One that is up. */
  async #victim(wanted: number): Promise<number> {
    const { replicas } = this.#parts
    for (;;) {
      const order = replicas.map((_, index) => (wanted + index) % replicas.length)
      const number = order.find((index) => replicas[index]?.isUp)
      if (number !== undefined) return number
      await sleep(LOOK_MS)
    }
  }

  async #kill(replica: Replica, number: number, { moment }: ReplicaStrike): Promise<string> {
    const { emulator } = this.#parts
    if (!moment || replica.pid === undefined) {
      await replica.kill()
      return 'wherever it is'
    }
    emulator.killAt(number, replica.pid, moment)
    const before = performance.now()
    await replica.kill(sleep(PATIENCE_MS, undefined, { ref: false }))
    emulator.spare(number)
    const isAimed = performance.now() - before < PATIENCE_MS
    if (isAimed) this.aimed++
    return isAimed ? `${moment.when} ${moment.request}` : 'having waited for a call'
  }
}
