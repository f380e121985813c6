import { openStore, type StoreSettings } from '../../../src/gateway/store/open-store.ts'
import { systemClock } from '../../../src/util/clock.ts'

/** Accepts, batches and settles as fast as it can until it is killed; says what was acknowledged, once it was. */
const [, , text = '', name = ''] = process.argv
const settings: StoreSettings = JSON.parse(text)
const store = await openStore(settings, systemClock)
const tokens = { requests: 1, input: 9, output: 9, mostInput: 9, mostOutput: 9, longest: 9, unbounded: 0 }
const group = { tenant: 'default', endpoint: '/v1/chat/completions', model: 'm', hasDeadline: false } as const
const replica = `rep_${name}`
const say = (what: string, ids: readonly string[]) => process.stderr.write(`${what} ${ids.join(' ')}\n`)

await store.heartbeat(replica, 3_600_000)
say('ready', [])
for (let round = 0; ; round++) {
  const arrivals = Array.from({ length: 20 }, (_, place) => ({
    ...group,
    id: `req_${name}-${round}-${place}`,
    fingerprint: `${name}-${round}-${place}`,
    bodyText: `{"n":"${'x'.repeat(500)}"}`,
    lineBytes: 600,
    tokens,
    mostNanoUsd: 100,
    idempotencyKey: undefined,
    mode: 'sync' as const,
    priority: 'normal' as const,
    route: 'batch' as const,
    deadlineAt: undefined,
    maxNanoUsd: undefined,
    webhook: undefined,
    holder: replica,
    cacheMs: 0,
    claimMs: 0,
  }))
  const acceptances = await store.accept(arrivals, { maxQueued: 1e9 })
  say(
    'accepted',
    acceptances.flatMap((one) => (one.kind === 'new' ? [one.id] : [])),
  )
  const batch = await store.cut(group, { requests: 10, bytes: 1e9, tokens: 1e9, inputs: 1e9 })
  const claim = batch && (await store.claim(batch.number, replica, 3_600_000))
  if (!claim) continue
  const outcomes = (await store.waitingFor(claim.batch.number)).map((id) => ({
    kind: 'ended' as const,
    id,
    ending: 'succeeded' as const,
    status: 200,
    body: `"answer to ${id}"`,
    costNanoUsd: 10,
    route: 'batch' as const,
  }))
  say('settled', (await store.settle(claim.batch.number, claim.epoch, outcomes)) ?? [])
  await store.change(claim.batch.number, claim.epoch, { phase: 'done' })
}
