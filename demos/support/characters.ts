const RANGES = [
  [0x0000, 0x007f], // Basic Latin
  [0x0080, 0x00ff], // Latin-1 Supplement
  [0x0100, 0x017f], // Latin Extended-A
  [0x0180, 0x024f], // Latin Extended-B
  [0x0250, 0x02af], // IPA Extensions
  [0x02b0, 0x02ff], // Spacing Modifier Letters
  [0x0370, 0x03ff], // Greek and Coptic
  [0x0400, 0x04ff], // Cyrillic
  [0x0500, 0x052f], // Cyrillic Supplement
] as const

/** Neither control, format, unassigned and the like, nor a separator; of all kinds of space only the ordinary one. */
export const isPrintable = (character: string): boolean =>
  character === ' ' || !/[\p{C}\p{Z}]/u.test(character)

/** The printable characters of nine Unicode ranges, in the order of their code points. */
export function* printableCharacters(): Iterable<string> {
  for (const [first, last] of RANGES) {
    for (let codePoint = first; codePoint <= last; codePoint++) {
      const character = String.fromCodePoint(codePoint)
      if (isPrintable(character)) yield character
    }
  }
}

/** `U+0041` for `A`. */
export const codeOf = (character: string): string =>
  `U+${(character.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0')}`

/** `A` for `U+0041`. */
export const characterOf = (code: string): string => String.fromCodePoint(Number.parseInt(code.slice(2), 16))
