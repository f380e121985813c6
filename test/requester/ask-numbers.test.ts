import fc from 'fast-check'
import { expect, test } from 'vitest'
import { RequestIndex } from '../../src/batch/request-index.ts'
import type { RequestState } from '../../src/batch/request-table.ts'
import { AskNumbers } from '../../src/requester/ask-numbers.ts'

const BODIES = ['00000000000000aa', '00000000000000bb']
const bodyOf = (key: number): string => BODIES[key % BODIES.length] ?? ''

/** A task whose keys are yielded in their order, and the numbers that its requests were given. */
function world() {
  const index = new RequestIndex()
  let numbers = new AskNumbers(index)
  const given = new Map<number, number>()
  const add = (key: number): void => {
    if (index.find(`k${key}`) !== undefined) return
    const request = index.last + 1
    const identity = { key: `k${key}`, sample: `k${key}`, hash: bodyOf(key), params: 0, metaAt: undefined }
    const number = numbers.next(identity)
    index.add(request, identity, {
      ...{ state: 'pending', call: 'queued' },
      ...{ attempt: 0, queued: 0, expiries: 0, file: 0 },
    })
    numbers.set(request, number)
    given.set(request, number)
  }
  const settle = (key: number, state: RequestState): void => {
    const request = index.find(`k${key}`)
    if (request !== undefined) index.set(request, { ...index.get(request), state })
  }
  const restart = (): void => {
    numbers = new AskNumbers(index)
  }
  const forget = (states: readonly RequestState[]): void => {
    index.forget(states)
    restart()
  }
  const numberOf = (key: number): number => given.get(index.find(`k${key}`) ?? 0) ?? 0
  const remembered = (key: number): number => numbers.of(index.find(`k${key}`) ?? 0)
  return { index, add, settle, restart, forget, numberOf, remembered }
}

test('requests with the same body are counted in their order', () => {
  const { add, numberOf } = world()
  for (const key of [0, 1, 2, 4, 3]) add(key)
  expect([0, 1, 2, 3, 4].map(numberOf)).toEqual([1, 1, 2, 2, 3])
})

test('one that was forgotten comes back under its number, while others ask the same', () => {
  const { add, settle, forget, numberOf } = world()
  for (const key of [0, 2, 4]) add(key)
  settle(0, 'failed')
  settle(2, 'succeeded')
  forget(['failed'])
  add(6)
  add(0)
  expect([0, 2, 4, 6].map(numberOf)).toEqual([1, 2, 3, 4])
})

test('where all are forgotten the count begins anew, whatever the keys are then', () => {
  const { add, forget, numberOf } = world()
  for (const key of [0, 2, 4]) add(key)
  forget(['pending'])
  add(6)
  expect(numberOf(6)).toBe(1)
})

const key = fc.nat(7)
const action = fc.oneof(
  fc.record({ do: fc.constant('pass' as const), keys: key }),
  fc.record({
    do: fc.constant('settle' as const),
    key,
    state: fc.constantFrom<RequestState>('succeeded', 'failed'),
  }),
  fc.record({
    do: fc.constant('forget' as const),
    states: fc.subarray<RequestState>(['pending', 'succeeded', 'failed']),
  }),
  fc.record({ do: fc.constant('restart' as const) }),
)

test('a key has the same number in every run, whatever was put back or wiped', () => {
  fc.assert(
    fc.property(fc.array(action, { maxLength: 40 }), (actions) => {
      const { index, add, settle, forget, restart, numberOf, remembered } = world()
      for (const action of actions) {
        if (action.do === 'pass') for (let key = 0; key <= action.keys; key++) add(key)
        else if (action.do === 'settle') settle(action.key, action.state)
        else if (action.do === 'forget') forget(action.states)
        else restart()
        for (let key = 0; key < 8; key++) {
          const request = index.find(`k${key}`)
          if (request === undefined) continue
          const rank = Math.floor(key / BODIES.length) + 1
          expect(numberOf(key)).toBe(rank)
          if (index.get(request).state === 'pending') expect(remembered(key)).toBe(rank)
        }
      }
    }),
  )
})
