import fc from 'fast-check'
import { expect, test } from 'vitest'
import { cutText, oneLine, plainLines, wrapText } from '../../src/util/text.ts'

test('wrapText keeps all words in order and every line within the width, but for longer words', () => {
  fc.assert(
    fc.property(
      fc.array(fc.stringMatching(/^[a-z]{1,12}$/)),
      fc.integer({ min: 1, max: 30 }),
      (words, width) => {
        const lines = wrapText(words.join(' '), width)
        expect(lines.flatMap((line) => line.split(' '))).toEqual(words)
        for (const line of lines) expect(line.length <= width || !line.includes(' ')).toBe(true)
      },
    ),
  )
})

test('cutText cuts to the width and never through a character', () => {
  expect(cutText('abcdef', 4)).toBe('abc…')
  expect(cutText('abcd', 4)).toBe('abcd')
  expect(cutText('😀😀😀', 3)).toBe('😀😀😀')
  expect(cutText('😀😀😀', 2)).toBe('😀…')
  expect(cutText('abc', 0)).toBe('')
})

test('oneLine leaves nothing that moves the cursor, changes colours or turns the text round', () => {
  expect(oneLine('a\r\nb\t c')).toBe('a b c')
  expect(oneLine('\u001b[31mred')).toBe('\\u001b[31mred')
  expect(oneLine('a\u202eb\u009bc')).toBe('a\\u202eb\\u009bc')
})

test('plainLines does the same, but keeps the lines', () => {
  expect(plainLines('Error: a\r\n\tat b\n  c')).toBe('Error: a\n\tat b\n  c')
  expect(plainLines('\u001b[2J\n\u202e\r')).toBe('\\u001b[2J\n\\u202e\\u000d')
})
