import { formatBytes, formatCount, formatUsd } from '../util/format.ts'
import type { Blocked, Excess, Load } from './limits.ts'

/** Something that limits keep from being sent. */
export interface HeldBack {
  readonly load: Load
  readonly excesses: readonly Excess[]
}

/** A limit in words: how amounts are written, what a load takes up of it, and the flag that moves it. */
interface Wording {
  readonly flag: string
  readonly format: (amount: number) => string
  readonly share: (load: Load) => number
  /** What the amounts are of. */
  readonly of: string
  /** What the next one does: `has`, `may cost`. Not said where every next one is one. */
  readonly verb?: string
}

const requests = { format: formatCount, share: (load: Load) => load.requests, verb: 'has' } as const
const tokens = { format: formatCount, share: (load: Load) => load.tokens, verb: 'has about' } as const
const cost = { format: formatUsd, share: (load: Load) => load.nanoUsd, verb: 'costs about' } as const

const SENT = { task: 'sent', session: 'sent in this run', remote: 'at the server' } as const

const WORDINGS: Readonly<Record<Blocked, Wording>> = {
  'max task requests': { ...requests, flag: '--max-task-requests', of: `requests ${SENT.task}` },
  'max task tokens': { ...tokens, flag: '--max-task-ktokens', of: `prompt tokens ${SENT.task}` },
  'max task cost': { ...cost, flag: '--max-task-cost', of: `${SENT.task}, as estimated` },
  'max session requests': { ...requests, flag: '--max-session-requests', of: `requests ${SENT.session}` },
  'max session tokens': { ...tokens, flag: '--max-session-ktokens', of: `prompt tokens ${SENT.session}` },
  'max session cost': { ...cost, flag: '--max-session-cost', of: `${SENT.session}, as estimated` },
  'max remote batches': {
    flag: '--max-remote-batches',
    format: formatCount,
    share: () => 1,
    of: `batches ${SENT.remote}`,
  },
  'max remote requests': { ...requests, flag: '--max-remote-requests', of: `requests ${SENT.remote}` },
  'max remote size': {
    flag: '--max-remote-mb',
    format: formatBytes,
    share: (load) => load.bytes,
    of: SENT.remote,
    verb: 'takes',
  },
  'max remote tokens': { ...tokens, flag: '--max-remote-ktokens', of: `prompt tokens ${SENT.remote}` },
  'max remote cost': { ...cost, flag: '--max-remote-cost', of: `${SENT.remote}, as estimated` },
  'max spend': {
    flag: '--max-spend',
    format: formatUsd,
    share: (load) => load.mostNanoUsd ?? Number.POSITIVE_INFINITY,
    of: 'spent or set aside',
    verb: 'may cost',
  },
}

/** The limits that are in the way, one line each for people, by the least that each of them holds back. */
export function limitTexts(heldBack: readonly HeldBack[]): string[] {
  const least = new Map<Blocked, readonly [Excess, Load]>()
  for (const { load, excesses } of heldBack) {
    for (const excess of excesses) {
      const known = least.get(excess.reason)
      if (!known || excess.amount < known[0].amount) least.set(excess.reason, [excess, load])
    }
  }
  return [...least.values()].map(([excess, load]) => limitText(excess, load))
}

function limitText({ reason, amount, most }: Excess, load: Load): string {
  const { flag, format, share, of, verb } = WORDINGS[reason]
  const own = share(load)
  if (!Number.isFinite(own)) return `${reason}: ${NO_CEILING[thing(load)]} (${flag})`
  const taken = `${reason}: ${format(amount - own)} of ${format(most)} ${of}`
  // Some of its requests may have gone by themselves: its ceiling is not that of what is left.
  if (reason === 'max spend' && load.requests > 1)
    return `${taken}; each request of the next batch may cost more than is left (${flag})`
  const isOne = verb === undefined || (load.requests === 1 && verb === requests.verb)
  const next = isOne ? '' : `; the next ${thing(load)} ${verb} ${format(own)}`
  return `${taken}${next} (${flag})`
}

const WAY_OUT = 'go on without the cap, or --wipe-requests and give each a maximum of output tokens'
/** Of requests that were added before there was a cap: with one, they would have been refused. */
const NO_CEILING = {
  request: `what the next request may cost at most is not known; ${WAY_OUT}`,
  batch: `what requests of the next batch may cost at most is not known; ${WAY_OUT}`,
} as const

const thing = ({ requests }: Load): keyof typeof NO_CEILING => (requests === 1 ? 'request' : 'batch')
