import { describe, expect, test } from 'vitest'
import type { StoredAnswer } from '../../../src/gateway/domain/request.ts'
import { type Release, Releases } from '../../../src/gateway/http/waiting/releases.ts'
import { type AnswerSource, WaitingRoom } from '../../../src/gateway/http/waiting/waiting-room.ts'
import { silentLog } from '../../../src/gateway/log.ts'
import { VirtualClock } from '../../support/virtual-clock.ts'

const answer = (id: string): StoredAnswer => ({
  id,
  ending: 'succeeded',
  status: 200,
  body: '{}',
  requestId: undefined,
  route: 'batch',
  batchId: undefined,
  finishedAt: 0,
})

/** A store of nothing but answers, whose notices can be lost. */
class Answers implements AnswerSource {
  readonly done = new Set<string>()
  readonly asked: string[][] = []
  fails = false
  #listener: (ids: readonly string[]) => void = () => undefined

  async answers(ids: readonly string[]) {
    if (this.fails) throw new Error('the store is away')
    this.asked.push([...ids])
    return new Map(ids.filter((id) => this.done.has(id)).map((id) => [id, answer(id)]))
  }

  async finishedAmong(ids: readonly string[]) {
    return ids.filter((id) => this.done.has(id))
  }

  onDone(listener: (ids: readonly string[]) => void) {
    this.#listener = listener
    return () => {
      this.#listener = () => undefined
    }
  }

  finish(...ids: readonly string[]) {
    for (const id of ids) this.done.add(id)
    this.#listener(ids)
  }
}

function open(clock = new VirtualClock(0)) {
  const source = new Answers()
  const told: [string, Release][] = []
  const state = { isAway: false }
  const tell = async (id: string, release: Release) => {
    if (state.isAway) throw new Error('the store is away')
    told.push([id, release])
  }
  const releases = new Releases({ tell, clock, log: silentLog })
  const room = new WaitingRoom({ source, releases, clock, log: silentLog, lookMs: 1000 })
  return { clock, source, room, releases, told, state }
}

const turn = () => new Promise(setImmediate)

describe('who waits', () => {
  test('is given its answer, and one look at the store serves all of a batch', async () => {
    const { source, room } = open()
    const waiters = ['a', 'b', 'c'].map((id) => room.enter(id))
    const wakes = waiters.map((waiter) => waiter.next(1000))
    source.finish('a', 'b', 'c', 'somebody else')
    expect(await Promise.all(wakes)).toEqual(
      ['a', 'b', 'c'].map((id) => ({ kind: 'answer', answer: answer(id) })),
    )
    expect(source.asked).toEqual([['a', 'b', 'c']])
  })

  test('is woken at its time, and may wait on', async () => {
    const { clock, source, room } = open()
    const waiter = room.enter('a')
    const first = waiter.next(1000)
    clock.advance(1000)
    expect(await first).toEqual({ kind: 'time' })
    const second = waiter.next(5000)
    source.finish('a')
    expect((await second).kind).toBe('answer')
  })

  test('may share a request with others, each with a time of its own', async () => {
    const { clock, source, room, told } = open()
    const [hasty, patient] = [room.enter('a'), room.enter('a')]
    const [first, second] = [hasty.next(100), patient.next(10_000)]
    expect(room.held).toBe(2)
    clock.advance(100)
    expect(await first).toEqual({ kind: 'time' })
    await room.leave(hasty)
    expect(told).toEqual([])
    source.finish('a')
    expect((await second).kind).toBe('answer')
    room.forget(patient)
    expect(room.held).toBe(0)
  })

  test('and leaves last, lets the request go, once', async () => {
    const { room, told } = open()
    const [one, other] = [room.enter('a'), room.enter('a')]
    await room.leave(one)
    await room.leave(other)
    await room.leave(other)
    expect(told).toEqual([['a', 'letGo']])
    expect(room.held).toBe(0)
  })

  test('is found when the notice was lost, or the store could not be read', async () => {
    const { clock, source, room } = open()
    const looking = room.keepLooking()
    const waiter = room.enter('a')
    const wake = waiter.next(60_000)
    source.done.add('a')
    source.fails = true
    clock.advance(1000)
    await turn()
    source.fails = false
    clock.advance(1000)
    expect((await wake).kind).toBe('answer')
    room.close()
    await looking
  })

  test('is sent away when the gateway stops, also when it comes after that', async () => {
    const { room } = open()
    const waiting = room.enter('a').next(1000)
    room.close()
    expect(await waiting).toEqual({ kind: 'closing' })
    expect(await room.enter('b').next(1000)).toEqual({ kind: 'closing' })
  })

  test('hears of the first end only', async () => {
    const { source, room } = open()
    const waiter = room.enter('a')
    waiter.end({ kind: 'gone' })
    source.finish('a')
    await turn()
    expect(await waiter.next(1000)).toEqual({ kind: 'gone' })
  })
})

test('ten thousand with times of their own are woken in order, by one timer', async () => {
  const sleeps: number[] = []
  class CountingClock extends VirtualClock {
    override sleep(...args: Parameters<VirtualClock['sleep']>) {
      sleeps.push(args[0])
      return super.sleep(...args)
    }
  }
  const clock = new CountingClock(0)
  const { room } = open(clock)
  const woken: number[] = []
  const all = Array.from({ length: 10_000 }, async (_, index) => {
    const at = 1 + ((index * 7919) % 10_007)
    await room.enter(`r${index}`).next(at)
    woken.push(at)
  })
  const planned = sleeps.length
  clock.advance(20_000)
  await Promise.all(all)
  expect(woken).toEqual(woken.toSorted((a, b) => a - b))
  // A nap is broken off only for one that wants to be woken before all others.
  expect(planned).toBeLessThan(100)
  expect(sleeps.length).toBe(planned)
})

describe('what the store cannot be told', () => {
  test('it is told when it is back', async () => {
    const { clock, room, told, state } = open()
    state.isAway = true
    await room.leave(room.enter('a'))
    expect(told).toEqual([])
    state.isAway = false
    clock.advance(1000)
    await turn()
    await turn()
    expect(told).toEqual([['a', 'letGo']])
  })

  test('it is told all at once, so that it is written in groups', async () => {
    const clock = new VirtualClock(0)
    const begun: string[] = []
    const written = Promise.withResolvers<void>()
    const tell = (id: string) => {
      begun.push(id)
      return written.promise
    }
    const releases = new Releases({ tell, clock, log: silentLog })
    for (let index = 0; index < 1000; index++) releases.owe(`r${index}`, 'letGo')
    const caughtUp = releases.catchUp()
    expect(begun.length).toBe(1000)
    written.resolve()
    await caughtUp
    expect(releases.isBehind).toBe(false)
    releases.close()
  })

  test('one of it keeps none of the others from being told', async () => {
    const clock = new VirtualClock(0)
    const told: string[] = []
    const tell = async (id: string) => {
      if (id === 'bad') throw new Error('no')
      told.push(id)
    }
    const releases = new Releases({ tell, clock, log: silentLog })
    for (const id of ['bad', 'a', 'b']) releases.owe(id, 'delivered')
    await releases.catchUp()
    expect([told, releases.isBehind]).toEqual([['a', 'b'], true])
    releases.close()
  })

  test('is forgotten when somebody waits for it again', async () => {
    const { clock, room, told, state } = open()
    state.isAway = true
    await room.leave(room.enter('a'))
    const again = room.enter('a')
    state.isAway = false
    clock.advance(1000)
    await turn()
    await turn()
    expect(told).toEqual([])
    expect(again.isOver).toBe(false)
  })
})
