import type { Route, StoredRequest } from '../../domain/request.ts'
import type { Valuer } from '../money/valuer.ts'

/** Of a request, what its budget depends on. */
export type Budgeted = Pick<StoredRequest, 'model' | 'tokens' | 'maxNanoUsd' | 'costNanoUsd'>

/**
 * Whether its caller's limit bears the worst case on a route, with what was charged for it before. What its tenant may
 * spend is looked at by the store, when the request goes that way.
 */
export function fitsBudget(
  { model, tokens, maxNanoUsd, costNanoUsd = 0 }: Budgeted,
  route: Route,
  { valuer, nowMs }: { readonly valuer: Valuer; readonly nowMs: number },
): boolean {
  if (maxNanoUsd === undefined) return true
  const most = valuer.mostNanoUsd(model, route, tokens, nowMs)
  return most !== undefined && costNanoUsd + most <= maxNanoUsd
}
