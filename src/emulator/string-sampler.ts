import type { Chance } from './chance.ts'
import { mix } from './chance.ts'
import { asNumber, asString, type JsonObject } from './json.ts'
import { samplePattern } from './pattern-sampler.ts'

const DAY_MS = 86_400_000
const FIRST_DAY = Date.UTC(2026, 0, 1)
const TYPICAL_WORDS = 6

interface StringScope {
  readonly chance: Chance
  readonly words: readonly string[]
}

/** A string of a schema: in its format, after its pattern, or some of the words, within its length bounds. */
export function sampleString(schema: JsonObject, scope: StringScope, place: number): string {
  const format = asString(schema.format)
  const formatted = format === undefined ? undefined : sampleFormat(format, scope.chance, place)
  if (formatted !== undefined) return formatted
  const pattern = asString(schema.pattern)
  const least = asNumber(schema.minLength) ?? 0
  const most = asNumber(schema.maxLength) ?? Number.POSITIVE_INFINITY
  const patterned =
    pattern === undefined ? undefined : samplePattern(pattern, { least, most, place, ...scope })
  return patterned ?? sampleWords(scope, place, { least, most })
}

interface Lengths {
  readonly least: number
  readonly most: number
}

function sampleWords({ chance, words }: StringScope, place: number, { least, most }: Lengths): string {
  const supply = words.length > 0 ? words : ['nothing']
  const count = 1 + chance.pick(mix(place, 1), TYPICAL_WORDS)
  const start = chance.pick(mix(place, 2), supply.length)
  let text = ''
  for (let i = 0; i < count || [...text].length < least; i++) {
    const word = supply[(start + i) % supply.length] ?? ''
    text += text === '' ? word : ` ${word}`
  }
  return most < text.length ? [...text].slice(0, most).join('') : text
}

function sampleFormat(format: string, chance: Chance, place: number): string | undefined {
  const number = (salt: number, count: number): number => chance.pick(mix(place, salt), count)
  const moment = new Date(FIRST_DAY + number(3, 365) * DAY_MS + number(4, 86_400) * 1000).toISOString()
  const hex = (salt: number, digits: number): string =>
    mix(number(salt, 0x7fffffff), salt).toString(16).padStart(8, '0').slice(0, digits)
  switch (format) {
    case 'date-time':
      return moment
    case 'date':
      return moment.slice(0, 10)
    case 'time':
      return moment.slice(11)
    case 'duration':
      return `PT${1 + number(5, 90)}M`
    case 'email':
      return `user${number(6, 1000)}@example.com`
    case 'hostname':
      return `host${number(7, 1000)}.example.com`
    case 'ipv4':
      return `192.0.2.${1 + number(8, 254)}`
    case 'ipv6':
      return `2001:db8::${hex(9, 4)}`
    case 'uuid':
      return `${hex(10, 8)}-${hex(11, 4)}-4${hex(12, 3)}-8${hex(13, 3)}-${hex(14, 8)}${hex(15, 4)}`
    case 'uri':
      return `https://example.com/${hex(16, 8)}`
    default:
      return undefined
  }
}
