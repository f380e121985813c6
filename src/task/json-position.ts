import { errorText } from '../errors.ts'

/**
 * What `JSON.parse` found wrong and where: position (from 0), line and column (from 1), and the text around it.
 * The engine gives a position for some errors only.
 */
export function jsonErrorText(text: string, error: unknown): string {
  const at = errorPosition(text)
  const before = text.slice(0, at)
  const line = before.split('\n').length
  const column = at - before.lastIndexOf('\n')
  const place = `position ${at} (line ${line}, column ${column})`
  if (at >= text.length) return `the reply is no JSON: it ends at ${place}, before the value is complete`
  const near = JSON.stringify(text.slice(Math.max(0, at - 20), at + 20))
  return `the reply is no JSON: ${reason(error)} at ${place}, near ${near}`
}

/** The engine's words without its own, less precise, idea of the place. */
const reason = (error: unknown): string =>
  errorText(error)
    .replace(/, .*is not valid JSON$/s, '')
    .replace(/ at position \d+.*$/s, '')

/** The shortest beginning that nothing could complete ends with the offending character. */
function errorPosition(text: string): number {
  let good = 0
  let bad = text.length + 1
  while (bad - good > 1) {
    const middle = (good + bad) >> 1
    if (canContinue(text.slice(0, middle))) good = middle
    else bad = middle
  }
  return good
}

/** Whether the text is JSON, or stopped before it went wrong. */
function canContinue(text: string): boolean {
  try {
    JSON.parse(text)
    return true
  } catch (error) {
    const message = errorText(error)
    // This one quotes the text, which could look like a position.
    if (message.endsWith('is not valid JSON')) return false
    const position = /at position (\d+)/.exec(message)?.[1]
    return position === undefined || Number(position) >= text.length
  }
}
