/** `1234567` as `1,234,567`. */
export const formatCount = (count: number): string => count.toLocaleString('en-US')

const UNITS = [
  { letter: 'd', seconds: 86_400 },
  { letter: 'h', seconds: 3600 },
  { letter: 'm', seconds: 60 },
  { letter: 's', seconds: 1 },
] as const

/** Milliseconds in its two largest units, cut to whole seconds: `0s`, `15s`, `3m`, `2h5m`, `1d4h`. */
export function formatDuration(ms: number): string {
  if (!Number.isFinite(ms)) return ms > 0 ? 'for ever' : '?'
  const seconds = Math.floor(Math.max(0, ms) / 1000)
  const first = UNITS.findIndex((unit) => seconds >= unit.seconds)
  const parts: string[] = []
  let rest = seconds
  for (const unit of first < 0 ? [] : UNITS.slice(first, first + 2)) {
    const count = Math.floor(rest / unit.seconds)
    rest -= count * unit.seconds
    if (count > 0) parts.push(`${count}${unit.letter}`)
  }
  return parts.join('') || '0s'
}

const SIZES = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'] as const

/** A size in units of 1000 with at most three digits: `0 B`, `999 B`, `1.5 kB`, `12.3 MB`. */
export function formatBytes(bytes: number): string {
  let value = bytes
  let unit = 0
  while (Math.abs(threeDigits(value)) >= 1000 && unit < SIZES.length - 1) {
    value /= 1000
    unit++
  }
  return `${threeDigits(value)} ${SIZES[unit]}`
}

const threeDigits = (value: number): number =>
  Math.abs(value) >= 1000 ? Math.round(value) : Number(value.toPrecision(3))

/** Nano-USD (10^-9 USD) as dollars: `$0.00`, `$0.0123`, `$1.50`, `$1,234.00`; what rounds to nothing is `<$0.0001`. */
export function formatUsd(nanoUsd: number): string {
  const dollars = Math.abs(nanoUsd) / 1e9
  const sign = nanoUsd < 0 ? '-' : ''
  if (dollars === 0) return '$0.00'
  if (dollars < 0.0001) return `${sign}<$0.0001`
  const digits = dollars < 0.99995 ? 4 : 2
  const text = dollars.toLocaleString('en-US', {
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
  })
  return `${sign}$${text}`
}
