import { type Chance, mix } from './chance.ts'

export interface PatternOptions {
  readonly chance: Chance
  readonly place: number
  /** Bounds of the length. */
  readonly least: number
  readonly most: number
}

type Node =
  | { readonly kind: 'chars'; readonly choices: string }
  | { readonly kind: 'group'; readonly branches: readonly (readonly Repeat[])[] }

interface Repeat {
  readonly node: Node
  readonly least: number
  readonly most: number
}

const LETTERS = 'abcdefghijklmnopqrstuvwxyz'
const DIGITS = '0123456789'
const WORD = `${LETTERS}${LETTERS.toUpperCase()}${DIGITS}_`
const PRINTABLE = `${LETTERS}${DIGITS}${LETTERS.toUpperCase()} !"#$%&'()*+,-./:;<=>?@[\\]^_\`{|}~`
const CLASSES: Readonly<Record<string, string>> = { d: DIGITS, w: WORD, s: ' ', n: '\n', t: '\t', r: '\r' }
const TRIES = 8

/**
 * A text that a regular expression accepts, for the plain ones schemas use: literals, classes, groups,
 * alternatives and quantifiers. `undefined` when it knows none (look-around, back references, odd lengths).
 */
export function samplePattern(pattern: string, options: PatternOptions): string | undefined {
  const expression = compile(pattern)
  const tree = expression === undefined ? undefined : new PatternParser(pattern).parse()
  if (expression === undefined || tree === undefined) return undefined
  for (let extra = 0; extra < TRIES; extra++) {
    const text = write(tree, { ...options, place: mix(options.place, extra) }, extra)
    const fits = text.length >= options.least && text.length <= options.most
    if (fits && expression.test(text)) return text
  }
  return undefined
}

function compile(pattern: string): RegExp | undefined {
  try {
    return new RegExp(pattern, 'u')
  } catch (error) {
    // A pattern of another dialect: the caller falls back on plain words.
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}

/** Writes one text; later tries repeat more, so that a least length is reached. */
function write(node: Node, options: PatternOptions, extra: number): string {
  const { chance, place } = options
  if (node.kind === 'chars') return node.choices[chance.pick(place, node.choices.length)] ?? ''
  const branch = node.branches[chance.pick(place, node.branches.length)] ?? []
  const reach = extra === 0 ? 2 : Math.ceil(options.least * (extra / 2)) + 1
  let text = ''
  for (const [index, { node: inner, least, most }] of branch.entries()) {
    const spread = Math.min(most, least + reach) - least + 1
    const times = least + chance.pick(mix(place, index), spread)
    for (let i = 0; i < times; i++)
      text += write(inner, { ...options, place: mix(place, index * 97 + i) }, extra)
  }
  return text
}

class PatternParser {
  readonly #source: string
  #at = 0

  constructor(source: string) {
    this.#source = source
  }

  /** `undefined` when something is not understood. */
  parse(): Node | undefined {
    const node = this.#alternatives()
    return this.#at === this.#source.length ? node : undefined
  }

  #alternatives(): Node | undefined {
    const branches: (readonly Repeat[])[] = []
    do {
      const branch = this.#sequence()
      if (branch === undefined) return undefined
      branches.push(branch)
    } while (this.#take('|'))
    return { kind: 'group', branches }
  }

  #sequence(): readonly Repeat[] | undefined {
    const parts: Repeat[] = []
    while (this.#at < this.#source.length && !'|)'.includes(this.#source.charAt(this.#at))) {
      if (this.#take('^') || this.#take('$')) continue
      const node = this.#atom()
      if (node === undefined) return undefined
      parts.push({ node, ...this.#quantifier() })
    }
    return parts
  }

  #atom(): Node | undefined {
    if (this.#take('(?:') || (!this.#source.startsWith('(?', this.#at) && this.#take('('))) {
      const node = this.#alternatives()
      return this.#take(')') ? node : undefined
    }
    if (this.#take('[')) return this.#charClass()
    if (this.#take('.')) return { kind: 'chars', choices: LETTERS }
    const choices = this.#character()
    return choices === undefined ? undefined : { kind: 'chars', choices }
  }

  #charClass(): Node | undefined {
    const negated = this.#take('^')
    let choices = ''
    while (!this.#take(']')) {
      const first = this.#character(true)
      if (first === undefined) return undefined
      const isRange = first.length === 1 && /^-[^\]]/.test(this.#source.slice(this.#at, this.#at + 2))
      const last = isRange && this.#take('-') ? this.#character(true) : first
      choices += isRange ? range(first, last ?? first) : first
    }
    const kept = negated ? [...PRINTABLE].filter((char) => !choices.includes(char)).join('') : choices
    return kept === '' ? undefined : { kind: 'chars', choices: kept }
  }

  /** The characters that the next literal or escape stands for. */
  #character(insideClass = false): string | undefined {
    const char = this.#source.charAt(this.#at)
    if (char === '' || (!insideClass && '*+?{('.includes(char))) return undefined
    this.#at += 1
    if (char !== '\\') return char
    const escaped = this.#source.charAt(this.#at)
    this.#at += 1
    if (/[A-Za-z0-9]/.test(escaped)) return CLASSES[escaped]
    return escaped === '' ? undefined : escaped
  }

  #quantifier(): { readonly least: number; readonly most: number } {
    const match = /^(?:([*+?])|\{(\d+)(,?)(\d*)\})\??/.exec(this.#source.slice(this.#at))
    if (match === null) return { least: 1, most: 1 }
    this.#at += match[0].length
    const [, sign, least = '0', comma, most] = match
    if (sign !== undefined) return { least: sign === '+' ? 1 : 0, most: sign === '?' ? 1 : Infinity }
    if (comma === '') return { least: Number(least), most: Number(least) }
    return { least: Number(least), most: most === '' ? Infinity : Number(most) }
  }

  #take(text: string): boolean {
    if (!this.#source.startsWith(text, this.#at)) return false
    this.#at += text.length
    return true
  }
}

const range = (first: string, last: string): string => {
  const from = first.charCodeAt(0)
  const size = Math.min(Math.max(last.charCodeAt(0) - from + 1, 0), 256)
  return String.fromCharCode(...Array.from({ length: size }, (_, index) => from + index))
}
