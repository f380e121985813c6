const TAKES_NO_COLUMN = /^[\p{Mn}\p{Me}\p{Cf}]$/u
/** Asks for the picture instead of the letter before it, which many terminals then make two columns wide. */
const EMOJI_SELECTOR = '\ufe0f'
const TAKES_TWO =
  /^[\p{Emoji_Presentation}\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}\p{Script=Yi}\p{Script=Tangut}\p{Script=Bopomofo}\u2329\u232a\u2e80-\u303e\u3040-\u33ff\u4dc0-\u4dff\ufe10-\ufe19\ufe30-\ufe6b\uff01-\uff60\uffe0-\uffe6\u{1f200}-\u{1f2ff}]$/u
const PLAIN = /^[\x20-\x7e]*$/

/**
 * How many columns of a terminal a text without control characters takes, at most: where terminals disagree, as about
 * joined emoji, the most that one of them takes.
 */
export function displayWidth(text: string): number {
  if (PLAIN.test(text)) return text.length
  let width = 0
  for (const character of text) width += widthOf(character)
  return width
}

/** The text, cut to `width` columns (never through a character) with an ellipsis where something is missing. */
export function cutToWidth(text: string, width: number): string {
  if (displayWidth(text) <= width) return text
  if (width < 1) return ''
  let taken = ''
  let left = width - 1
  for (const character of text) {
    left -= widthOf(character)
    if (left < 0) break
    taken += character
  }
  return `${taken}…`
}

function widthOf(character: string): number {
  if (character === EMOJI_SELECTOR) return 1
  if (TAKES_NO_COLUMN.test(character)) return 0
  return TAKES_TWO.test(character) ? 2 : 1
}
