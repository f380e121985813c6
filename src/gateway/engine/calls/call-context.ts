import type { RemoteApi } from '../../../batch/remote-api.ts'
import type { Clock } from '../../../util/clock.ts'
import type { Log } from '../../log.ts'
import type { GatewaySettings } from '../../settings.ts'
import type { GatewayStore } from '../../store/store.ts'
import type { Valuer } from '../money/valuer.ts'
import type { StoreTime } from '../store-time.ts'

/** What the parts that call work with. */
export interface CallContext {
  readonly store: GatewayStore
  readonly api: RemoteApi
  readonly settings: Pick<GatewaySettings, 'callConcurrency' | 'maxAttempts' | 'requestTimeoutMs'>
  readonly clock: Clock
  readonly time: StoreTime
  readonly log: Log
  readonly replica: string
  readonly valuer: Valuer
}
