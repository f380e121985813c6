/** Longer reasons differ, if at all, in what quotes an answer. */
const MOST_READ = 2_000
const MOST_SHOWN = 300

/**
 * What differs from failure to failure of one kind, and what stands for it. The first that fits is used. Looking for
 * an address takes longer than all else, so that its sign is looked for first.
 */
const PARTS: readonly (readonly [pattern: RegExp, form: string, sign?: string])[] = [
  [/"(?:[^"\\]|\\.)*"?/g, '"…"'],
  [/“[^”]*”?/g, '“…”'],
  [/`[^`]*`?/g, '`…`'],
  [/\bhttps?:\/\/[^\s"'`<>)]+/g, '‹url›'],
  // An apostrophe within a word quotes nothing.
  [/(?<![\p{L}\p{N}])'[^']*'(?![\p{L}\p{N}])/gu, "'…'"],
  [/[\p{L}\p{N}._+-]{1,64}@[\p{L}\p{N}.-]+/gu, '‹email›', '@'],
  [/\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b/gi, '‹id›'],
  [/\b(?=[\w-]{0,64}\d)(?:[a-z]+[_-]){1,4}[a-z0-9]{6,}\b/gi, '‹id›'],
  [/\b(?=[A-Za-z]*\d)(?=\d*[A-Za-z])[A-Za-z0-9]{8,}\b/g, '‹id›'],
  [/(?:(?<=^|[\s(=:,])[-+])?(?<![\p{L}_])\d+(?:[.,:/]\d+)*(?:e[-+]?\d+)?/gu, '#'],
]

/**
 * What reasons of one kind have in common: numbers, ids, addresses and quoted parts give way to a sign for them. Takes
 * time in proportion to the first 2,000 characters, whatever they are.
 */
export function reasonForm(reason: string): string {
  let text = reason.slice(0, MOST_READ).replaceAll(/\s+/g, ' ').trim()
  for (const [pattern, form, sign = ''] of PARTS)
    if (text.includes(sign)) text = text.replaceAll(pattern, form)
  return text.length <= MOST_SHOWN ? text : `${text.slice(0, MOST_SHOWN - 1)}…`
}

/**
 * The reason without what was added when the last try was used up, so that a failure and the retries before it are of
 * one kind. Takes time in proportion to its length.
 */
export function withoutEnd(reason: string): string {
  const at = reason.endsWith(')') ? reason.lastIndexOf(' (it cannot be sent again: ') : -1
  return at >= 0
    ? reason.slice(0, at)
    : reason.replace(/ \((?:failed|expired or was cancelled) \d+ times\)$/, '')
}
