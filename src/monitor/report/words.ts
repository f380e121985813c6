import { formatCount } from '../../util/format.ts'

/** A time in UTC as people read it: `2026-01-01 09:30:00Z`; a dash for none. */
export function timeText(at: number | string | null | undefined): string {
  if (at === undefined || at === null) return '–'
  const iso = typeof at === 'string' ? at : new Date(at).toISOString()
  return `${iso.slice(0, 10)} ${iso.slice(11, 19)}Z`
}

/** `12.3%`, `<0.1%`; nothing of nothing is a dash. */
export function shareText(part: number, whole: number): string {
  if (whole === 0) return '–'
  const percent = (100 * part) / whole
  if (percent > 0 && percent < 0.1) return '<0.1%'
  return percent < 100 && percent > 99.9 ? '>99.9%' : `${Number(percent.toFixed(1))}%`
}

const SHORT = [
  { letter: 'G', least: 1e9 },
  { letter: 'M', least: 1e6 },
  { letter: 'k', least: 1e4, unit: 1e3 },
] as const

/** Counts that are long, in three digits: `9,999`, `12.3k`, `1.23M`. */
export function shortCount(count: number): string {
  for (const { letter, least, ...more } of SHORT)
    if (Math.abs(count) >= least)
      return `${Number((count / ('unit' in more ? more.unit : least)).toPrecision(3))}${letter}`
  return formatCount(count)
}
