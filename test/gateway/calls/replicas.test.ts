import { expect, test } from 'vitest'
import { createEmulator } from '../../../src/emulator/index.ts'
import { createCalls } from '../../../src/gateway/engine/calls/calls.ts'
import { StoreTime } from '../../../src/gateway/engine/store-time.ts'
import { silentLog } from '../../../src/gateway/log.ts'
import type { GatewayStore } from '../../../src/gateway/store/store.ts'
import { OpenAIRemoteApi } from '../../../src/openai/remote-api.ts'
import { systemClock } from '../../../src/util/clock.ts'
import { accepted, describeStores, moneyOf } from '../../support/gateway-stores.ts'
import { BASE_URL } from '../engine/world.ts'
import { MOST, priced, valuer } from './call-world.ts'

const settings = { callConcurrency: 4, maxAttempts: 3, requestTimeoutMs: 10_000 }

/** Resolves when all of these are done. */
async function allDone(store: GatewayStore, ids: readonly string[]): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  const look = async () => {
    if ((await store.finishedAmong(ids)).length === ids.length) resolve()
  }
  const unsubscribe = store.onDone(() => void look())
  await look()
  await promise
  unsubscribe()
}

describeStores('replicas that call', ({ newWorld, kind }) => {
  test('each request is called once, whoever does it, and paid for once', async () => {
    await using world = await newWorld()
    const first = await world.open(systemClock)
    // A folder has one server; a database has several.
    const stores = kind === 'sqlite' ? [first, first] : [first, await world.open(systemClock)]
    let calls = 0
    const emulator = createEmulator({ answer: () => `${++calls}` })
    const fetch = (input: string | URL | Request, init?: RequestInit) => emulator.fetch(input, init)
    const api = new OpenAIRemoteApi({ apiKey: 'sk-test', baseURL: BASE_URL, fetch, timeoutMs: 10_000 })
    const ids = await accepted(first, ...Array.from({ length: 60 }, () => priced()))
    const runners = stores.map((store, index) =>
      createCalls({
        ...{ store, api, settings, clock: systemClock, log: silentLog, replica: `rep_${index}`, valuer },
        time: new StoreTime(store, systemClock),
      }),
    )
    for (const runner of runners) runner.start()
    await allDone(first, ids)
    await Promise.all(runners.map((runner) => runner.close()))
    await emulator.close()
    expect(calls).toBe(60)
    const requests = await first.requests(ids)
    expect(requests.every(({ ending, attempts }) => ending === 'succeeded' && attempts === 0)).toBe(true)
    const spent = requests.reduce((sum, { costNanoUsd = 0 }) => sum + costNanoUsd, 0)
    expect(await moneyOf(first)).toEqual({ spent, reserved: 0 })
    expect(spent).toBeLessThan(60 * MOST.direct)
  })
})
