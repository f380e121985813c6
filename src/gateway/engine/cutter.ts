import { MAX_EMBEDDING_INPUTS } from '../../batch/embedding-inputs.ts'
import type { CutLimits, GatewayBatch, QueueLoad } from '../domain/batch.ts'
import type { Outcome, QueueGroup, StoredRequest } from '../domain/request.ts'
import { settleWaiting } from './batch-requests.ts'
import { fitsBudget } from './calls/budget.ts'
import type { Claims } from './claims.ts'
import type { EngineContext } from './context.ts'
import { cutDecision, isFull } from './cut-decision.ts'
import type { Arrived } from './engine.ts'

type Sums = Pick<QueueLoad, 'requests' | 'bytes' | 'tokens'>

/** Makes batches of what waits. */
export class Cutter {
  readonly #context: EngineContext
  readonly #claims: Claims
  /** What has come since the last cut, by group, as far as this process knows. */
  readonly #arrived = new Map<string, Sums>()
  /** When the next cut is planned by this process, in milliseconds since 1970. */
  #plannedAt = 0
  #running: Promise<unknown> = Promise.resolve()

  constructor(context: EngineContext, claims: Claims) {
    this.#context = context
    this.#claims = claims
  }

  /** Requests were put on record: their windows begin. */
  arrived(requests: readonly Arrived[]): void {
    const { time, settings, jobs } = this.#context
    const now = time.now()
    const endsAt = now + settings.windowMs
    // What is planned for later is for others, which are put off until then.
    if (now >= this.#plannedAt || endsAt < this.#plannedAt) {
      this.#plannedAt = endsAt
      jobs.plan({ kind: 'cut' }, endsAt)
    }
    for (const request of requests) if (this.#fills(request)) jobs.plan({ kind: 'cut' }, now)
  }

  #fills(request: Arrived): boolean {
    const { lineBytes = 0, tokens } = request
    const key = groupKey(request)
    const before = this.#arrived.get(key) ?? { requests: 0, bytes: 0, tokens: 0 }
    const sums = {
      requests: before.requests + 1,
      bytes: before.bytes + lineBytes,
      tokens: before.tokens + (tokens?.input ?? 0),
    }
    this.#arrived.set(key, sums)
    return isFull(sums, this.#limitsOf(request)) && !isFull(before, this.#limitsOf(request))
  }

  /** Cuts what is due, and plans the next cut. */
  run(): Promise<void> {
    return this.#inTurn(async () => {
      await this.#cutDue()
      await this.#planNext()
    })
  }

  /** Cuts what waits without waiting for windows. Gives how many batches. */
  flush(tenant: string | undefined): Promise<number> {
    const isMeant = (load: QueueLoad) => tenant === undefined || load.tenant === tenant
    return this.#inTurn(() => this.#cutWhatWaits(isMeant))
  }

  /** One batch of each group that is due at a time, until none is. */
  async #cutDue(): Promise<void> {
    const { store, stop } = this.#context
    this.#arrived.clear()
    for (let more = true; more && !stop.aborted; ) {
      more = false
      for (const load of await store.loads()) if (await this.#cut(load)) more = true
    }
  }

  /** One batch of each group at a time. What comes meanwhile has a window of its own: this would have no end otherwise. */
  async #cutWhatWaits(isMeant: (load: QueueLoad) => boolean): Promise<number> {
    const { store, stop } = this.#context
    let batches = 0
    let left = (await store.loads()).filter(isMeant)
    while (left.length > 0 && !stop.aborted) {
      const still: QueueLoad[] = []
      for (const load of left) {
        const limits = this.#limitsOf(load)
        const requests = Math.min(load.requests, limits.requests)
        const batch = await this.#batchOf(load, { ...limits, requests })
        if (!batch) continue
        batches++
        this.#planSubmit(batch)
        if (load.requests > batch.requests) still.push({ ...load, requests: load.requests - batch.requests })
      }
      left = still
    }
    return batches
  }

  /** Whether a batch was made of the group, be it to be sent directly. */
  async #cut(load: QueueLoad): Promise<boolean> {
    const { settings, time } = this.#context
    const { windowMs, directBelow } = settings
    const limits = this.#limitsOf(load)
    const decision = cutDecision(load, { nowMs: time.now(), windowMs, limits, directBelow })
    if (decision.do === 'wait') return false
    const batch = await this.#batchOf(load, limits)
    if (batch && decision.do === 'cut') this.#planSubmit(batch)
    if (batch && decision.do === 'direct') await this.#sendDirectly(batch, limits)
    return batch !== undefined
  }

  async #batchOf(group: QueueGroup, limits: CutLimits): Promise<GatewayBatch | undefined> {
    const { store, log } = this.#context
    const { tenant, endpoint, model, hasDeadline } = group
    const batch = await store.cut({ tenant, endpoint, model, hasDeadline }, limits)
    if (!batch) return undefined
    const { number, requests, bytes, tokens } = batch
    log.info('batch_cut', { batch: number, endpoint, model, requests, bytes, tokens })
    return batch
  }

  #planSubmit({ number }: GatewayBatch): void {
    const { jobs, time } = this.#context
    jobs.plan({ kind: 'submit', batch: number }, time.now())
  }

  /** Few requests go out by themselves, but for those that may only be batched: these stay in their batch. */
  async #sendDirectly(batch: GatewayBatch, limits: CutLimits): Promise<void> {
    const { store, time, calls } = this.#context
    const claim = await this.#claims.take(batch.number)
    if (!claim) return
    const ids = await store.waitingFor(batch.number)
    try {
      await settleWaiting(store, claim, (request) => this.#directly(request))
      if ((await store.waitingFor(batch.number)).length === 0) await claim.change({ phase: 'done' })
    } finally {
      await this.#claims.release(claim, time.now())
    }
    if (claim.batch.phase !== 'done') this.#planSubmit(batch)
    calls.arrived()
    const rest = (await this.#isBack(ids)) ? await this.#batchOf(batch, limits) : undefined
    if (rest) this.#planSubmit(rest)
  }

  /** What its tenant cannot pay for is in the queue again: it is batched now, or it would go round and round. */
  async #isBack(ids: readonly string[]): Promise<boolean> {
    const requests = await this.#context.store.requests(ids)
    return requests.some(({ state, route }) => state === 'queued' && route === 'batch')
  }

  #directly(request: StoredRequest): Outcome | undefined {
    const { time, valuer } = this.#context
    const { id, priority } = request
    const nowMs = time.now()
    if (priority === 'low' || !fitsBudget(request, 'direct', { valuer, nowMs })) return undefined
    return { kind: 'again', id, uses: 'nothing', readyAt: nowMs, route: 'direct' }
  }

  async #planNext(): Promise<void> {
    const { store, jobs, settings, time } = this.#context
    const ends = (await store.loads()).map(({ oldestAt }) => oldestAt + settings.windowMs)
    const readyAt = await store.nextReadyAt()
    const next = Math.min(...ends, readyAt ?? Number.POSITIVE_INFINITY)
    if (next === Number.POSITIVE_INFINITY) return
    this.#plannedAt = Math.max(next, time.now())
    jobs.plan({ kind: 'cut' }, this.#plannedAt)
  }

  #limitsOf({ endpoint, model }: Pick<QueueGroup, 'endpoint' | 'model'>): CutLimits {
    const { settings, enqueued } = this.#context
    const { maxBatchRequests: requests, maxBatchBytes: bytes, maxBatchTokens } = settings
    const tokens = Math.min(maxBatchTokens, enqueued.capOf(model) ?? maxBatchTokens)
    const inputs = endpoint === '/v1/embeddings' ? MAX_EMBEDDING_INPUTS : Number.MAX_SAFE_INTEGER
    return { requests, bytes, tokens, inputs }
  }

  /** One after another: two at once would make two batches where one is enough. */
  #inTurn<Result>(act: () => Promise<Result>): Promise<Result> {
    const turn = this.#running.then(act, act)
    this.#running = turn.catch(() => undefined)
    return turn
  }
}

const groupKey = ({ tenant, endpoint, model, hasDeadline }: QueueGroup): string =>
  `${endpoint} ${hasDeadline} ${model} ${tenant}`
