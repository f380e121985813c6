import { setImmediate } from 'node:timers/promises'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { GatewayStore } from '../../../src/gateway/store/store.ts'
import { describeStores, type StoreWorld } from '../../support/gateway-stores.ts'
import { expectSoundBooks } from './books.ts'
import { History, type Step, step } from './histories.ts'

describeStores('whatever two replicas do', (rig) => {
  test('the books are sound at every commit, and every request ends once', { timeout: 240_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 30, maxLength: 80 }), async (steps) => {
        await using world = await rig.newWorld()
        const history = await begun(world)
        for (const one of steps) {
          await history.run(one)
          await expectSoundBooks(world.settings, history.strayed)
        }
        await expectSameEnds(history)
      }),
      { numRuns: rig.kind === 'sqlite' ? 40 : 5 },
    )
  })

  test('also when they do it at the same time', { timeout: 240_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 60, maxLength: 150 }), async (steps) => {
        await using world = await rig.newWorld()
        // One thread cannot wait for a lock that it holds itself: on SQLite they share the connection, as in a gateway.
        const history = await begun(world, rig.kind === 'sqlite' ? await world.open() : undefined)
        const runs = [inTurn(history, steps, 0), inTurn(history, steps, 1)]
        let isOver = false
        const over = Promise.all(runs).finally(() => {
          isOver = true
        })
        while (!isOver) {
          await expectSoundBooks(world.settings, history.strayed)
          await setImmediate()
        }
        await over
        await expectSoundBooks(world.settings, history.strayed)
        await expectSameEnds(history)
      }),
      { numRuns: 8 },
    )
  })
})

async function begun(world: StoreWorld, shared?: GatewayStore): Promise<History> {
  const history = new History([shared ?? (await world.open()), shared ?? (await world.open())])
  await history.start()
  return history
}

async function inTurn(history: History, steps: readonly Step[], replica: 0 | 1): Promise<void> {
  for (const one of steps) if (one.replica === replica) await history.run(one)
}

/** Whoever was told of an answer finds that very answer at the end. */
async function expectSameEnds({ stores, ids, ends }: History): Promise<void> {
  const answers = await stores[0]?.answers(ids)
  for (const [id, body] of ends) expect(answers?.get(id)?.body).toBe(body)
}
