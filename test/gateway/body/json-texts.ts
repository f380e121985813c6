import fc from 'fast-check'

const space = fc.constantFrom('', '', '', ' ', '\n', '\t', '\r\n  ')

/** A string with some of its characters written as escapes: those whose bit is set in `mask`, for each 8 of them. */
const spelled = (text: string, mask: number): string =>
  `"${Array.from({ length: text.length }, (_, at) => spelledUnit(text.charAt(at), (mask >> (at % 8)) & 1)).join('')}"`

const spelledUnit = (unit: string, isEscaped: number): string =>
  isEscaped || (unit >= '\ud800' && unit <= '\udfff')
    ? `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`
    : JSON.stringify(unit).slice(1, -1)

const stringText = fc
  .tuple(fc.string({ unit: 'binary' }), fc.nat(255))
  .map(([text, mask]) => spelled(text, mask))

const numberText = fc.oneof(
  fc.double({ noNaN: true, noDefaultInfinity: true }).map((value) => JSON.stringify(value)),
  fc.constantFrom('0', '-0', '0.0', '1.50', '1e5', '-2E+3', '12345678901234567890', '1e999'),
)

/** JSON texts in all spellings: with white space, escapes, doubled names. */
export const { jsonText, jsonObjectText } = fc.letrec<{ jsonText: string; jsonObjectText: string }>((tie) => {
  const spaced = (text: fc.Arbitrary<string>) => fc.tuple(space, text, space).map((parts) => parts.join(''))
  const member = fc.tuple(spaced(stringText), spaced(tie('jsonText'))).map((parts) => parts.join(':'))
  const list = (items: fc.Arbitrary<string>) =>
    fc.oneof(
      fc.array(items, { maxLength: 5, size: 'small' }).map((all) => all.join(',')),
      space,
    )
  return {
    jsonText: fc.oneof(
      { maxDepth: 4, withCrossShrink: true },
      stringText,
      numberText,
      fc.constantFrom('true', 'false', 'null'),
      list(spaced(tie('jsonText'))).map((items) => `[${items}]`),
      tie('jsonObjectText'),
    ),
    jsonObjectText: fc
      .tuple(space, list(member), space)
      .map(([before, members, after]) => `${before}{${members}}${after}`),
  }
})
