/** `maxRetries` to `max-retries`; underscores count as hyphens. */
export const kebab = (name: string): string =>
  name
    .replaceAll('_', '-')
    .replace(/([a-z0-9])([A-Z])/g, '$1-$2')
    .toLowerCase()

/** The letters and digits alone: what two spellings of one name share. */
const bare = (name: string): string => name.replaceAll(/[-_\s]/g, '').toLowerCase()

/** The candidate that `word` was probably meant to be; undefined when none is close. */
export function nearest(word: string, candidates: Iterable<string>): string | undefined {
  const wanted = bare(word)
  let best: { readonly name: string; readonly distance: number } | undefined
  for (const name of candidates) {
    const distance = editDistance(wanted, bare(name))
    if (distance < (best?.distance ?? closeEnough(wanted))) best = { name, distance }
  }
  return best?.name
}

/** About a third of the letters may be wrong; this is the first distance that is too far. */
const closeEnough = (word: string): number => Math.min(word.length, Math.ceil(word.length / 3) + 1)

/** The insertions, deletions, replacements and swaps of neighbours that turn `a` into `b`. */
export function editDistance(a: string, b: string): number {
  let before: readonly number[] = []
  let last: readonly number[] = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (let row = 1; row <= a.length; row++) {
    const next = [row]
    for (let column = 1; column <= b.length; column++) {
      const at = (line: readonly number[], place: number) => line[place] ?? Number.POSITIVE_INFINITY
      const same = a[row - 1] === b[column - 1]
      const swapped = row > 1 && column > 1 && a[row - 1] === b[column - 2] && a[row - 2] === b[column - 1]
      next.push(
        Math.min(
          at(last, column) + 1,
          at(next, column - 1) + 1,
          at(last, column - 1) + (same ? 0 : 1),
          swapped ? at(before, column - 2) + 1 : Number.POSITIVE_INFINITY,
        ),
      )
    }
    before = last
    last = next
  }
  return last[b.length] ?? 0
}

const LONGEST_QUOTE = 80

/** A value as an error message may show it: short, on one line, and without keys or passwords. */
export function quoteValue(value: unknown): string {
  const text = typeof value === 'string' ? JSON.stringify(hideSecrets(value)) : describe(value)
  return text.length > LONGEST_QUOTE ? `${text.slice(0, LONGEST_QUOTE)}…` : text
}

/** A text without what looks like a key of OpenAI's, or like the user and password of an address. */
export const hideSecrets = (text: string): string =>
  text.replaceAll(/\bsk-[\w-]*/g, 'sk-…').replaceAll(/\/\/[^/?#]*@/g, '//…@')

function describe(value: unknown): string {
  if (value instanceof Date || typeof value === 'function') return `a ${value.constructor.name}`
  if (typeof value === 'object' && value !== null) return Array.isArray(value) ? 'an array' : 'an object'
  return String(value)
}
