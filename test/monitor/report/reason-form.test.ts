import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { reasonForm, withoutEnd } from '../../../src/monitor/report/reason-form.ts'

describe('the form of a reason', () => {
  test.each([
    ['the answer is not valid: 3 of 12 fields', 'the answer is not valid: # of # fields'],
    ['HTTP 429 after 1.5 s (request req_8f3kd92kd1)', 'HTTP # after # s (request ‹id›)'],
    ['batch_6901d8f2a4b88190 has expired', '‹id› has expired'],
    ['no "cat" and no \'dog\' in `list`', 'no "…" and no \'…\' in `…`'],
    ["it can't be, and isn't", "it can't be, and isn't"],
    ['quoted "a \\"b\\" c" once', 'quoted "…" once'],
    ['see https://api.openai.com/v1/files/9 for more', 'see ‹url› for more'],
    ['asked by jane.doe@example.com', 'asked by ‹email›'],
    ['id 3f2b8c1e-1a2b-4c3d-9e8f-0123456789ab', 'id ‹id›'],
    ['at 2026-11-21 14:20:05', 'at #-#-# #'],
    ['temperature -3.5e-7 is too low', 'temperature # is too low'],
    ['cut off after "length', 'cut off after "…"'],
    ['  two\n lines ', 'two lines'],
    ['server_error: The server had an error', 'server_error: The server had an error'],
    ['', ''],
  ])('of %j is %j', (reason, form) => {
    expect(reasonForm(reason)).toBe(form)
  })

  test('is the same for reasons that differ in numbers only', () => {
    fc.assert(
      fc.property(
        fc.nat(),
        fc.nat(),
        fc.constantFrom('item %', '% of the list', 'a (%) b', 'x=%'),
        (a, b, text) => {
          expect(reasonForm(text.replace('%', `${a}`))).toBe(reasonForm(text.replace('%', `${b}`)))
        },
      ),
    )
  })

  // With a pattern whose time grows with the square of the length, this does not come to an end.
  test('is short, and soon made, whatever the reason is', () => {
    const nasty = ['"', "'", '`', 'a-', 'a_', 'a@', '1', '1.', 'http://', '\\"', '“', 'x.y@', '(', ' ']
    for (const part of nasty)
      for (const other of nasty) {
        expect(reasonForm((part + other).repeat(50_000)).length).toBeLessThanOrEqual(300)
      }
    for (const part of [' (it cannot be sent again: ', ' (failed ', ' (failed 1', '1'])
      expect(withoutEnd(part.repeat(50_000)).length).toBe(50_000 * part.length)
  })

  test('is that of the tries before, when the last one was used up', () => {
    expect(withoutEnd('bad answer (failed 3 times)')).toBe('bad answer')
    expect(withoutEnd('bad (answer)')).toBe('bad (answer)')
    expect(withoutEnd('too long (it cannot be sent again: it is larger than 100 MB)')).toBe('too long')
    expect(withoutEnd('never done (expired or was cancelled 6 times)')).toBe('never done')
    expect(withoutEnd('too long (it cannot be sent again: 9 MB (of 8) are too many)')).toBe('too long')
    expect(withoutEnd('it (failed 2 times), and then (it cannot')).toBe(
      'it (failed 2 times), and then (it cannot',
    )
  })
})
