import { expect, test } from 'vitest'
import { characterOf, codeOf, isPrintable, printableCharacters } from '../../demos/support/characters.ts'

test('the characters are in order, each once, and go by a code', () => {
  const characters = [...printableCharacters()]
  expect(characters).toEqual([...new Set(characters)].toSorted())
  expect(characters.map(codeOf).map(characterOf)).toEqual(characters)
  expect(characters.length).toBeGreaterThan(1100)
  expect(codeOf('A')).toBe('U+0041')
})

test.each([' ', 'a', '7', '~', '£', 'ÿ', 'ŋ', 'ʰ', 'Ω', 'Ж', '҉', 'ԯ'])('%j is printable', (character) => {
  expect(isPrintable(character)).toBe(true)
})

test.each(['\n', '\x7f', '\xa0', '\xad', '\u0378', '\ud800', '\ue000', '\u2028'])(
  '%j is not',
  (character) => {
    expect(isPrintable(character)).toBe(false)
  },
)
