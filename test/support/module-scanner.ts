/** A piece of TypeScript: comments and regular expressions are left out, strings are unescaped only as far as needed. */
export interface Token {
  readonly kind: 'word' | 'string' | 'punctuation'
  readonly text: string
  readonly line: number
}

export interface ModuleReference {
  /** Undefined when it is computed at run time. */
  readonly specifier: string | undefined
  readonly typeOnly: boolean
  readonly line: number
}

const SPACE = /(?:\s+|\/\/[^\n]*|\/\*[\s\S]*?\*\/)+/y
const WORD = /[\p{L}\p{N}_$#]+/uy
const STRING = /'(?:[^'\\\n]|\\[\s\S])*'|"(?:[^"\\\n]|\\[\s\S])*"/y
const REGEX = /\/(?:[^/\\[\n]|\\.|\[(?:[^\]\\\n]|\\.)*\])+\/[a-z]*/y
const TEMPLATE_PIECE = /(?:[^`\\$]|\\[\s\S]|\$(?!\{))*/y
const OPENING = '${'
const PUNCTUATION = /\?\.|=>|\.\.\.|[^\s]/y

/** Words after which a slash begins a regular expression, although after other words it divides. */
const BEFORE_REGEX = new Set(
  'return typeof case in of delete void throw new instanceof await yield else do'.split(' '),
)

/** Splits a module into tokens. Throws on text that it cannot follow, rather than to miss an import in it. */
export const tokenize = (source: string): readonly Token[] => new Tokenizer(source).run()

class Tokenizer {
  readonly #source: string
  readonly #tokens: Token[] = []
  /** For each template literal around the current place: how many braces are open inside its `${`. */
  readonly #templates: number[] = []
  #at = 0
  #line = 1

  constructor(source: string) {
    this.#source = source
  }

  run(): readonly Token[] {
    while (this.#at < this.#source.length) if (this.#take(SPACE) === undefined) this.#readToken()
    return this.#tokens
  }

  #readToken(): void {
    const line = this.#line
    const string = this.#take(STRING)
    if (string !== undefined) this.#push('string', string.slice(1, -1), line)
    else if (this.#takeRegex()) this.#push('string', '/…/', line)
    else {
      const word = this.#take(WORD)
      if (word === undefined) this.#readPunctuation()
      else this.#push('word', word, line)
    }
  }

  #takeRegex(): boolean {
    if (this.#source[this.#at] !== '/' || !mayBeRegex(this.#tokens.at(-1))) return false
    return this.#take(REGEX) !== undefined
  }

  #readPunctuation(): void {
    const text = this.#take(PUNCTUATION) ?? ''
    const open = this.#templates.at(-1)
    if (text === "'" || text === '"') throw new Error(`line ${this.#line}: a string does not end`)
    if (text === '}' && open === 0) this.#templates.pop()
    if (text === '`' || (text === '}' && open === 0)) this.#readTemplate()
    else {
      const change = { '{': 1, '}': -1 }[text] ?? 0
      if (open !== undefined) this.#templates[this.#templates.length - 1] = open + change
      this.#push('punctuation', text, this.#line)
    }
  }

  /** Reads on in a template literal, up to its end or to the next value in it. */
  #readTemplate(): void {
    const line = this.#line
    const piece = this.#take(TEMPLATE_PIECE) ?? ''
    const rest = this.#source.slice(this.#at, this.#at + 2)
    if (rest.startsWith('`')) this.#push('string', piece, line)
    else if (rest === OPENING) this.#push('punctuation', rest, line)
    else throw new Error(`line ${line}: a template literal does not end`)
    if (rest === OPENING) this.#templates.push(0)
    this.#at += rest === OPENING ? 2 : 1
  }

  #take(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.#at
    const text = pattern.exec(this.#source)?.[0]
    if (!text) return undefined
    this.#at += text.length
    this.#line += text.split('\n').length - 1
    return text
  }

  #push(kind: Token['kind'], text: string, line: number): void {
    this.#tokens.push({ kind, text, line })
  }
}

function mayBeRegex(before: Token | undefined): boolean {
  if (!before) return true
  if (before.kind === 'punctuation') return ![')', ']', '}'].includes(before.text)
  return before.kind === 'word' && BEFORE_REGEX.has(before.text)
}

/** Every module that the source names: imports, re-exports, `import()` (as a call or a type) and `require()`. */
export function moduleReferences(source: string): ModuleReference[] {
  const tokens = tokenize(source)
  return tokens.flatMap((token, at) => {
    if (token.kind !== 'word' || isMember(tokens, at)) return []
    const found = READERS.get(token.text)?.(tokens, at)
    return found ? [{ ...found, line: token.line }] : []
  })
}

type Found = Omit<ModuleReference, 'line'> | undefined
const is = (token: Token | undefined, text: string) => token?.kind !== 'string' && token?.text === text

/** `x.import`, `import.meta` and `{ import: 1 }` are no imports. */
const isMember = (tokens: readonly Token[], at: number): boolean =>
  is(tokens[at - 1], '.') || is(tokens[at - 1], '?.') || is(tokens[at + 1], '.') || is(tokens[at + 1], ':')

function importAt(tokens: readonly Token[], at: number): Found {
  const next = tokens[at + 1]
  if (next?.kind === 'string') return { specifier: next.text, typeOnly: false }
  return is(next, '(') ? callAt(tokens, at) : clauseAt(tokens, at)
}

function exportAt(tokens: readonly Token[], at: number): Found {
  const next = is(tokens[at + 1], 'type') ? tokens[at + 2] : tokens[at + 1]
  return is(next, '{') || is(next, '*') ? clauseAt(tokens, at) : undefined
}

const requireAt = (tokens: readonly Token[], at: number): Found =>
  is(tokens[at + 1], '(') && !is(tokens[at - 1], 'function') ? callAt(tokens, at) : undefined

function callAt(tokens: readonly Token[], at: number): Found {
  const [value, after] = tokens.slice(at + 2, at + 4)
  const literal = value?.kind === 'string' && (is(after, ')') || is(after, ','))
  return { specifier: literal ? value.text : undefined, typeOnly: false }
}

/** Walks over names and braces to the `from` that is followed by a string. */
function clauseAt(tokens: readonly Token[], at: number): Found {
  const typeOnly = is(tokens[at + 1], 'type') && !is(tokens[at + 2], 'from') && !is(tokens[at + 2], ',')
  let depth = 0
  for (let place = at + 1; place < tokens.length; place++) {
    const token = tokens[place]
    const next = tokens[place + 1]
    if (depth === 0 && is(token, 'from') && next?.kind === 'string') return { specifier: next.text, typeOnly }
    if (is(token, '{')) depth++
    else if (is(token, '}')) depth--
    else if (depth === 0 && token?.kind !== 'word' && !is(token, ',') && !is(token, '*')) return undefined
    if (depth === 0 && is(token, '}') && !is(next, 'from')) return undefined
  }
  return undefined
}

const READERS = new Map([
  ['import', importAt],
  ['export', exportAt],
  ['require', requireAt],
])
