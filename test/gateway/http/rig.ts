import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Engine } from '../../../src/gateway/engine/engine.ts'
import { createFront, type Front, type FrontWriter } from '../../../src/gateway/http/front.ts'
import { listen } from '../../../src/gateway/http/listen.ts'
import { Metrics } from '../../../src/gateway/http/metrics/metrics.ts'
import { silentLog } from '../../../src/gateway/log.ts'
import type { GatewaySettings } from '../../../src/gateway/settings.ts'
import { openStore } from '../../../src/gateway/store/open-store.ts'
import type { GatewayStore } from '../../../src/gateway/store/store.ts'
import { type Clock, systemClock } from '../../../src/util/clock.ts'
import { Secret } from '../../../src/util/secret.ts'

export const settingsFor = (dataDir: string, over: Partial<GatewaySettings> = {}): GatewaySettings => ({
  store: { kind: 'sqlite', dataDir },
  upstream: { apiKey: new Secret('sk-upstream'), baseUrl: undefined, organization: undefined, project: undefined, fetch: undefined },
  access: { kind: 'open', why: 'trusted' },
  mode: 'sync', windowMs: 5, maxBatchRequests: 50_000, maxBatchBytes: 200_000_000, maxBatchTokens: 1e9,
  pollMinMs: 10, pollMaxMs: 100, directBelow: 0, cacheMs: 0, claimMs: 86_400_000, maxHoldMs: 600_000, heartbeatMs: 15_000,
  maxBodyBytes: 10_000_000, maxQueued: 100_000, callConcurrency: 8, maxAttempts: 3, maxExpiries: 3, requestTimeoutMs: 60_000,
  createGraceMs: 10, retentionMs: 86_400_000, webhookSecret: undefined,
  ...over,
})

export async function rig(over: Partial<GatewaySettings> = {}, clock: Clock = systemClock) {
  const dataDir = await mkdtemp(join(tmpdir(), 'gw-http-'))
  const store: GatewayStore = await openStore({ kind: 'sqlite', dataDir, serve: true }, clock)
  const settings = settingsFor(dataDir, over)
  await store.heartbeat('rep_1', 60_000)
  const writer: FrontWriter = {
    accept: async (one) => { const [a] = await store.accept([one], { maxQueued: settings.maxQueued }); if (!a) throw new Error('none'); return a },
    letGo: (id) => store.letGo([id], 'rep_1'),
    delivered: (id) => store.delivered([id]),
  }
  const engine: Engine = {
    arrived: () => undefined, flush: async () => 0, look: (t, id) => store.batchByRemoteId(id, t),
    cancel: (t, id) => store.batchByRemoteId(id, t), start: async () => undefined, close: async () => undefined,
  }
  const front: Front = createFront({ settings, store, writer, engine, metrics: new Metrics(), replica: 'rep_1', clock, log: silentLog,
    advice: { route: () => 'batch', mostNanoUsd: () => 0 } })
  front.open()
  const answerAll = async (body: (id: string) => { status?: number; body: unknown }) => {
    for (const load of await store.loads()) {
      const batch = await store.cut(load, { requests: 1000, bytes: 1e9, tokens: 1e9, inputs: 1e9 })
      if (!batch) continue
      const claimed = await store.claim(batch.number, 'rep_1', 1000)
      if (!claimed) throw new Error('no claim')
      const ids = await store.waitingFor(batch.number)
      await store.settle(batch.number, claimed.epoch, ids.map((id) => { const r = body(id); const status = r.status ?? 200
        return { kind: 'ended' as const, id, ending: status < 300 ? 'succeeded' as const : 'failed' as const, status, body: JSON.stringify(r.body), route: 'batch' as const } }))
    }
  }
  return { dataDir, store, settings, front, app: front.app, answerAll, listen: (port = 0) => listen(front.app, { port }),
    close: async () => { front.stop(); await front.close(); await store.close(); await rm(dataDir, { recursive: true }) } }
}
