import fc from 'fast-check'
import { expect, test } from 'vitest'
import { markedLine, rendered, unmarked } from '../../src/emulator/line-marks.ts'
import { Occurrences } from '../../src/emulator/occurrences.ts'
import { replyOf } from '../../src/emulator/reply.ts'
import { answeredLine, readLine } from '../../src/emulator/result-lines.ts'
import { LINE_FORMS } from '../../src/emulator/scenario-reply.ts'

const marks = fc.uniqueArray(fc.constantFrom(...LINE_FORMS), { minLength: 1 })
const texts = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.constant(',"emulator_marks":["missing"]}'),
  fc.constant('"copy"]}'),
)
const bodies = fc.oneof(
  texts.map((content) => ({ content })),
  fc.constant({ emulator_marks: ['copy'] }),
  fc.jsonValue(),
)
const statuses = fc.constantFrom(200, 400, 500)

test('marks are found again, and nothing else is taken for them', () => {
  fc.assert(
    fc.property(texts, bodies, statuses, marks, (id, body, status, given) => {
      const line = answeredLine(id, replyOf(status, body)).text
      expect(unmarked(line)).toEqual({ line, marks: [] })
      expect(rendered(line)).toBe(`${line}\n`)
      const found = unmarked(markedLine(line, given))
      expect(found.line).toBe(line)
      expect([...found.marks].sort()).toEqual([...given].sort())
      expect(readLine(markedLine(line, given))).toEqual(readLine(line))
      expect(readLine(line)).toMatchObject({ customId: id, isCopy: false })
      expect(readLine(markedLine(line, ['copy']))).toMatchObject({ isCopy: true })
    }),
  )
})

test('a fault happens to the things that its conditions name, and to no other', () => {
  const whens = fc.record(
    {
      nth: fc.uniqueArray(fc.integer({ min: 1, max: 12 }), { minLength: 1 }),
      first: fc.integer({ min: 1, max: 12 }),
      every: fc.integer({ min: 1, max: 4 }),
      afterMs: fc.integer({ min: 0, max: 12 }),
      untilMs: fc.integer({ min: 0, max: 12 }),
      tries: fc.integer({ min: 1, max: 3 }),
    },
    { requiredKeys: [] },
  )
  const things = fc.array(fc.record({ wait: fc.nat(3), attempt: fc.nat(3) }), { maxLength: 20 })
  fc.assert(
    fc.property(whens, things, (when, all) => {
      const startMs = 1000
      const occurrences = new Occurrences({ when, startMs, seed: 's' })
      let now = startMs
      let number = 0
      for (const { wait, attempt } of all) {
        now += wait
        const age = now - startMs
        const counts =
          age >= (when.afterMs ?? 0) &&
          age < (when.untilMs ?? Infinity) &&
          (when.tries === undefined || attempt < when.tries)
        if (counts) number += 1
        const expected =
          counts &&
          (when.nth?.includes(number) ?? true) &&
          (when.first === undefined || number <= when.first) &&
          (when.every === undefined || number % when.every === 0)
        expect(occurrences.next({ now, attempt })).toBe(expected)
      }
    }),
  )
})
