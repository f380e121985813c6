import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { between, randomFrom } from '../support/random.ts'
import { type KilledJob, killJob } from './kill-job.ts'
import {
  anyScript,
  batchCallScripts,
  directCallScripts,
  diskScripts,
  type Order,
  type Script,
  sightings,
} from './orders.ts'

export interface CampaignOptions {
  /** A folder in it for each job. */
  readonly folder: string
  readonly seed: number
  /** Least number of kills. */
  readonly kills: number
  /** Samples of each job. */
  readonly samples: number
  /** Jobs at one time. */
  readonly lanes: number
  readonly say: (text: string) => void
}

export interface Campaign {
  readonly jobs: readonly KilledJob[]
  /** Orders whose moment never came, in all tries. */
  readonly unreached: readonly Order[]
}

interface JobPlan {
  readonly profile: Profile
  readonly scripts: readonly Script[]
}

type Profile = 'batches' | 'direct'
/** Scripts that one job has room for. */
const ROOM = { batches: 14, direct: 28 } as const
const MOST_ROUNDS = 8
const MOST_TRIES = 3

/**
 * Runs jobs until there were enough kills, one at least at every operation on the disk that an undisturbed job does,
 * in each of its phases, and around every remote call.
 */
export class KillCampaign {
  readonly #options: CampaignOptions
  readonly #random: () => number
  readonly #jobs: KilledJob[] = []
  readonly #pools: Record<Profile, Script[]> = { batches: [], direct: [] }
  readonly #tries = new Map<Order, number>()
  readonly #unreached: Order[] = []
  #begun = 0

  constructor(options: CampaignOptions) {
    this.#options = options
    this.#random = randomFrom(options.seed)
  }

  async run(): Promise<Campaign> {
    await this.#scout()
    for (let round = 1; round <= MOST_ROUNDS; round++) {
      this.#fillUp()
      if (this.#pools.batches.length + this.#pools.direct.length === 0) break
      await this.#runRound()
    }
    return { jobs: this.#jobs, unreached: this.#unreached }
  }

  get #kills(): number {
    return this.#jobs.reduce((sum, { kills }) => sum + kills.length, 0)
  }

  /** Undisturbed jobs show what there is to disturb; an operation is tried where it happens more often. */
  async #scout(): Promise<void> {
    const [batches, direct] = await this.#runJobs([
      { profile: 'batches', scripts: [] },
      { profile: 'direct', scripts: [] },
    ])
    const seenIn = {
      batches: sightings(batches?.operations ?? []),
      direct: sightings(direct?.operations ?? []),
    }
    const count = (profile: Profile, point: string): number => seenIn[profile].get(point)?.count ?? 0
    const isDirect = (point: string): boolean => count('direct', point) > count('batches', point)
    this.#pools.batches.push(
      ...diskScripts(new Map([...seenIn.batches].filter(([point]) => !isDirect(point))), this.#random),
      ...batchCallScripts(this.#random),
    )
    this.#pools.direct.push(
      ...diskScripts(new Map([...seenIn.direct].filter(([point]) => isDirect(point))), this.#random),
      ...directCallScripts(this.#random),
    )
  }

  /** Adds kills anywhere when those that are planned will not be enough. */
  #fillUp(): void {
    const planned = [...this.#pools.batches, ...this.#pools.direct].flatMap(({ orders }) => orders).length
    for (let missing = this.#options.kills - this.#kills - planned; missing > 0; missing--) {
      const profile = between(this.#random, 1, 3) === 1 ? 'direct' : 'batches'
      this.#pools[profile].push(anyScript(this.#random))
    }
  }

  async #runRound(): Promise<void> {
    const plans = (['batches', 'direct'] as const).flatMap((profile) =>
      dealt(this.#pools[profile].splice(0), ROOM[profile]).map((scripts) => ({ profile, scripts })),
    )
    await this.#runJobs(plans)
  }

  /** Results in the order of the plans. */
  async #runJobs(plans: readonly JobPlan[]): Promise<KilledJob[]> {
    const results: KilledJob[] = []
    const queue = [...plans.entries()]
    const lane = async (): Promise<void> => {
      for (let next = queue.shift(); next; next = queue.shift()) {
        const [index, plan] = next
        results[index] = await this.#runJob(plan)
      }
    }
    await Promise.all(Array.from({ length: this.#options.lanes }, lane))
    return results
  }

  async #runJob({ profile, scripts }: JobPlan): Promise<KilledJob> {
    const { samples, say } = this.#options
    const folder = join(this.#options.folder, `${this.#begun++}-${profile}`)
    await mkdir(folder)
    const orders = scripts.flatMap((script) => script.orders)
    const job = await killJob({ folder, samples, direct: profile === 'direct', orders })
    this.#jobs.push(job)
    this.#putBack(profile, scripts, job.missed)
    const verdict = job.violations.length === 0 ? 'clean' : `${job.violations.length} VIOLATIONS`
    say(
      `${profile}: ${job.kills.length} kills in ${job.seconds.toFixed(0)} s, ${verdict} (${this.#kills} in all)`,
    )
    return job
  }

  #putBack(profile: Profile, scripts: readonly Script[], missed: readonly Order[]): void {
    const [inVain] = missed
    const tries = inVain ? (this.#tries.get(inVain) ?? 0) + 1 : 0
    if (inVain) this.#tries.set(inVain, tries)
    for (const script of scripts) {
      const orders = script.orders.filter((order) => missed.includes(order))
      if (orders.length === 0) continue
      const isHopeless = tries >= MOST_TRIES && orders.some((order) => order === inVain)
      if (isHopeless) this.#unreached.push(...orders)
      else this.#pools[profile].push({ ...script, orders })
    }
  }
}

/** Scripts for jobs that have room for so many orders, each job with some from all parts of a run, in their order. */
function dealt(scripts: readonly Script[], room: number): Script[][] {
  const orders = scripts.flatMap((script) => script.orders).length
  const jobs = Math.ceil(orders / room)
  const sorted = scripts.toSorted((a, b) => a.until - b.until)
  return Array.from({ length: jobs }, (_, job) => sorted.filter((_, index) => index % jobs === job))
}
