import type { Acceptance, AcceptLimits, Arrival } from '../domain/arrival.ts'
import { PRIORITIES, type Priority, ROUTES, type Route } from '../domain/request.ts'
import { decideArrival } from '../identity/decide-arrival.ts'
import type { KnownRequest } from './known-requests.ts'
import type { Purses } from './purses.ts'
import { reserveFor } from './reserve.ts'

/** What a group of arrivals is decided by. */
export interface AcceptFacts {
  readonly now: number
  readonly known: readonly KnownRequest[]
  /** What was read of it; what is accepted is taken from it. */
  readonly purses: Purses
  /** Requests of all tenants that are not done. */
  readonly waiting: number
  readonly liveReplicas: ReadonlySet<string>
  readonly limits: AcceptLimits
}

/** A request that an arrival goes with, as it is to be from then on. */
export interface Join {
  readonly to: KnownRequest
  readonly arrival: Arrival
}

export interface AcceptPlan {
  /** In the order of the arrivals. */
  readonly acceptances: readonly Acceptance[]
  readonly created: readonly Arrival[]
  /** Requests that were there, by id: of several arrivals that go with one the last says what becomes of it. */
  readonly joins: ReadonlyMap<string, Join>
}

/** Decides arrivals in their order; each sees what became of those before it. */
export function planAccept(arrivals: readonly Arrival[], facts: AcceptFacts): AcceptPlan {
  const sight = new Sight(facts.known)
  const created = new Map<string, Arrival>()
  const joins = new Map<string, Join>()
  const acceptances = arrivals.map((arrival) => {
    const decided = decideArrival(arrival, sight.of(arrival), facts.now)
    if (decided === undefined) return accepted(arrival, { ...facts, waiting: facts.waiting + created.size })
    if (decided.kind !== 'joined') return decided
    const to = sight.byId(decided.id)
    if (to) put(to, arrival)
    return decided
  })
  return { acceptances, created: [...created.values()], joins }

  function accepted(given: Arrival, at: AcceptFacts): Acceptance {
    const arrival = { ...given, route: payableRoute(given, facts.purses) }
    const refusal = refusalOf(arrival, at)
    if (refusal) return refusal
    facts.purses.change(arrival.tenant, { reserved: reserveFor(arrival.route, arrival), waiting: 1 })
    created.set(arrival.id, arrival)
    sight.add(knownOf(arrival, facts))
    const { id, route } = arrival
    return route === given.route ? { kind: 'new', id } : { kind: 'new', id, route }
  }

  function put(known: KnownRequest, arrival: Arrival): void {
    const to = sharpened(known, arrival, facts)
    sight.replace(to)
    const first = created.get(to.id)
    if (first) created.set(to.id, arrivalOf(first, to, arrival))
    else joins.set(to.id, { to, arrival })
  }
}

/** A dearer way than its tenant can pay for is not taken. */
const payableRoute = (arrival: Arrival, purses: Purses): Route =>
  purses.hasRoom(arrival.tenant, reserveFor(arrival.route, arrival)) ? arrival.route : 'batch'

/** Why an arrival is not taken, though it is new. */
function refusalOf(arrival: Arrival, { purses, waiting, limits }: AcceptFacts): Acceptance | undefined {
  if (waiting >= limits.maxQueued) return { kind: 'full', waiting }
  const { maxNanoUsd: limit, spentNanoUsd: spent, reservedNanoUsd: reserved } = purses.of(arrival.tenant)
  if (limit === undefined) return undefined
  if (arrival.mostNanoUsd === undefined) return { kind: 'unbounded', limit }
  if (purses.hasRoom(arrival.tenant, reserveFor(arrival.route, arrival))) return undefined
  return { kind: 'over-limit', spent, reserved, limit }
}

/** An arrival that wants it sooner hurries what it goes with, as far as that is not sent yet and its tenant can pay for it. */
function sharpened(
  known: KnownRequest,
  arrival: Arrival,
  { purses, liveReplicas }: AcceptFacts,
): KnownRequest {
  const isHeld = arrival.holder !== undefined && liveReplicas.has(arrival.holder)
  const to = { ...known, isHeld, webhook: arrival.webhook ?? known.webhook }
  if (known.state === 'done') return to
  const route = known.state === 'queued' ? later(ROUTES, known.route, arrival.route) : known.route
  const more = reserveFor(route, known) - known.reservedNanoUsd
  const isPaidFor = route === known.route || purses.hasRoom(known.tenant, more)
  if (isPaidFor && route !== known.route) purses.change(known.tenant, { reserved: more })
  return {
    ...to,
    deadlineAt: earlier(known.deadlineAt, arrival.deadlineAt),
    priority: later(PRIORITIES, known.priority, arrival.priority),
    ...(isPaidFor && route !== known.route && { route, reservedNanoUsd: known.reservedNanoUsd + more }),
  }
}

function later<Value extends Priority | Route>(order: readonly Value[], a: Value, b: Value): Value {
  return order.indexOf(a) >= order.indexOf(b) ? a : b
}

const earlier = (a: number | undefined, b: number | undefined): number | undefined =>
  a === undefined ? b : b === undefined ? a : Math.min(a, b)

const knownOf = (arrival: Arrival, { now, liveReplicas }: AcceptFacts): KnownRequest => ({
  seq: undefined,
  id: arrival.id,
  tenant: arrival.tenant,
  fingerprint: arrival.fingerprint,
  idempotencyKey: arrival.idempotencyKey,
  state: 'queued',
  ending: undefined,
  isHeld: arrival.holder !== undefined && liveReplicas.has(arrival.holder),
  createdAt: now,
  finishedAt: undefined,
  deliveredAt: undefined,
  priority: arrival.priority,
  deadlineAt: arrival.deadlineAt,
  route: arrival.route,
  webhook: arrival.webhook,
  mostNanoUsd: arrival.mostNanoUsd,
  mostDirectlyNanoUsd: arrival.mostDirectlyNanoUsd,
  reservedNanoUsd: reserveFor(arrival.route, arrival),
})

/** One that is written for the first time with what a later arrival of its group made of it. */
const arrivalOf = (first: Arrival, to: KnownRequest, { holder, mode }: Arrival): Arrival => ({
  ...first,
  holder,
  mode,
  webhook: to.webhook,
  deadlineAt: to.deadlineAt,
  hasDeadline: to.deadlineAt !== undefined,
  priority: to.priority,
  route: to.route,
})

/** What arrivals see: all that was known before, and those of their own group. */
class Sight {
  readonly #byId = new Map<string, KnownRequest>()
  /** Ids by what an arrival is known by. */
  readonly #ids = new Map<string, Set<string>>()

  constructor(known: readonly KnownRequest[]) {
    for (const one of known) this.add(one)
  }

  add(one: KnownRequest): void {
    this.#byId.set(one.id, one)
    for (const mark of marksOf(one)) {
      const ids = this.#ids.get(mark)
      if (ids) ids.add(one.id)
      else this.#ids.set(mark, new Set([one.id]))
    }
  }

  replace(one: KnownRequest): void {
    this.#byId.set(one.id, one)
  }

  byId(id: string): KnownRequest | undefined {
    return this.#byId.get(id)
  }

  of(arrival: Arrival): KnownRequest[] {
    const ids = new Set(marksOf(arrival).flatMap((mark) => [...(this.#ids.get(mark) ?? [])]))
    return [...ids].flatMap((id) => this.#byId.get(id) ?? [])
  }
}

type Marked = Pick<Arrival, 'tenant' | 'fingerprint' | 'idempotencyKey'>

const marksOf = ({ tenant, fingerprint, idempotencyKey: key }: Marked): string[] => [
  `twin ${fingerprint} ${tenant}`,
  ...(key === undefined ? [] : [`key ${key} ${tenant}`]),
]
