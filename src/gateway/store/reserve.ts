import type { Route } from '../domain/request.ts'

/** What is known of the most that a request can be charged, in nano-USD: by batch, and called by itself. */
export interface Ceilings {
  readonly mostNanoUsd: number | undefined
  readonly mostDirectlyNanoUsd?: number | undefined
}

/** What is set aside for a request on a route; 0 when nobody can say what it may cost, which only tenants without a limit may send. */
export const reserveFor = (route: Route, { mostNanoUsd = 0, mostDirectlyNanoUsd }: Ceilings): number =>
  route === 'batch' ? mostNanoUsd : (mostDirectlyNanoUsd ?? mostNanoUsd)
