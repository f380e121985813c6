/** Breaks a text into lines of at most `width` characters at its spaces; a longer word gets a line of its own. */
export function wrapText(text: string, width: number): string[] {
  const lines: string[] = []
  let line = ''
  for (const word of text.split(/\s+/).filter(Boolean)) {
    if (line && line.length + 1 + word.length > width) {
      lines.push(line)
      line = word
    } else line = line ? `${line} ${word}` : word
  }
  return line ? [...lines, line] : lines
}

/** The text, cut to `width` characters (never through one) with an ellipsis where something is missing. */
export function cutText(text: string, width: number): string {
  if (text.length <= width) return text
  const characters = Array.from(text)
  if (characters.length <= width) return text
  return width < 1 ? '' : `${characters.slice(0, width - 1).join('')}…`
}

/** One line that cannot move the cursor or change colours: control characters become spaces or are escaped. */
export const oneLine = (text: string): string => text.replaceAll(/\s+/g, ' ').replaceAll(CONTROL, escaped)

/** The same for a text of several lines, such as a stack trace: line breaks and tabs stay. */
export const plainLines = (text: string): string =>
  text
    .replaceAll('\r\n', '\n')
    .replaceAll(CONTROL, (character) => (/[\n\t]/.test(character) ? character : escaped(character)))

const CONTROL = /[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]/gu

const escaped = (character: string): string =>
  `\\u${(character.codePointAt(0) ?? 0).toString(16).padStart(4, '0')}`
