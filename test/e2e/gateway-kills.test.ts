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

const STRIKES: readonly Strike[] = [
  gateway(0, 20, 'POST /v1/batches$', 'late'),
  { kind: 'database', atCall: 45, afterMs: 0, downMs: 500 },
  gateway(1, 90, 'POST /v1/files$', 'in-upload'),
  gateway(0, 110),
  { ...gateway(1, 110), afterMs: 100 },
]
const REQUESTS = 150

test('two gateways that are killed, as is their database, lose nothing and send nothing twice', {
  timeout: 120_000,
}, async () => {
  await using folder = await temporaryFolder()
  const killed = await killGateways({
    store: 'postgres',
    requests: REQUESTS,
    strikes: STRIKES,
    folder: folder.path,
    gapMs: 40,
    // Those that a kill cuts off are made again after a minute.
    hasCalls: false,
    say: () => undefined,
  })
  const { answered, refused, lines } = killed.figures
  expect(killed.violations).toEqual([])
  expect([killed.kills, killed.databaseKills]).toEqual([4, 1])
  expect([answered + refused, lines]).toEqual([REQUESTS, REQUESTS])
})
