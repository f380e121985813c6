import type { Route, StoredRequest } from '../domain/request.ts'

/** Which way a request goes on whose batch was called back for its deadline. */
export type Ladder = (request: StoredRequest, nowMs: number) => Route

/** Who makes flex and direct calls. */
export interface CallRunner {
  /** Begins to work. */
  start(): void
  /** There may be requests to call. Never throws, and costs little however often it is called. */
  arrived(): void
  /** Begins no more calls; resolves when what became of those on the wire is on record. */
  close(): Promise<void>
  /** Default: directly, but for requests that may only be batched. */
  readonly routeOf?: Ladder
}

/** For gateways that call nothing. */
export const noCalls: CallRunner = {
  start: () => undefined,
  arrived: () => undefined,
  close: () => Promise.resolve(),
}
