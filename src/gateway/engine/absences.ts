import type { RemoteApi } from '../../batch/remote-api.ts'
import type { GatewayBatch } from '../domain/batch.ts'
import { isTagOf } from './attempt.ts'
import type { EngineContext } from './context.ts'

/** A batch is over a day after it began, whatever became of it. */
const WINDOW_MS = 25 * 3_600_000
/** A server that says of a batch of its own that there is none may still change its mind for so long. */
const LEAST_MS = 10 * 60_000

/** After so long without another such answer the first says nothing any more: somebody else may have seen the batch. */
const GAP_MS = 5 * 60_000

/** The server said it of a batch, first and last, in milliseconds since 1970. */
interface Absence {
  readonly sinceMs: number
  readonly lastMs: number
}

type Knows = Pick<EngineContext, 'time' | 'settings'> & { readonly api: Pick<RemoteApi, 'fingerprint'> }

/** Batches that the server says it does not know, and since when, as far as this process has seen. */
export class Absences {
  readonly #context: Knows
  readonly #absences = new Map<number, Absence>()

  constructor(context: Knows) {
    this.#context = context
  }

  /**
   * Notes one more such answer. True when the batch is to be given up. One that another account made is there, and comes
   * back with that account's key: it is given up only when it must be over.
   */
  isLasting(batch: Absent): boolean {
    const { time, settings, api } = this.#context
    const now = time.now()
    const before = this.#absences.get(batch.number)
    const sinceMs = before && now - before.lastMs <= GAP_MS ? before.sinceMs : now
    this.#absences.set(batch.number, { sinceMs, lastMs: now })
    if (isForeign(batch, api.fingerprint)) return isOver(batch, now)
    return now - sinceMs >= Math.max(LEAST_MS, settings.createGraceMs)
  }

  /** It is there after all. */
  end(number: number): void {
    this.#absences.delete(number)
  }
}

type Absent = Pick<GatewayBatch, 'number' | 'tag' | 'phaseAt'>

/** Another account made it: what this one does not have is there, perhaps. */
export const isForeign = ({ tag = '' }: Pick<GatewayBatch, 'tag'>, fingerprint: string): boolean =>
  !isTagOf(tag, fingerprint)

/** Whatever there was of it must be over. */
export const isOver = ({ phaseAt }: Pick<GatewayBatch, 'phaseAt'>, nowMs: number): boolean =>
  nowMs - phaseAt >= WINDOW_MS
