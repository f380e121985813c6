import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { describe, expect, test } from 'vitest'
import { BackgroundLoop } from '../../../src/gateway/engine/calls/background-loop.ts'
import { silentLog } from '../../../src/gateway/log.ts'
import type { Clock } from '../../../src/util/clock.ts'
import { VirtualClock } from '../../support/virtual-clock.ts'

/** A loop whose rounds are written down by their times, in milliseconds since it began. */
function open(step: (round: number) => number, gapMs?: number) {
  const clock = new VirtualClock()
  const began = clock.now()
  const rounds: number[] = []
  const loop = new BackgroundLoop({
    ...{ name: 'test', clock, log: silentLog },
    step: async () => step(rounds.push(clock.now() - began)),
    ...(gapMs !== undefined && { gapMs }),
  })
  return { clock, rounds, loop, [Symbol.asyncDispose]: () => loop.close() }
}

describe('rounds of work', () => {
  test('come after one another, with the pauses that they ask for', async () => {
    await using world = open((round) => round * 1_000)
    world.loop.start()
    await world.clock.sleep(6_500)
    expect(world.rounds).toEqual([0, 1_000, 3_000, 6_000])
  })

  test('come at once when somebody wakes it, be it in the midst of one, but never sooner than they may', async () => {
    await using world = open((round) => {
      if (round === 1) world.loop.wake()
      return 60_000
    }, 100)
    world.loop.start()
    await world.clock.sleep(1_000)
    expect(world.rounds).toEqual([0, 100])
    for (let wakes = 0; wakes < 5; wakes++) world.loop.wake()
    await world.clock.sleep(1_000)
    expect(world.rounds).toEqual([0, 100, 1_000])
  })

  test('that fail are made again, later each time', async () => {
    await using world = open((round) => {
      if (round < 4) throw new Error('no')
      return 60_000
    })
    world.loop.start()
    await world.clock.sleep(30_000)
    expect(world.rounds).toEqual([0, 1_000, 3_000, 7_000])
  })

  test('end when it is closed, also in the midst of a pause', async () => {
    const world = open(() => 60_000)
    world.loop.start()
    await world.clock.sleep(1_000)
    await world.loop.close()
    world.loop.wake()
    await world.clock.sleep(120_000)
    expect(world.rounds).toEqual([0])
  })

  test('leave nothing behind, however many there are', async () => {
    setFlagsFromString('--expose-gc')
    const collect: () => void = runInNewContext('gc')
    const clock: Clock = { now: () => 0, sleep: () => new Promise((resolve) => setImmediate(resolve)) }
    let rounds = 0
    const loop = new BackgroundLoop({ name: 'test', clock, log: silentLog, step: async () => ++rounds })
    loop.start()
    const heapAfter = async (count: number) => {
      while (rounds < count) await new Promise((resolve) => setImmediate(resolve))
      collect()
      return process.memoryUsage().heapUsed
    }
    const before = await heapAfter(2_000)
    const after = await heapAfter(32_000)
    await loop.close()
    expect((after - before) / 30_000).toBeLessThan(100)
  }, 30_000)
})
