import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { prepareBody } from '../../../src/gateway/body/prepare-body.ts'
import { ROUTES } from '../../../src/gateway/domain/request.ts'
import { createValuer } from '../../../src/gateway/engine/money/valuer.ts'
import { openStore } from '../../../src/gateway/store/open-store.ts'
import { systemClock } from '../../../src/util/clock.ts'
import { moneyOf } from '../../support/gateway-stores.ts'
import { ask, chat, openRig, type Rig } from './rig.ts'

const QUESTION = chat('now', { max_completion_tokens: 100 })
const NEAR = { 'x-nightshift-deadline': '60' }

/** The most that the question can cost, in nano-USD. */
const MOST = (() => {
  const bytes = Buffer.from(JSON.stringify(QUESTION))
  const prepared = prepareBody('/v1/chat/completions', bytes, { id: 'req_1', refusedModels: new Map() })
  if (prepared.kind !== 'prepared') throw new Error('it should be fine')
  const { model, tokens } = prepared
  const [batch = 0, , direct = 0] = ROUTES.map((route) =>
    createValuer().mostNanoUsd(model, route, tokens, Date.now()),
  )
  return { batch, direct }
})()

const usd = (nano: number) => (nano / 1e9).toFixed(9)

/** A gateway whose tenant may spend so much, in nano-USD. */
async function openLimited(maxNanoUsd: number): Promise<Rig> {
  const dataDir = await mkdtemp(join(tmpdir(), 'nightshift-gateway-'))
  const store = await openStore({ kind: 'sqlite', dataDir, serve: false }, systemClock)
  await store.putTenant({ name: 'default', maxNanoUsd, callsPerMinute: undefined })
  await store.close()
  const rig = await openRig({ dataDir })
  const dispose = async () => {
    await rig[Symbol.asyncDispose]()
    await rm(dataDir, { recursive: true, force: true })
  }
  return { ...rig, [Symbol.asyncDispose]: dispose }
}

async function moneyIn({ dataDir }: Rig) {
  const store = await openStore({ kind: 'sqlite', dataDir, serve: false }, systemClock)
  const money = await moneyOf(store)
  await store.close()
  return money
}

const routeOf = (response: Response) => response.headers.get('x-nightshift-route')

describe('a call whose deadline leaves time for nothing else', () => {
  test('is made directly at once', async () => {
    // A batch would not even be made for an hour.
    await using rig = await openRig({ settings: { windowMs: 3_600_000 } })
    const response = await ask(rig, QUESTION, { headers: NEAR })
    expect([response.status, routeOf(response)]).toEqual([200, 'direct'])
    const { spent, reserved } = await moneyIn(rig)
    expect(reserved).toBe(0)
    expect(spent).toBeGreaterThan(0)
    expect(spent).toBeLessThanOrEqual(MOST.direct)
  })

  test('goes by batch when its caller does not let it cost that much', async () => {
    await using rig = await openRig()
    const headers = { ...NEAR, 'x-nightshift-max-cost': usd(MOST.direct - 1) }
    const response = await ask(rig, QUESTION, { headers })
    expect([response.status, routeOf(response)]).toEqual([200, 'batch'])
  })

  test('goes by batch when its tenant has no more than that costs, and is refused when it has less', async () => {
    await using rig = await openLimited(MOST.direct - 1)
    const queued = await ask(rig, QUESTION, { headers: { ...NEAR, 'x-nightshift-mode': 'async' } })
    expect([queued.status, routeOf(queued)]).toEqual([202, 'batch'])
    const response = await ask(rig, QUESTION, { headers: NEAR })
    expect([response.status, routeOf(response)]).toEqual([200, 'batch'])
    expect((await moneyIn(rig)).spent).toBeLessThanOrEqual(MOST.batch)
    await using poor = await openLimited(MOST.batch - 1)
    expect((await ask(poor, QUESTION, { headers: NEAR })).status).toBe(429)
    expect(await moneyIn(poor)).toEqual({ spent: 0, reserved: 0 })
  })
})
