import type { TokenForecast } from '../../tokens/forecast.ts'
import type { GatewayBatch } from '../domain/batch.ts'
import type { QueueGroup, Route } from '../domain/request.ts'

/** A request that was put on record. What is known of its size lets a full batch go before its window ends. */
export interface Arrived extends QueueGroup {
  /** Bytes of its line. */
  readonly lineBytes?: number
  readonly tokens?: Pick<TokenForecast, 'input'>
  /** Absent: any, or several. */
  readonly route?: Route
}

/** What the HTTP side asks of the part that does the work. */
export interface Engine {
  /** These requests, or some of these groups, were put on record: their windows begin, or they go out by themselves. Never throws. */
  arrived(requests: readonly Arrived[]): void
  /** Cuts what waits, of one tenant or of all, without waiting for windows. Gives how many batches. */
  flush(tenant: string | undefined): Promise<number>
  /** The batch as the server has it now; as it was last seen when the server cannot be asked. Undefined: no such batch of this tenant. */
  look(tenant: string, batchId: string): Promise<GatewayBatch | undefined>
  /** Cancels a batch for its caller. Throws RemoteError for what the server refuses. Undefined: no such batch of this tenant. */
  cancel(tenant: string, batchId: string): Promise<GatewayBatch | undefined>
  /** Begins to work; resolves when what was left by an earlier process has been taken up. */
  start(): Promise<void>
  /** Takes up nothing new, lets commits finish, and resolves. */
  close(): Promise<void>
}
