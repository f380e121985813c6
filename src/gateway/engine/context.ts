import type { RemoteApi } from '../../batch/remote-api.ts'
import type { Clock } from '../../util/clock.ts'
import type { GatewayBatch } from '../domain/batch.ts'
import type { Log } from '../log.ts'
import type { GatewaySettings } from '../settings.ts'
import type { GatewayStore } from '../store/store.ts'
import type { CallRunner, Ladder } from './call-runner.ts'
import type { EnqueuedTokens } from './enqueued-tokens.ts'
import type { Job, Jobs } from './jobs.ts'
import type { Valuer } from './money/valuer.ts'
import type { Spool } from './spool.ts'
import type { StoreTime } from './store-time.ts'
import type { Troubles } from './troubles.ts'

/** What the parts of the engine work with. */
export interface EngineContext {
  readonly store: GatewayStore
  readonly api: RemoteApi
  readonly settings: GatewaySettings
  readonly clock: Clock
  readonly time: StoreTime
  readonly log: Log
  readonly replica: string
  readonly jobs: Jobs
  readonly calls: CallRunner
  readonly spool: Spool
  readonly enqueued: EnqueuedTokens
  readonly valuer: Valuer
  readonly troubles: Troubles
  readonly ladder: Ladder
  /** Nothing new is begun, and whatever can be broken off ends. */
  readonly stop: AbortSignal
  /** Calls that had better be waited for are given up, too. */
  readonly cut: AbortSignal
}

/** The work that a batch is in line for; undefined when there is none. */
export function jobOf({ number, phase }: Pick<GatewayBatch, 'number' | 'phase'>): Job | undefined {
  if (phase === 'done') return undefined
  const kind = phase === 'remote' ? 'poll' : phase === 'ended' ? 'collect' : 'submit'
  return { kind, batch: number }
}
