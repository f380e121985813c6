import { expect, test } from 'vitest'
import { DeadlineWatch } from '../../src/requester/deadline-watch.ts'
import { Pacer } from '../../src/requester/pacer.ts'
import { bareContext } from '../support/bare-context.ts'
import { clockOfFastDisk } from '../support/virtual-clock.ts'

const SECOND = 1_000
const HOUR = 3_600 * SECOND

/** A pacer of a task without requests; whoever is woken looks, as the engine does. */
async function pacing({ leftMs = 3 * HOUR, isSending = true } = {}) {
  const { context, clock } = await bareContext({ clock: clockOfFastDisk() })
  const start = clock.now()
  const watch = new DeadlineWatch(start + leftMs)
  const looks: number[] = []
  const wake = (): void => {
    looks.push(clock.now() - start)
    setImmediate(() => pacer.look())
  }
  const wire = () => ({ onWire: 0, concurrency: 8 })
  const pacer: Pacer = new Pacer(context, { watch, isSending, foundDirect: new Set(), wire, wake })
  const ended = new AbortController()
  const running = pacer.run(ended.signal)
  const end = async () => {
    ended.abort()
    await running
  }
  return { pacer, watch, clock, looks, running, end }
}

test('a look is taken once a minute while nothing happens, and at once when there is news', async () => {
  const { watch, clock, looks, end } = await pacing()
  await clock.sleep(150 * SECOND)
  expect(looks).toEqual([0, 60 * SECOND, 120 * SECOND])
  watch.note()
  await clock.sleep(SECOND)
  expect(looks).toEqual([0, 60 * SECOND, 120 * SECOND, 150 * SECOND])
  await end()
})

test('a look that somebody else has taken puts off the next', async () => {
  const { pacer, clock, looks, end } = await pacing()
  await clock.sleep(30 * SECOND)
  pacer.look()
  await clock.sleep(45 * SECOND)
  expect(looks).toEqual([0])
  await end()
})

test('it ends at the deadline, also of a run that sends nothing and looks at nothing before', async () => {
  const { watch, clock, looks, running } = await pacing({ leftMs: 90 * SECOND, isSending: false })
  await clock.sleep(91 * SECOND)
  await running
  expect(watch.isOver).toBe(true)
  expect(looks).toEqual([0, 90 * SECOND])
})
