/**
 * Colours of the terminal's own palette that can be read on light and on dark grounds: no yellow, no white, no black.
 */
const STYLES = {
  bold: '\u001b[1m',
  dim: '\u001b[2m',
  good: '\u001b[32m',
  busy: '\u001b[36m',
  warning: '\u001b[35m',
  error: '\u001b[31m',
} as const
const RESET = '\u001b[0m'

export type Style = keyof typeof STYLES

export const paint = (text: string, style: Style | undefined): string =>
  style === undefined || text === '' ? text : `${STYLES[style]}${text}${RESET}`
