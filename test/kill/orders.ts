import { assertNever } from '../../src/util/exhaustive.ts'
import type { Moment } from '../support/emulator-messages.ts'
import { between } from '../support/random.ts'
import { type Phase, phasesOf } from './disk-points.ts'

/** When a process is killed, each in its own way: by the clock, by itself at the disk, by its server. */
export type Order =
  | { readonly kind: 'instant'; readonly afterMs: number }
  /** `point`: see `pointOf`. Default: any operation on the disk. */
  | { readonly kind: 'disk'; readonly point?: string; readonly nth: number; readonly phase: Phase }
  | { readonly kind: 'call'; readonly at: Moment }

type Random = () => number

/** How a kind of kill is called in the table. */
export function kindOf(order: Order): string {
  switch (order.kind) {
    case 'instant':
      return 'at a random instant'
    case 'disk':
      return order.phase === 'within' ? 'disk: a write half done' : `disk: ${order.phase} an operation`
    case 'call':
      return `call: ${WHEN[order.at.when]}`
    default:
      return assertNever(order)
  }
}

const WHEN = {
  before: 'before the server acts',
  late: 'the server acts after the kill',
  after: 'acted, reply not sent',
  'in-upload': "in the request's body",
  'in-reply': "in the reply's body",
} as const

/** The place of a kill, whichever of its kind it was. Undefined when it had none of its own. */
export function placeOf(order: Order): string | undefined {
  if (order.kind === 'disk' && order.point !== undefined) return `${order.phase} ${order.point}`
  if (order.kind === 'call' && order.at.request) return `${order.at.when} ${order.at.request}`
  return undefined
}

/** What is known of an operation from an undisturbed run. */
export interface Seen {
  readonly count: number
  /** When it happened for the last time, as a share of the run. */
  readonly until: number
}

/** Orders that belong together: the later ones are about what a process does about the kill before. */
export interface Script {
  readonly orders: readonly Order[]
  /** Up to which share of a run there is a chance for it. */
  readonly until: number
}

/** Of the operations of a process, by name. */
export function sightings(operations: readonly string[]): Map<string, Seen> {
  const seen = new Map<string, Seen>()
  for (const [index, point] of operations.entries())
    seen.set(point, { count: (seen.get(point)?.count ?? 0) + 1, until: index / operations.length })
  return seen
}

/** Kills at every operation on the disk that was seen, in every phase it has. */
export const diskScripts = (seen: ReadonlyMap<string, Seen>, random: Random): Script[] =>
  [...seen].flatMap(([point, { count, until }]) =>
    phasesOf(point).map((phase) => {
      const order = { kind: 'disk', point, phase, nth: early(count, random) } as const
      return { orders: [order, ...aftermathOf(point, phase)], until }
    }),
  )

/** Mostly one of the first: the later ones are there for the kills to come. */
const early = (count: number, random: Random): number =>
  1 + Math.floor(random() ** 2 * Math.min(count, FARTHEST_POINT))
const FARTHEST_POINT = 6

/** What the next process has to do about it, and is killed at as well. */
function aftermathOf(point: string, phase: Phase): Order[] {
  const place = `${phase} ${point}`
  const mending = MENDED.find(([killed]) => killed.test(place))
  if (!mending) return []
  const [killed, name, phases] = mending
  return phases.map((when) => ({
    kind: 'disk' as const,
    point: place.replace(killed, name),
    nth: 1,
    phase: when,
  }))
}

/** Where one was killed, what the next does about it, and in which phases of that it is killed in its turn. */
const MENDED: readonly (readonly [killed: RegExp, mending: string, phases: readonly Phase[]])[] = [
  [/^within write (lock.*)$/, '', []],
  [/^within write (.* \(temporary\))$/, 'unlink $1', ['before', 'after']],
  [/^within write (.*)$/, 'cut $1', ['before', 'after']],
  [/^after create ledger\.jsonl$/, 'rename lock', ['before', 'after']],
  // After either of these there is no lock left to mend, so that each needs a kill of its own before it.
  [/^before create batchN\.jsonl$/, 'rmdir lock.stale-*', ['before']],
  [/^after create batchN\.jsonl$/, 'rmdir lock.stale-*', ['after']],
]

const GRACE_IS_OVER_MS = 1500

const call = (request: string, when: Moment['when'], nth = 1, lateMs = 0): Order => ({
  kind: 'call',
  at: { request, when, nth, lateMs },
})

/** Kills around every call of a batch's life, and in what the next process does about them. */
export function batchCallScripts(random: Random): Script[] {
  const upload = (when: Moment['when'], lateMs = 0): Order => call('POST /v1/files$', when, 1, lateMs)
  const create = (when: Moment['when'], lateMs = 0): Order => call('POST /v1/batches$', when, 1, lateMs)
  const submits = [
    [upload('before'), call('GET /v1/files$', 'before')],
    [upload('in-upload'), call('GET /v1/files$', 'after')],
    [upload('late', between(random, 1, 200)), call('GET /v1/files$', 'in-reply')],
    [upload('after')],
    [upload('in-reply')],
    [create('before'), call('GET /v1/batches$', 'after'), call('DELETE /v1/files/:id$', 'before')],
    [create('late', between(random, 1, 200)), call('GET /v1/batches$', 'before')],
    [create('late', between(random, GRACE_IS_OVER_MS, 2 * GRACE_IS_OVER_MS))],
    [create('late', between(random, 300, GRACE_IS_OVER_MS)), call('GET /v1/batches$', 'in-reply')],
    [create('after'), call('GET /v1/batches$', 'after')],
    [create('in-reply')],
    [create('in-upload'), call('DELETE /v1/files/:id$', 'after'), call('GET /v1/batches$', 'before')],
  ]
  const others = ['GET /v1/batches$', 'GET /v1/files/:id/content$', 'DELETE /v1/files/:id$'].flatMap(
    (request) => aroundCall(request, random),
  )
  const judging = ['write output.jsonl', 'sync batchN_result.jsonl'].flatMap((point) =>
    phasesOf(point).map((phase) => ({ kind: 'disk' as const, point, nth: 1, phase })),
  )
  return [...submits, ...others, judging].map((orders) => ({ orders, until: LAST_SUBMIT * random() }))
}

/** There are batches to submit until about here. */
const LAST_SUBMIT = 0.6

const aroundCall = (request: string, random: Random): Order[][] =>
  (['before', 'after', 'in-reply'] as const).map((when) => [call(request, when, between(random, 1, 4))])

/** Kills around direct calls. */
export const directCallScripts = (random: Random): Script[] =>
  [...aroundCall('POST /v1/chat/completions$', random), ...aroundCall('POST /v1/chat/completions$', random)]
    .concat([[call('POST /v1/chat/completions$', 'in-upload', 1)]])
    .map((orders) => ({ orders, until: random() }))

/** A kill anywhere, as it comes. */
export function anyScript(random: Random): Script {
  return { orders: [anyOrder(random)], until: random() }
}

function anyOrder(random: Random): Order {
  const share = random()
  if (share < 0.5) return { kind: 'instant', afterMs: between(random, 300, 1500) }
  if (share < 0.75) {
    const phase = (['before', 'within', 'after'] as const)[between(random, 0, 2)] ?? 'before'
    return { kind: 'disk', nth: between(random, 1, 60), phase }
  }
  const when = (['before', 'after', 'in-reply'] as const)[between(random, 0, 2)] ?? 'before'
  return call('', when, between(random, 1, 8))
}
