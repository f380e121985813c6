import fc from 'fast-check'
import type { Outcome } from '../../../src/gateway/domain/request.ts'
import type { GatewayStore } from '../../../src/gateway/store/store.ts'
import { ANY_SIZE, againOf, arrivalOf, endOf, LONG_MS } from '../../support/gateway-stores.ts'

/** What tenants may spend. */
export const LIMITS = { default: 20_000, other: 5000 } as const

/** What a direct call costs, to what it costs by batch. */
const DIRECTLY = 2

/** One of two replicas does something. Numbers pick one of what there is, whatever that is then. */
export type Step = { readonly replica: 0 | 1; readonly pick: number } & (
  | { readonly do: 'accept'; readonly calls: readonly Call[] }
  | { readonly do: 'cut'; readonly requests: number; readonly lasts: boolean }
  | { readonly do: 'claim'; readonly lasts: boolean }
  | { readonly do: 'change'; readonly phase: 'intended' | 'remote' | 'done' }
  | { readonly do: 'settle' | 'stray' | 'settle-call'; readonly outcomes: readonly Told[] }
  | { readonly do: 'requeue'; readonly route: 'batch' | 'direct' | undefined }
  | { readonly do: 'reroute'; readonly route: 'batch' | 'flex' | 'direct' }
  | { readonly do: 'take'; readonly lasts: boolean }
  | { readonly do: 'recover' | 'cancel' | 'deliver' | 'let-go' | 'heartbeat' | 'leave' | 'retire' | 'forget' }
)

type StepOf<Do extends Step['do']> = Extract<Step, { readonly do: Do }>

interface Call {
  readonly tenant: 'default' | 'other'
  readonly print: number
  readonly key: number | undefined
  readonly holds: boolean
  readonly mode: 'sync' | 'async' | 'poll'
  readonly route: 'batch' | 'flex' | 'direct'
  readonly most: number
}
interface Told {
  readonly pick: number
  readonly kind: 'good' | 'bad' | 'again' | 'expiry'
  /** Of what it can cost at most; undefined: nobody knows. */
  readonly part: number | undefined
}

const pick = fc.nat(1000)
const call: fc.Arbitrary<Call> = fc.record({
  tenant: fc.constantFrom('default', 'default', 'other'),
  print: fc.nat(6),
  key: fc.constantFrom(undefined, undefined, undefined, undefined, 0, 1),
  holds: fc.boolean(),
  mode: fc.constantFrom('sync', 'async', 'poll'),
  route: fc.constantFrom('batch', 'batch', 'flex', 'direct'),
  most: fc.integer({ min: 0, max: 2000 }),
})
const told: fc.Arbitrary<Told> = fc.record({
  pick,
  kind: fc.constantFrom('good', 'bad', 'again', 'expiry'),
  part: fc.option(fc.double({ min: 0, max: 1, noNaN: true }), { nil: undefined }),
})
const some = <Item>(item: fc.Arbitrary<Item>) => fc.array(item, { minLength: 1, maxLength: 6 })
const who = { replica: fc.constantFrom<0 | 1>(0, 1), pick }
const simple = fc.constantFrom(
  ...(['recover', 'cancel', 'deliver', 'let-go', 'heartbeat', 'leave', 'retire', 'forget'] as const),
)

export const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ ...who, do: fc.constant('accept' as const), calls: some(call) }) },
  {
    weight: 3,
    arbitrary: fc.record({
      ...who,
      do: fc.constant('cut' as const),
      requests: fc.integer({ min: 1, max: 5 }),
      lasts: fc.boolean(),
    }),
  },
  { weight: 3, arbitrary: fc.record({ ...who, do: fc.constant('claim' as const), lasts: fc.boolean() }) },
  {
    weight: 2,
    arbitrary: fc.record({
      ...who,
      do: fc.constant('change' as const),
      phase: fc.constantFrom('intended' as const, 'remote' as const, 'done' as const),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      ...who,
      do: fc.constantFrom('settle' as const, 'stray' as const),
      outcomes: some(told),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      ...who,
      do: fc.constant('requeue' as const),
      route: fc.constantFrom(undefined, 'batch' as const, 'direct' as const),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      ...who,
      do: fc.constant('reroute' as const),
      route: fc.constantFrom('batch' as const, 'flex' as const, 'direct' as const),
    }),
  },
  { weight: 2, arbitrary: fc.record({ ...who, do: fc.constant('take' as const), lasts: fc.boolean() }) },
  {
    weight: 2,
    arbitrary: fc.record({ ...who, do: fc.constant('settle-call' as const), outcomes: some(told) }),
  },
  { weight: 4, arbitrary: fc.record({ ...who, do: simple }) },
)

/** What all replicas together have seen. Each claims what it says only of what it has seen itself. */
export class History {
  readonly stores: readonly GatewayStore[]
  readonly ids: string[] = []
  /** Requests that were told to be done, with what their answers were then. */
  readonly ends = new Map<string, string>()
  /** The most that strays can have cost, in nano-USD, while what took their place is paid, too. */
  readonly strayed = new Map<string, number>()
  readonly #mosts = new Map<string, number>()
  readonly #batches: number[] = []
  readonly #claims: { readonly batch: number; readonly epoch: number }[] = []
  readonly #calls: { readonly id: string; readonly epoch: number }[] = []
  readonly #tags: string[] = []
  readonly #cancelled: string[] = []
  #names = 0

  constructor(stores: readonly GatewayStore[]) {
    this.stores = stores
  }

  async start(): Promise<void> {
    const [store] = this.stores
    for (const [name, maxNanoUsd] of Object.entries(LIMITS))
      await store?.putTenant({ name, maxNanoUsd, callsPerMinute: undefined })
    for (const replica of [0, 1]) await store?.heartbeat(`rep_${replica}`, LONG_MS)
  }

  async run(step: Step): Promise<void> {
    const store = this.stores[step.replica]
    if (!store) throw new Error('no such replica')
    const replica = `rep_${step.replica}`
    switch (step.do) {
      case 'accept':
        return this.#accept(store, replica, step.calls)
      case 'cut':
        return this.#cut(store, replica, step)
      case 'claim':
        return this.#claim(store, replica, { batch: one(this.#batches, step.pick), lasts: step.lasts })
      case 'change':
        return this.#change(store, step.pick, step.phase)
      case 'settle': {
        const claim = one(this.#claims, step.pick)
        const waiting = claim ? await store.waitingFor(claim.batch) : []
        const outcomes = step.outcomes.flatMap((told) =>
          this.#outcome(told, [...waiting, ...this.#cancelled]),
        )
        return this.#ended(store, claim ? await store.settle(claim.batch, claim.epoch, outcomes) : undefined)
      }
      case 'stray': {
        const outcomes = step.outcomes.flatMap((told) => this.#outcome(told))
        this.#allow(outcomes)
        return this.#ended(store, await store.settleStray(one(this.#tags, step.pick) ?? 'none', outcomes))
      }
      case 'settle-call': {
        const call = one(this.#calls, step.pick)
        const [outcome] = call ? step.outcomes.flatMap((told) => this.#outcome(told, [call.id])) : []
        if (call && outcome) await store.settleCall(call.epoch, outcome)
        return
      }
      case 'requeue': {
        const claim = one(this.#claims, step.pick)
        if (claim) await store.requeue(claim.batch, claim.epoch, 'expiry', step.route)
        return
      }
      case 'reroute':
        await store.reroute(this.#some(step.pick), step.route)
        return
      case 'take': {
        const calls = await store.takeCalls(3, replica, step.lasts ? LONG_MS : 0)
        this.#calls.push(...calls.map(({ request, epoch }) => ({ id: request.id, epoch })))
        return
      }
      case 'recover':
        await store.recoverCalls()
        return
      case 'cancel': {
        const id = one(this.ids, step.pick)
        for (const tenant of id ? Object.keys(LIMITS) : [])
          await store.cancelRequest(id ?? '', tenant, { status: 499, body: '"cancelled"' })
        if (id) this.#cancelled.push(id)
        return
      }
      case 'deliver':
        return store.delivered(this.#some(step.pick))
      case 'let-go':
        return store.letGo(this.#some(step.pick), replica)
      case 'heartbeat':
        return store.heartbeat(replica, LONG_MS)
      case 'leave':
        return store.leave(replica)
      case 'retire':
        return this.#retire(store, step.pick)
      case 'forget':
        await store.forget(0, 10)
    }
  }

  async #accept(store: GatewayStore, replica: string, calls: readonly Call[]): Promise<void> {
    const arrivals = calls.map(({ tenant, print, key, holds, mode, route, most }) =>
      arrivalOf({
        id: `req_${this.#names++}`,
        tenant,
        fingerprint: `print ${print}`,
        idempotencyKey: key === undefined ? undefined : `key ${key}`,
        holder: holds ? replica : undefined,
        mode,
        route,
        mostNanoUsd: most,
        mostDirectlyNanoUsd: DIRECTLY * most,
      }),
    )
    for (const { id, mostNanoUsd = 0 } of arrivals) this.#mosts.set(id, mostNanoUsd)
    const acceptances = await store.accept(arrivals, { maxQueued: 60 })
    this.ids.push(...acceptances.flatMap((one) => (one.kind === 'new' ? [one.id] : [])))
  }

  async #cut(store: GatewayStore, replica: string, { pick, requests, lasts }: StepOf<'cut'>): Promise<void> {
    const load = one(await store.loads(), pick)
    const batch = load && (await store.cut(load, { ...ANY_SIZE, requests }))
    if (!batch) return
    this.#batches.push(batch.number)
    await this.#claim(store, replica, { batch: batch.number, lasts })
  }

  async #claim(
    store: GatewayStore,
    replica: string,
    { batch, lasts }: { readonly batch: number | undefined; readonly lasts: boolean },
  ): Promise<void> {
    const claim = batch === undefined ? undefined : await store.claim(batch, replica, lasts ? LONG_MS : 0)
    if (claim) this.#claims.push({ batch: claim.batch.number, epoch: claim.epoch })
  }

  async #change(store: GatewayStore, pick: number, phase: 'intended' | 'remote' | 'done'): Promise<void> {
    const claim = one(this.#claims, pick)
    if (!claim) return
    try {
      await store.change(claim.batch, claim.epoch, { phase })
    } catch (error) {
      // Whoever is told so has to put them back into the queue first.
      if (!(error instanceof Error && 'code' in error && error.code === 'unfinished_batch')) throw error
    }
  }

  async #retire(store: GatewayStore, pick: number): Promise<void> {
    const claim = one(this.#claims, pick)
    if (!claim) return
    const tag = `tag ${this.#tags.length}`
    const retire = { tag, batch: claim.batch, inputFileId: undefined, since: 0 }
    if (await store.change(claim.batch, claim.epoch, { phase: 'sealed', retire })) this.#tags.push(tag)
  }

  #outcome({ pick, kind, part }: Told, ids: readonly string[] = this.ids): Outcome[] {
    const id = one(ids, pick)
    if (id === undefined) return []
    const most = this.#mosts.get(id) ?? 0
    const costNanoUsd = part === undefined ? undefined : Math.floor(part * most)
    if (kind === 'again' || kind === 'expiry')
      return [againOf(id, { uses: kind === 'again' ? 'attempt' : 'expiry', costNanoUsd })]
    const body = `"answer ${this.#names++}"`
    return [endOf(id, { body, costNanoUsd, ending: kind === 'good' ? 'succeeded' : 'failed' })]
  }

  #allow(outcomes: readonly Outcome[]): void {
    const most = outcomes.reduce((sum, outcome) => {
      if (outcome.kind !== 'ended') return sum
      return sum + (outcome.costNanoUsd ?? DIRECTLY * (this.#mosts.get(outcome.id) ?? 0))
    }, 0)
    for (const tenant of Object.keys(LIMITS)) this.strayed.set(tenant, (this.strayed.get(tenant) ?? 0) + most)
  }

  /** An answer that was there once is the answer for ever. */
  async #ended(store: GatewayStore, ids: readonly string[] | undefined): Promise<void> {
    for (const [id, { body }] of await store.answers(ids ?? []))
      if (!this.ends.has(id)) this.ends.set(id, body)
  }

  #some(pick: number): string[] {
    return this.ids.filter((_, place) => (place + pick) % 3 === 0)
  }
}

const one = <Item>(items: readonly Item[], pick: number): Item | undefined =>
  items[pick % Math.max(1, items.length)]
