import { errorText, TaskError } from '../errors.ts'

/** Deeper values are taken for a mistake; it also keeps the writer far from the end of the stack. */
const MAX_DEPTH = 500

/** A value, or a part of it, that has no JSON form. */
class NotJson extends Error {
  override readonly name = 'NotJson'
}

export interface JsonTextOptions {
  /** What the value is, for error messages: `the output of "text-1"`. */
  readonly what: string
  /** Code of the error for a value without a JSON form. Default: `not_json`. */
  readonly code?: string
  /** Spaces for each level; 0 writes one line. Default: 0. */
  readonly indent?: number
}

/**
 * The JSON text of a value, without loss: what has no JSON form is an error instead of being changed silently.
 *
 * - Properties that are `undefined` are left out; `undefined` anywhere else is an error.
 * - NaN, the infinities, bigints, symbols, functions, cycles and more than 500 levels are errors.
 * - `toJSON` is called where there is one, once; what it gives must be JSON in turn.
 * - A `Map` with texts as keys becomes an object in the map's order (an ordinary object puts keys that look like
 *   whole numbers first). Other objects must be plain: a `Set` or a class instance is an error.
 *
 * Throws TaskError, naming `what` and the place in it.
 */
export function jsonText(value: unknown, { what, code = 'not_json', indent = 0 }: JsonTextOptions): string {
  const writer = new JsonWriter(indent)
  try {
    return writer.write(value)
  } catch (error) {
    const advice = 'Give plain objects, arrays, texts, finite numbers, booleans and null.'
    const message = `${what} cannot be written as JSON at ${writer.place}: ${errorText(error)}. ${advice}`
    throw new TaskError(code, message, { cause: error })
  }
}

/** The value as it will be read back: what it is now, whatever becomes of the original. Throws as `jsonText`. */
export const jsonCopy = (value: unknown, options: JsonTextOptions): unknown =>
  JSON.parse(jsonText(value, options))

class JsonWriter {
  readonly #indent: number
  /** Names and indices that lead to what is being written; where it stopped, after an error. */
  readonly #path: (string | number)[] = []
  /** What is being written and all that holds it. */
  readonly #open = new Set<object>()

  constructor(indent: number) {
    this.#indent = indent
  }

  /** Where the writer is: `$` for the whole value, `$.list[1]["odd name"]` for a part. */
  get place(): string {
    return this.#path.reduce<string>(
      (place, step) => place + (isIdentifier(step) ? `.${step}` : `[${JSON.stringify(step)}]`),
      '$',
    )
  }

  write(value: unknown): string {
    if (typeof value === 'string') return JSON.stringify(value)
    if (typeof value === 'boolean' || value === null) return String(value)
    if (typeof value === 'number') return numberText(value)
    if (typeof value !== 'object') throw new NotJson(`${describe(value)} has no JSON form`)
    if (this.#open.has(value)) throw new NotJson('the value contains itself')
    if (this.#open.size === MAX_DEPTH) throw new NotJson(`it has more than ${MAX_DEPTH} levels`)
    this.#open.add(value)
    const text = this.#object(value)
    this.#open.delete(value)
    return text
  }

  #object(value: object): string {
    if (hasToJson(value)) return this.write(this.#converted(value))
    return Array.isArray(value) ? this.#array(value) : this.#properties(value)
  }

  #converted(value: HasToJson): unknown {
    // An invalid date would become null without a word.
    if (value instanceof Date && Number.isNaN(value.getTime())) throw new NotJson('the date is invalid')
    return value.toJSON(String(this.#path.at(-1) ?? ''))
  }

  #array(items: readonly unknown[]): string {
    const between = this.#between()
    let text = ''
    // By index, because a hole is an undefined here and must not be passed over.
    for (let at = 0; at < items.length; at++) {
      text += `${at > 0 ? ',' : ''}${between}${this.#step(at, items[at])}`
    }
    return text === '' ? '[]' : `[${text}${this.#last()}]`
  }

  #properties(value: object): string {
    const colon = this.#indent > 0 ? ': ' : ':'
    const between = this.#between()
    let text = ''
    for (const [key, item] of entriesOf(value)) {
      if (item === undefined) continue
      text += `${text === '' ? '' : ','}${between}${JSON.stringify(key)}${colon}${this.#step(key, item)}`
    }
    return text === '' ? '{}' : `{${text}${this.#last()}}`
  }

  #step(name: string | number, value: unknown): string {
    this.#path.push(name)
    const text = this.write(value)
    this.#path.pop()
    return text
  }

  /** What goes before each item of the object that is being written. */
  #between(): string {
    return this.#indent > 0 ? `\n${' '.repeat(this.#indent * (this.#path.length + 1))}` : ''
  }

  /** What goes after its last item. */
  #last(): string {
    return this.#indent > 0 ? `\n${' '.repeat(this.#indent * this.#path.length)}` : ''
  }
}

interface HasToJson {
  toJSON(name: string): unknown
}

const hasToJson = (value: object): value is HasToJson =>
  'toJSON' in value && typeof value.toJSON === 'function'

function numberText(value: number): string {
  if (!Number.isFinite(value)) throw new NotJson(`${value} has no JSON form`)
  return String(value)
}

function entriesOf(value: object): Iterable<readonly [string, unknown]> {
  if (value instanceof Map) return textKeyed(value)
  if (isPlain(value)) return Object.entries(value)
  throw new NotJson(`${describe(value)} is not plain; spread it into one, or give it a toJSON`)
}

function* textKeyed(map: ReadonlyMap<unknown, unknown>): Iterable<readonly [string, unknown]> {
  for (const [key, item] of map) {
    if (typeof key !== 'string') throw new NotJson(`a key of the map is ${describe(key)}, which is no text`)
    yield [key, item]
  }
}

/** Also true for objects of another realm (`node:vm`), whose `Object.prototype` is not ours. */
function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype === null) return true
  return typeof prototype === 'object' && Object.getPrototypeOf(prototype) === null
}

const isIdentifier = (step: string | number): boolean =>
  typeof step === 'string' && /^[A-Za-z_$][\w$]*$/.test(step)

function describe(value: unknown): string {
  if (typeof value === 'object' && value !== null)
    return `an object of class ${value.constructor?.name ?? '(none)'}`
  if (typeof value === 'bigint') return `the bigint ${value}n`
  return typeof value === 'undefined' || value === null ? String(value) : `a ${typeof value}`
}
