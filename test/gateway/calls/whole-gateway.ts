import { join } from 'node:path'
import type { Arrival } from '../../../src/gateway/domain/arrival.ts'
import type { Engine } from '../../../src/gateway/engine/engine.ts'
import { createWholeEngine } from '../../../src/gateway/engine/whole-engine.ts'
import { World, type WorldOptions } from '../engine/world.ts'
import { priced } from './call-world.ts'

/** A whole gateway, but for its HTTP side. */
export async function openWhole(options: WorldOptions) {
  const world = await World.open(options)
  const { store, settings, clock, log } = world
  const spoolDir = join(world.dir, 'spool')
  const engine: Engine = createWholeEngine({
    store,
    api: world.api(),
    settings,
    clock,
    log,
    replica: 'rep_1',
    spoolDir,
  })
  await engine.start()
  const ask = (texts: readonly string[], parts: Partial<Arrival>) =>
    world.ask(
      engine,
      ...texts.map((text) => ({ text, arrival: priced({ route: 'batch', ...inGroup(parts) }) })),
    )
  return {
    world,
    engine,
    ask,
    /** Lets time pass until they have ended, in large steps. */
    finish: async (ids: readonly string[], mostMs: number) => {
      const end = clock.now() + mostMs
      while ((await store.finishedAmong(ids)).length < ids.length && clock.now() < end)
        await clock.sleep(20_000)
      await world.finish(ids, 0)
    },
    /** Routes by which they were answered. */
    routes: async (ids: readonly string[]) => {
      const answers = await store.answers(ids)
      return ids.map((id) => answers.get(id)?.route)
    },
    lateness: async (ids: readonly string[]) => {
      const requests = await store.requests(ids)
      return requests.map(({ finishedAt = 0, deadlineAt = 0 }) => finishedAt - deadlineAt)
    },
    [Symbol.asyncDispose]: async () => {
      await engine.close()
      await world[Symbol.asyncDispose]()
    },
  }
}

const inGroup = (parts: Partial<Arrival>): Partial<Arrival> => ({
  ...parts,
  hasDeadline: parts.deadlineAt !== undefined,
})
