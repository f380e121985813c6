import { describe, expect, test } from 'vitest'
import type { Scenario } from '../../../src/emulator/index.ts'
import { type Death, Mortal } from './mortal.ts'
import { many, World } from './world.ts'

/** One of the requests is answered by a second batch only. */
const scenario: Scenario = {
  seed: 1,
  faults: [{ fault: 'reply-status', status: 500, contains: 'q1', when: { tries: 1 } }],
}

/** Runs requests through a process that ends at some moment, and another that takes its place. True when it came to that. */
async function crash(world: World, death: Death): Promise<boolean> {
  const mortal = new Mortal(death)
  const first = world.engine({}, mortal)
  await Promise.allSettled([first.start()])
  await world.ask(first, ...many(4))
  const end = world.clock.now() + 3_600_000
  while (!mortal.isDead && world.clock.now() < end && !(await isOver(world))) await world.clock.sleep(1_000)
  await world.close(first)
  if (!mortal.isDead) return false
  await world.engine().start()
  await world.finish()
  await world.settle()
  // What came of doubts is looked for, and swept.
  await world.clock.sleep(180_000)
  await world.settle()
  return true
}

async function isOver({ store, ids }: World): Promise<boolean> {
  const done = await store.finishedAmong(ids)
  const isDone = done.length === ids.length && (await store.openBatches()).length === 0
  return isDone && (await store.litter(1)).length === 0
}

/** Each was asked once of the model, but for the one that failed, and no two batches had it at one time. */
async function expectOnce(world: World): Promise<void> {
  expect(await world.results()).toEqual(['re: q0', 're: q1', 're: q2', 're: q3'])
  expect(world.ids.map((id) => world.asks.get(id))).toEqual([1, 2, 1, 1])
  expect(world.made.flatMap(({ doubled }) => doubled)).toEqual([])
  expect(await world.remoteFiles()).toEqual([])
  expect(await world.liveBatches()).toBe(0)
}

/** Ends a process at one moment after another, until there is none left to end it at. */
async function everywhere(at: Death['at'], acted: boolean): Promise<number> {
  for (let nth = 1; ; nth++) {
    await using world = await World.open({ emulator: { scenario } })
    const isDead = await crash(world, { at, nth, acted })
    await expectOnce(world)
    if (!isDead) return nth - 1
  }
}

// Each ends a process at dozens of places: on a machine that has other work, too, that takes a while.
describe('a process that ends', { timeout: 120_000 }, () => {
  test.each([true, false])('at any commit (carried out: %s) costs nothing but time', async (acted) => {
    expect(await everywhere('commit', acted)).toBeGreaterThan(20)
  })

  test.each([true, false])('at any call (carried out: %s) costs nothing but time', async (acted) => {
    expect(await everywhere('call', acted)).toBeGreaterThan(8)
  })

  test('again and again comes to the same end', async () => {
    await using world = await World.open({ emulator: { scenario } })
    await world.ask(undefined, ...many(4))
    for (let round = 0; round < 40; round++) {
      const at = round % 3 === 0 ? 'call' : 'commit'
      const mortal = new Mortal({ at, nth: 1 + (round % 7), acted: round % 2 === 0 })
      const engine = world.engine({}, mortal)
      await Promise.allSettled([engine.start()])
      const end = world.clock.now() + 120_000
      while (!mortal.isDead && world.clock.now() < end) await world.clock.sleep(1_000)
      await world.close(engine)
    }
    await world.engine().start()
    await world.finish()
    await world.settle()
    await world.clock.sleep(180_000)
    await world.settle()
    await expectOnce(world)
  })
})
