import { MAX_EMBEDDING_INPUTS } from '../../batch/embedding-inputs.ts'
import { assertNever } from '../../util/exhaustive.ts'
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
    if (now >= this.#plannedAt) {
      this.#plannedAt = now + settings.windowMs
      jobs.plan({ kind: 'cut' }, this.#plannedAt)
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
      await this.#cutAll(() => true, false)
      await this.#planNext()
    })
  }

  /** Cuts what waits without waiting for windows. Gives how many batches. */
  flush(tenant: string | undefined): Promise<number> {
    const isMeant = (load: QueueLoad) => tenant === undefined || load.tenant === tenant
    return this.#inTurn(() => this.#cutAll(isMeant, true))
  }

  /** One batch of each group that is due at a time, until none is. Gives how many. */
  async #cutAll(isMeant: (load: QueueLoad) => boolean, isFlush: boolean): Promise<number> {
    const { store, stop } = this.#context
    this.#arrived.clear()
    let batches = 0
    for (let more = true; more && !stop.aborted; ) {
      more = false
      for (const load of (await store.loads()).filter(isMeant)) {
        const cut = await this.#cut(load, isFlush)
        if (!cut) continue
        more = true
        batches++
      }
    }
    return batches
  }

  /** Whether a batch was made of the group, be it to be sent directly. */
  async #cut(load: QueueLoad, isFlush: boolean): Promise<boolean> {
    const { settings, time } = this.#context
    const { windowMs, directBelow } = settings
    const limits = this.#limitsOf(load)
    const decision = cutDecision(load, { nowMs: time.now(), windowMs, limits, directBelow, isFlush })
    switch (decision.do) {
      case 'wait':
        return false
      case 'cut':
        return (await this.#batchOf(load, limits)) !== undefined
      case 'direct':
        return this.#sendDirectly(load, limits)
      default:
        return assertNever(decision)
    }
  }

  async #batchOf(group: QueueGroup, limits: CutLimits): Promise<GatewayBatch | undefined> {
    const { store, jobs, time, log } = this.#context
    const { tenant, endpoint, model, hasDeadline } = group
    const batch = await store.cut({ tenant, endpoint, model, hasDeadline }, limits)
    if (!batch) return undefined
    const { number, requests, bytes, tokens } = batch
    log.info('batch_cut', { batch: number, endpoint, model, requests, bytes, tokens })
    jobs.plan({ kind: 'submit', batch: number }, time.now())
    return batch
  }

  /** Few requests go out by themselves, but for those that may only be batched. */
  async #sendDirectly(group: QueueGroup, limits: CutLimits): Promise<boolean> {
    const { store, time, calls } = this.#context
    const batch = await this.#batchOf(group, limits)
    const claim = batch && (await this.#claims.take(batch.number))
    if (!claim) return batch !== undefined
    try {
      await settleWaiting(store, claim, (request) => this.#directly(request))
      if ((await store.waitingFor(claim.number)).length === 0) await claim.change({ phase: 'done' })
    } finally {
      await this.#claims.release(claim, time.now())
    }
    calls.arrived()
    return true
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
