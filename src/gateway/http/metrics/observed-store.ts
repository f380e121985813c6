import type { Outcome } from '../../domain/request.ts'
import type { Valuer } from '../../engine/money/valuer.ts'
import type { GatewayStore } from '../../store/store.ts'
import type { Ended } from './metrics.ts'

export interface StoreObserver {
  readonly onEnded: (ended: Ended) => void
  readonly valuer: Pick<Valuer, 'directNanoUsd'>
  readonly now: () => number
}

/** The same store; what is put on record of requests that end is told. */
export function observedStore(store: GatewayStore, { onEnded, valuer, now }: StoreObserver): GatewayStore {
  /** Models of the batches and calls in hand: an outcome does not name its own. */
  const models = new Map<number | string, string>()
  /** Calls in hand whose requests were cancelled, which is what they ended as. */
  const cancelled = new Set<string>()
  const tell = (outcome: Outcome, model: string | undefined): void => {
    if (outcome.kind !== 'ended') return
    const { ending, route, usage, costNanoUsd } = outcome
    const directNanoUsd =
      model === undefined || !usage ? undefined : valuer.directNanoUsd(model, usage, now())
    onEnded({ ending, route, costNanoUsd, directNanoUsd })
  }
  const tellOf = (
    settled: readonly string[],
    outcomes: readonly Outcome[],
    model: string | undefined,
  ): void => {
    const ids = new Set(settled)
    for (const outcome of outcomes) if (ids.has(outcome.id)) tell(outcome, model)
  }
  return {
    ...store,
    claim: async (batch, replica, leaseMs) => {
      const claimed = await store.claim(batch, replica, leaseMs)
      if (claimed) models.set(batch, claimed.batch.model)
      return claimed
    },
    release: (batch, epoch, nextAt) => {
      models.delete(batch)
      return store.release(batch, epoch, nextAt)
    },
    settle: async (batch, epoch, outcomes) => {
      const settled = await store.settle(batch, epoch, outcomes)
      if (settled) tellOf(settled, outcomes, models.get(batch))
      return settled
    },
    settleStray: async (tag, outcomes) => {
      const settled = await store.settleStray(tag, outcomes)
      tellOf(settled, outcomes, undefined)
      return settled
    },
    takeCalls: async (...given) => {
      const taken = await store.takeCalls(...given)
      for (const { request } of taken) models.set(request.id, request.model)
      return taken
    },
    settleCall: async (epoch, outcome) => {
      const isSettled = await store.settleCall(epoch, outcome)
      if (isSettled && !cancelled.delete(outcome.id)) tell(outcome, models.get(outcome.id))
      models.delete(outcome.id)
      return isSettled
    },
    cancelRequest: async (id, tenant, answer) => {
      const end = await store.cancelRequest(id, tenant, answer)
      if (end !== 'ended' && end !== 'sent') return end
      if (models.has(id)) cancelled.add(id)
      const { route = 'batch' } = (await store.request(id, tenant)) ?? {}
      onEnded({ ending: 'cancelled', route, costNanoUsd: undefined, directNanoUsd: undefined })
      return end
    },
  }
}
