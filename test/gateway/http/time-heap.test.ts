import fc from 'fast-check'
import { expect, test } from 'vitest'
import { type Timed, TimeHeap } from '../../../src/gateway/http/waiting/time-heap.ts'

type Step =
  | { readonly do: 'add'; readonly at: number }
  | { readonly do: 'remove'; readonly index: number }
  | { readonly do: 'take'; readonly now: number }

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ do: fc.constant('add' as const), at: fc.nat(50) }),
  fc.record({ do: fc.constant('remove' as const), index: fc.nat(20) }),
  fc.record({ do: fc.constant('take' as const), now: fc.nat(50) }),
)

test('gives what is due in order, like a sorted list', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const heap = new TimeHeap<Timed>()
      const list: Timed[] = []
      const first = () => [...list].sort((a, b) => a.at - b.at)[0]
      for (const one of steps) {
        if (one.do === 'add') {
          const item = { at: one.at, place: -1 }
          heap.add(item)
          list.push(item)
        } else if (one.do === 'remove') {
          const [item] = list.splice(one.index % Math.max(1, list.length), 1)
          if (item) heap.remove(item)
          if (item) heap.remove(item)
        } else {
          const due = first()
          const taken = heap.takeDue(one.now)
          expect(taken?.at).toBe(due && due.at <= one.now ? due.at : undefined)
          if (taken) list.splice(list.indexOf(taken), 1)
        }
        expect(heap.size).toBe(list.length)
        expect(heap.nextAt).toBe(first()?.at)
      }
    }),
  )
})
