import { expect, test } from 'vitest'
import { HoldCheck } from '../../../src/gateway/http/waiting/hold-check.ts'
import { silentLog } from '../../../src/gateway/log.ts'
import { openStore } from '../../../src/gateway/store/open-store.ts'
import { temporaryFolder } from '../../support/folder.ts'
import { arrivalOf, LONG_MS, NO_LIMITS } from '../../support/gateway-stores.ts'
import { VirtualClock } from '../../support/virtual-clock.ts'

const REPLICA = 'rep_1'
const HELD = { mode: 'sync', holder: REPLICA } as const

async function openCheck() {
  const folder = await temporaryFolder()
  const clock = new VirtualClock()
  const store = await openStore({ kind: 'sqlite', dataDir: folder.path, serve: true }, clock)
  await store.heartbeat(REPLICA, LONG_MS)
  const awaited = new Set<string>()
  const state = { isAway: false }
  const check = new HoldCheck({
    held: () => (state.isAway ? Promise.reject(new Error('away')) : store.heldBy(REPLICA)),
    isAwaited: (id) => awaited.has(id),
    release: (id) => void store.letGo([id], REPLICA),
    clock,
    log: silentLog,
  })
  const hold = (id: string, holder = REPLICA) =>
    store.accept([arrivalOf({ id, fingerprint: id, ...HELD, holder })], NO_LIMITS)
  return {
    clock,
    store,
    awaited,
    state,
    check,
    hold,
    held: async () => [...(await store.heldBy(REPLICA))].sort(),
    [Symbol.asyncDispose]: async () => {
      check.close()
      await store.close()
      await folder[Symbol.asyncDispose]()
    },
  }
}

test('what is held for nobody after a doubt is let go of, at the second look; what is waited for is not', async () => {
  await using world = await openCheck()
  await world.store.heartbeat('rep_2', LONG_MS)
  for (const id of ['req_lost', 'req_awaited', 'req_late']) await world.hold(id)
  await world.hold('req_others', 'rep_2')
  world.awaited.add('req_awaited')
  world.check.doubt()
  await world.clock.sleep(6000)
  expect(await world.held()).toEqual(['req_awaited', 'req_late', 'req_lost'])
  world.awaited.add('req_late')
  await world.clock.sleep(6000)
  expect(await world.held()).toEqual(['req_awaited', 'req_late'])
  expect(await world.store.heldBy('rep_2')).toEqual(['req_others'])
})

test('without a doubt nothing is looked at, and one while the store is away is looked at when it is back', async () => {
  await using world = await openCheck()
  await world.hold('req_lost')
  await world.clock.sleep(60_000)
  expect(await world.held()).toEqual(['req_lost'])
  world.state.isAway = true
  world.check.doubt()
  await world.clock.sleep(60_000)
  world.state.isAway = false
  await world.clock.sleep(12_000)
  expect(await world.held()).toEqual([])
})
