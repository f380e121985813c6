import { describe, expect, test } from 'vitest'
import { pauseMs } from '../../src/batch/pause-ms.ts'
import { RemoteError } from '../../src/errors.ts'
import { AccountGate } from '../../src/requester/account-gate.ts'
import { Interrupted, Patience, WaitedTooLong, withPatience } from '../../src/requester/patience.ts'
import { bareContext } from '../support/bare-context.ts'

const HOUR_MS = 3_600_000
const down = (retryAfterMs?: number) =>
  new RemoteError('http_error', 'out of order', { status: 503, retryAfterMs, retryable: true })

const waiting = () => bareContext({ options: { maxWait: 3600 } })

describe('a pause', () => {
  test('grows to a minute; a server may ask for more, but not for haste', () => {
    expect([1, 2, 3, 7, 50].map((failures) => pauseMs(failures, undefined))).toEqual([
      1000, 2000, 4000, 60_000, 60_000,
    ])
    expect(pauseMs(3, 0)).toBe(4000)
    expect(pauseMs(1, 90_000)).toBe(90_000)
  })
})

describe('patience', () => {
  test('ends after maxWait, with what was waited for', async () => {
    const { context, clock } = await waiting()
    const begin = clock.now()
    const call = withPatience(context, 'listing batches', async () => {
      throw down()
    })
    await expect(call).rejects.toThrow(WaitedTooLong)
    await expect(call).rejects.toThrow(/listing batches.*out of order/)
    expect(clock.now() - begin).toBeGreaterThanOrEqual(HOUR_MS)
    expect(clock.now() - begin).toBeLessThan(HOUR_MS + 120_000)
  })

  test('is not used up by a night in which the machine slept, nor by a clock that leaps', async () => {
    const { context, clock } = await waiting()
    const patience = new Patience(context, 'a call')
    await patience.afterFailure(down())
    for (const leap of [10 * HOUR_MS, -30 * HOUR_MS, 24 * HOUR_MS]) {
      clock.jump(leap)
      await patience.afterFailure(down())
    }
  })

  test('says what is waited for, and until when', async () => {
    const { context, clock, events } = await waiting()
    const begin = clock.now()
    await new Patience(context, 'a call').afterFailure(down(5000))
    expect(events).toMatchObject([{ kind: 'waiting', reason: 'a call: out of order', untilMs: begin + 5000 }])
  })

  test('ends at once when the run is to stop', async () => {
    const { context, stop } = await waiting()
    stop.abort()
    await expect(new Patience(context, 'a call').afterFailure(down())).rejects.toThrow(Interrupted)
  })
})

describe('the gate to the account', () => {
  test('is open until lines are refused, holds for longer each time, and opens with a clean batch', async () => {
    const { context, clock } = await waiting()
    const gate = new AccountGate(context)
    await gate.pass()
    const holds: number[] = []
    for (let round = 0; round < 8; round++) {
      const begin = clock.now()
      gate.refused('no money', false)
      await gate.pass()
      holds.push(clock.now() - begin)
    }
    expect(holds).toEqual([30_000, 30_000, 30_000, 30_000, 30_000, 32_000, 60_000, 60_000])
    gate.answered()
    const begin = clock.now()
    await gate.pass()
    expect(clock.now()).toBe(begin)
  })

  test('never gives up while other lines of those batches are answered', async () => {
    const { context, clock } = await waiting()
    const gate = new AccountGate(context)
    const begin = clock.now()
    for (let round = 0; round < 500; round++) {
      gate.refused('a little slower', true)
      await gate.pass()
    }
    expect(clock.now() - begin).toBe(500 * 30_000)
    expect(500 * 30_000).toBeGreaterThan(context.settings.maxWaitMs)
  })

  test('holds who waits already for as long as the newest word says', async () => {
    const { context, clock } = await waiting()
    const gate = new AccountGate(context)
    const begin = clock.now()
    gate.refused('no money', false)
    const passed = gate.pass()
    await clock.sleep(20_000)
    gate.refused('no money', false)
    await passed
    expect(clock.now() - begin).toBe(50_000)
  })

  test('lets who waits already go when a clean batch comes', async () => {
    const { context, clock } = await waiting()
    const gate = new AccountGate(context)
    const begin = clock.now()
    gate.refused('no money', false)
    const passed = gate.pass().then(() => clock.now())
    await clock.sleep(20_000)
    gate.answered()
    expect((await passed) - begin).toBeLessThan(30_000)
  })

  test('gives up after maxWait', async () => {
    const { context } = await waiting()
    const gate = new AccountGate(context)
    const round = async () => {
      gate.refused('no money', false)
      await gate.pass()
    }
    const forEver = async () => {
      for (;;) await round()
    }
    await expect(forEver()).rejects.toThrow(WaitedTooLong)
  })
})
