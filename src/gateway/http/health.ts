import { NightshiftError } from '../../errors.ts'
import type { Clock } from '../../util/clock.ts'
import { VERSION } from '../../util/version.ts'
import { jsonReply, type Reply } from './reply.ts'

/** Where a gateway is in its life: `starting -> ready -> stopping`. */
export type Phase = 'starting' | 'ready' | 'stopping'

export interface HealthFacts {
  readonly phase: Phase
  /** Asks the store for something small. */
  readonly askStore: () => Promise<unknown>
  readonly clock: Clock
}

const PATIENCE_MS = 2000

/** Whether calls are served: 200, or 503 with the reason. */
export async function healthReply({ phase, askStore, clock }: HealthFacts): Promise<Reply> {
  const store = await storeHealth(askStore, clock)
  const isWell = phase === 'ready' && store === 'ok'
  const status = isWell ? 'ok' : phase === 'ready' ? 'unavailable' : phase
  return jsonReply(isWell ? 200 : 503, JSON.stringify({ status, store, version: VERSION }))
}

async function storeHealth(askStore: () => Promise<unknown>, clock: Clock): Promise<string> {
  const ending = new AbortController()
  const late = clock.sleep(PATIENCE_MS, ending.signal, { background: true }).then(() => 'does not answer')
  const asked = askStore().then(
    () => 'ok',
    // Without its words: they may name a host, and anybody may ask.
    (error: unknown) => (NightshiftError.is(error) ? error.code : 'failed'),
  )
  try {
    return await Promise.race([asked, late])
  } finally {
    ending.abort()
  }
}
