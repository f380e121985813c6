import type { Moment } from '../../support/emulator-messages.ts'
import { between, shuffled } from '../../support/random.ts'

/** A gateway is killed, or the database is. Times are in milliseconds. */
export type Strike = ReplicaStrike | DatabaseStrike

interface Times {
  /** It comes so long after so many calls have begun. */
  readonly atCall: number
  readonly afterMs: number
  /** From its end to its next start. */
  readonly downMs: number
}

export interface ReplicaStrike extends Times {
  readonly kind: 'replica'
  /** Which one; another when that is down already. */
  readonly victim: number
  /** One of its calls to the server. Undefined: wherever it is. */
  readonly moment: Moment | undefined
}

export interface DatabaseStrike extends Times {
  readonly kind: 'database'
}

export interface StrikePlan {
  readonly replicas: number
  readonly kills: number
  readonly databaseKills: number
  readonly calls: number
}

type Random = () => number

const LONGEST_DOWN_MS = 2000
const DATABASE_DOWN_MS = [500, 3000] as const
/** What is struck soon after something else was, so that both are down. */
const SOON_MS = [20, 800] as const
const FOLLOWING = 0.3
/** Calls are made before the first strike, and after the last one. */
const FIRST = 0.04
const LAST = 0.9

/** So many kills of each, at times and in ways that depend on the random numbers alone. In the order of their times. */
export function planStrikes(plan: StrikePlan, random: Random): readonly Strike[] {
  const { kills, databaseKills } = plan
  const kinds = shuffled(
    [...Array<'replica'>(kills).fill('replica'), ...Array<'database'>(databaseKills).fill('database')],
    random,
  )
  const times = timesOf(kinds.length, plan.calls, random)
  const moments = momentsOf(kills, random)
  let victim = 0
  return kinds.map((kind, index) => {
    const { atCall = 0, afterMs = 0 } = times[index] ?? {}
    if (kind === 'database') return { kind, atCall, afterMs, downMs: between(random, ...DATABASE_DOWN_MS) }
    victim = random() < SAME_AGAIN ? victim : (victim + 1) % plan.replicas
    const downMs = between(random, 0, LONGEST_DOWN_MS)
    return { kind, atCall, afterMs, downMs, victim, moment: moments.pop() }
  })
}

const SAME_AGAIN = 0.4

function timesOf(count: number, calls: number, random: Random): readonly Pick<Times, 'atCall' | 'afterMs'>[] {
  const alone = Array.from({ length: count }, (_, index) => {
    const share = (index + random()) / count
    return Math.max(1, Math.round(calls * (FIRST + share * (LAST - FIRST))))
  })
  return alone.map((atCall, index) => {
    const before = alone[index - 1]
    return before !== undefined && random() < FOLLOWING
      ? { atCall: before, afterMs: between(random, ...SOON_MS) }
      : { atCall, afterMs: 0 }
  })
}

/** Half of the kills come at a call; the others whenever they come. */
function momentsOf(kills: number, random: Random): (Moment | undefined)[] {
  const aimed = Array.from({ length: Math.ceil(kills / 2 / MOMENTS.length) }, () => shuffled(MOMENTS, random))
    .flat()
    .slice(0, Math.floor(kills / 2))
  const late = aimed.map((moment) => ({
    ...moment,
    ...(moment.when === 'late' && { lateMs: between(random, 1, 2500) }),
  }))
  const others = Array<undefined>(kills - late.length).fill(undefined)
  return shuffled([...late, ...others], random)
}

const call = (request: string, when: Moment['when']): Moment => ({ request, when, nth: 1 })

/** The most delicate ones: what was done there may be in doubt. */
const MOMENTS: readonly Moment[] = [
  call('POST /v1/files$', 'in-upload'),
  call('POST /v1/files$', 'late'),
  call('POST /v1/files$', 'after'),
  call('POST /v1/batches$', 'before'),
  call('POST /v1/batches$', 'late'),
  call('POST /v1/batches$', 'after'),
  call('POST /v1/batches$', 'in-reply'),
  call('GET /v1/files/:id/content$', 'in-reply'),
  call('GET /v1/files/:id/content$', 'after'),
  call('POST /v1/chat/completions$', 'after'),
  call('GET /v1/batches', 'after'),
  call('DELETE /v1/files/:id$', 'after'),
]
