import { expect, test } from 'vitest'
import { killGateways } from '../kill/gateway/campaign.ts'
import type { Strike } from '../kill/gateway/strikes.ts'
import type { Moment } from '../support/emulator-messages.ts'
import { temporaryFolder } from '../support/folder.ts'

/** Some of the kills of `npm run test:kill -- --gateway`, among fewer calls. */
const gateway = (
  victim: number,
  atCall: number,
  request?: string,
  when: Moment['when'] = 'after',
): Strike => ({
  kind: 'replica',
  victim,
  atCall,
  afterMs: 0,
  downMs: 200,
  moment: request === undefined ? undefined : { request, when, nth: 1, lateMs: 300 },
})

const TWO: readonly Strike[] = [
  gateway(0, 20, 'POST /v1/batches$', 'late'),
  { kind: 'database', atCall: 45, afterMs: 0, downMs: 500 },
  gateway(1, 90, 'POST /v1/files$', 'in-upload'),
  gateway(0, 110),
  { ...gateway(1, 110), afterMs: 100 },
]
const ONE: readonly Strike[] = [
  gateway(0, 15, 'POST /v1/batches$', 'in-reply'),
  gateway(0, 40, 'GET /v1/files/:id/content$', 'in-reply'),
]

test.concurrent.each([
  { store: 'postgres' as const, requests: 150, strikes: TWO, kills: 4, databaseKills: 1 },
  { store: 'sqlite' as const, requests: 60, strikes: ONE, kills: 2, databaseKills: 0 },
])(
  'gateways on $store that are killed, as is their database, lose nothing and send nothing twice',
  {
    timeout: 120_000,
  },
  async ({ store, requests, strikes, kills, databaseKills }) => {
    await using folder = await temporaryFolder()
    const killed = await killGateways({
      store,
      requests,
      strikes,
      folder: folder.path,
      gapMs: 40,
      // Those that a kill cuts off are made again after a minute.
      hasCalls: false,
      say: () => undefined,
    })
    const { answered, refused, lines } = killed.figures
    expect(killed.violations).toEqual([])
    expect([killed.kills, killed.databaseKills]).toEqual([kills, databaseKills])
    expect([answered + refused, lines]).toEqual([requests, requests])
  },
)
