import { batchSchema } from '../../../openai/wire.ts'
import { parsedJson } from '../../../util/parsed-json.ts'
import type { GatewayBatch } from '../../domain/batch.ts'
import type { QueueGroup, Route, StoredRequest } from '../../domain/request.ts'
import { fitsBudget } from './budget.ts'
import type { CallContext } from './call-context.ts'
import type { CallKnowledge } from './call-knowledge.ts'
import { batchRung, chooseRung, horizonMs, type LadderFacts, type PressedBatch, type Rung } from './ladder.ts'

/** So many batches say how long the next one takes. */
const KEPT_TIMES = 50
const PAGE = 500
/** Without anything to think over by then. */
const LOOK_MS = 60_000
const SHORTEST_LOOK_MS = 1_000
/** No deadline is farther away. */
const FAR_MS = 400 * 86_400_000

export interface Look {
  /** Requests that were sent another way. */
  readonly moved: number
  readonly nextMs: number
}

/**
 * Thinks over the ways of requests whose deadlines come near: those that wait are sent another way, and batches that
 * hold others are asked to be cancelled. Every replica does so, as each knows of its own calls: a change is made once.
 */
export class LadderWatch {
  readonly #context: CallContext
  readonly #knowledge: CallKnowledge
  readonly #inFlight: () => number
  #batchTimes: readonly number[] = []
  #nextLookAt = 0
  /** Requests and batches that were said to be held back by their budgets. */
  #told: ReadonlySet<string> = new Set()
  #toldBatches: ReadonlySet<number> = new Set()

  /** `inFlight`: calls on the wire. */
  constructor(context: CallContext, knowledge: CallKnowledge, inFlight: () => number) {
    this.#context = context
    this.#knowledge = knowledge
    this.#inFlight = inFlight
  }

  /** What is known, for a request that is the next to be called. */
  factsFor({ endpoint, model }: Pick<QueueGroup, 'endpoint' | 'model'>, ahead = 0): LadderFacts {
    const now = this.#context.clock.now()
    return {
      nowMs: this.#context.time.now(),
      batchDurationsMs: this.#batchTimes,
      callMs: this.#knowledge.callMs('direct', now),
      flexCallMs: this.#knowledge.callMs('flex', now),
      concurrency: this.#knowledge.concurrency(model),
      flexWorks: this.#knowledge.mayUseFlex(endpoint, model),
      ahead,
    }
  }

  /** Looks at all that is pressed, if anything may be. Gives whether something is to be called now, and when to look again. */
  async look(): Promise<Look> {
    const { store, clock } = this.#context
    const leftMs = this.#nextLookAt - clock.now()
    // Most requests have no deadline: that some came in is no reason to think.
    if (leftMs > 0 && leftMs <= LOOK_MS && (await store.pressed(FAR_MS, 1)).length === 0)
      return { moved: 0, nextMs: leftMs }
    const look = await this.#lookAtAll()
    this.#nextLookAt = clock.now() + look.nextMs
    return look
  }

  async #lookAtAll(): Promise<Look> {
    this.#batchTimes = await this.#context.store.batchTimes(KEPT_TIMES)
    const waiting = await this.#lookAtQueue()
    const nextMs = Math.min(LOOK_MS, waiting.nextMs, await this.#lookAtBatches())
    return { moved: waiting.moved, nextMs: Math.max(SHORTEST_LOOK_MS, nextMs) }
  }

  async #lookAtQueue(): Promise<Look> {
    const { store } = this.#context
    const { queued } = await store.counts()
    const beforeMs = horizonMs(this.#anyFacts(), queued + this.#inFlight()) + LOOK_MS
    const told = new Set<string>()
    let ahead = this.#inFlight()
    let [moved, nextMs] = [0, LOOK_MS]
    for (let last: StoredRequest | undefined; ; ) {
      const page = await store.pressed(beforeMs, PAGE, last)
      last = page.at(-1)
      const rungs = page.map((request) => ({ request, rung: this.rungOf(request, ahead++) }))
      for (const { request, rung } of rungs) {
        nextMs = Math.min(nextMs, rung.nextLookMs)
        if (rung.unaffordable) this.#tell(request, rung.unaffordable, told)
      }
      moved += await this.#move(rungs)
      if (page.length < PAGE) break
    }
    this.#told = told
    return { moved, nextMs }
  }

  /** `ahead`: calls that go before it. */
  rungOf(request: StoredRequest, ahead = this.#inFlight()): Rung {
    const { valuer, time } = this.#context
    return chooseRung(request, this.factsFor(request, ahead), (route) =>
      fitsBudget(request, route, { valuer, nowMs: time.now() }),
    )
  }

  async #move(rungs: readonly { readonly request: StoredRequest; readonly rung: Rung }[]): Promise<number> {
    const { store, log } = this.#context
    let moved = 0
    for (const route of ['flex', 'direct'] as const) {
      const ids = rungs
        .filter(({ request, rung }) => rung.route === route && request.route !== route)
        .map(({ request }) => request.id)
      if (ids.length === 0) continue
      const gone = await store.reroute(ids, route)
      moved += gone.length
      log.info('deadline_reroute', { route, requests: gone.length, held: ids.length - gone.length })
    }
    return moved
  }

  /** Once for each request, for as long as it is so. */
  #tell({ id, route }: StoredRequest, unaffordable: Route, told: Set<string>): void {
    told.add(id)
    if (this.#told.has(id)) return
    this.#context.log.warn('deadline_unaffordable', { request: id, route, wanted: unaffordable })
  }

  async #lookAtBatches(): Promise<number> {
    let nextMs = LOOK_MS
    const told = new Set<number>()
    for (const batch of await this.#context.store.openBatches()) {
      const pressed = pressedOf(batch)
      if (!pressed) continue
      const rung = batchRung(pressed, this.factsFor(batch, this.#inFlight()))
      nextMs = Math.min(nextMs, rung.nextLookMs)
      if (rung.isToBeCancelled) await this.#callBack(batch, told)
    }
    this.#toldBatches = told
    return nextMs
  }

  async #callBack(batch: GatewayBatch, told: Set<number>): Promise<void> {
    const { store, log } = this.#context
    const { number, live } = batch
    if (await this.#hasClimbers(batch)) {
      await store.askCancel(number, 'deadline')
      log.info('deadline_cancel', { batch: number, requests: live })
      return
    }
    told.add(number)
    if (!this.#toldBatches.has(number)) log.warn('deadline_unaffordable', { batch: number, requests: live })
  }

  /** Whether any of its requests would be called by itself: a batch of those that cannot is the best there is for them. */
  async #hasClimbers({ number, tenant }: GatewayBatch): Promise<boolean> {
    const { store } = this.#context
    const room = await this.#roomOf(tenant)
    const ids = await store.waitingFor(number)
    for (let at = 0; at < ids.length; at += PAGE) {
      const requests = await store.requests(ids.slice(at, at + PAGE))
      if (requests.some((request) => this.#climbs(request, room))) return true
    }
    return false
  }

  /** What a tenant may still spend or set aside, in nano-USD. */
  async #roomOf(name: string): Promise<number> {
    const tenant = (await this.#context.store.tenants()).find((one) => one.name === name)
    if (tenant?.maxNanoUsd === undefined) return Number.POSITIVE_INFINITY
    return tenant.maxNanoUsd - tenant.spentNanoUsd - tenant.reservedNanoUsd
  }

  #climbs(request: StoredRequest, roomNanoUsd: number): boolean {
    const { valuer, time } = this.#context
    const { route } = this.rungOf({ ...request, route: 'batch' })
    if (route === 'batch') return false
    const { model, tokens, reservedNanoUsd } = request
    const most = valuer.mostNanoUsd(model, route, tokens, time.now()) ?? 0
    return most - reservedNanoUsd <= roomNanoUsd
  }

  #anyFacts(): LadderFacts {
    return this.factsFor({ endpoint: '/v1/chat/completions', model: '' })
  }
}

/** Undefined for a batch that no deadline presses, or that is over anyway. */
function pressedOf(batch: GatewayBatch): PressedBatch | undefined {
  const { number, phase, cancel, deadlineAt, live, createdAt } = batch
  if (deadlineAt === undefined || cancel !== undefined || live === 0) return undefined
  if (phase === 'ended' || phase === 'done') return undefined
  const { completed = 0, failed = 0 } = countsOf(batch.remote)
  return { id: number, deadlineAt, sinceMs: createdAt, total: batch.requests, completed: completed + failed }
}

const countsOf = (remote: string | undefined): { completed?: number; failed?: number } => {
  const batch = remote === undefined ? undefined : batchSchema.safeParse(parsedJson(remote)).data
  return batch?.request_counts ?? {}
}
