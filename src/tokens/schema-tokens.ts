import type { ToolForm } from './families.ts'
import { isObject, type JsonObject, listOf, textOf } from './json-value.ts'
import type { FunctionText } from './prompt.ts'

/** Counts the tokens of a text. */
export type CountText = (text: string) => number

/**
 * Tokens that the form of a function's text costs beside its words, found by comparing bills of late 2024; the gpt-4o
 * column also serves newer models.
 */
interface FormCosts {
  /** How many dots at the end of a description are left out. */
  readonly strippedDots: number
  readonly anyDescription: number
  readonly description: number
  readonly scalarDescription: number
  readonly objectDescription: number
  readonly listDescription: number
}

const TURBO: FormCosts = {
  strippedDots: 3,
  anyDescription: 1,
  description: 1,
  scalarDescription: 3,
  objectDescription: 2,
  listDescription: 2,
}
const FORMS: Readonly<Record<ToolForm, FormCosts>> = {
  turbo: TURBO,
  'gpt-4': { ...TURBO, anyDescription: 0, description: 2 },
  'gpt-4o': {
    strippedDots: 4,
    anyDescription: 1,
    description: 0,
    scalarDescription: 2,
    objectDescription: 1,
    listDescription: 1,
  },
}

const PER_FUNCTION = 6
const PER_LIST = 12
const ROOT_PROPERTIES = 2
const PER_KEY = 2
const PER_TITLE = 3
const BETWEEN_CHOICES = 3
const EMPTY_OBJECT = 1
const LAST_IN_PARENT = 1
const ITEM_OBJECT_DESCRIPTION = 4
const ITEM_DESCRIPTION = 5
/** Deeper schemas are cut here, so that no nesting exhausts the stack. */
const MAX_DEPTH = 100

/** Tokens of a list of functions; 0 for an empty one. */
export const functionTokens = (
  functions: readonly FunctionText[],
  form: ToolForm,
  count: CountText,
): number =>
  functions.length === 0
    ? 0
    : functions.reduce((sum, one) => sum + new FunctionCounter(FORMS[form], count).tokens(one), PER_LIST)

/** Counts one function as the declaration that the server writes of it. Reads any schema, however odd. */
class FunctionCounter {
  readonly #form: FormCosts
  readonly #count: CountText

  constructor(form: FormCosts, count: CountText) {
    this.#form = form
    this.#count = count
  }

  tokens({ name, description, schema }: FunctionText): number {
    const told = description?.trim() ?? ''
    let sum = PER_FUNCTION + this.#count(name)
    if (description !== undefined && description !== '') sum += this.#form.anyDescription
    if (told !== '') sum += this.#form.description + this.#words(told)
    return sum + (isObject(schema) ? this.#root(schema) : this.#count(textOf(schema) ?? ''))
  }

  #root(schema: JsonObject): number {
    const parts = [schema.$defs, schema.definitions, schema.properties].filter(isObject)
    const sets = parts.reduce((sum, part) => sum + this.#properties(part, 0), 0)
    return (
      this.#title(schema) + this.#alternatives(schema, 0) + (parts.length > 0 ? ROOT_PROPERTIES + sets : 0)
    )
  }

  #properties(properties: JsonObject, depth: number): number {
    let sum = 0
    let last = 0
    for (const [key, value] of Object.entries(properties)) {
      sum += PER_KEY + this.#count(key)
      last = 0
      if (!isObject(value)) continue
      sum += this.#title(value) + this.#property(value, depth)
      last = endsWithBracket(value) ? LAST_IN_PARENT : 0
    }
    return sum + last
  }

  #property(value: JsonObject, depth: number): number {
    const { objectDescription, listDescription, scalarDescription } = this.#form
    if (isObject(value.properties))
      return this.#described(value, objectDescription) + this.#shape(value, depth)
    const isList = isObject(value.items) || Array.isArray(value.enum)
    return this.#described(value, isList ? listDescription : scalarDescription) + this.#shape(value, depth)
  }

  /** What follows the colon: a type, alternatives, an object in braces, a list of something. */
  #shape(value: JsonObject, depth: number): number {
    if (depth >= MAX_DEPTH) return 0
    const { type, properties, items, $ref } = value
    let sum = this.#choices(value.enum) + this.#alternatives(value, depth)
    if ('const' in value) sum += this.#choices([value.const])
    if (typeof $ref === 'string') sum += this.#count($ref.split('/').at(-1) ?? '')
    if (isObject(properties)) return sum + this.#object(properties, depth)
    if (isObject(items)) return sum + this.#items(items, depth)
    return sum + (type === 'object' ? EMPTY_OBJECT : this.#types(type))
  }

  #object(properties: JsonObject, depth: number): number {
    return Object.keys(properties).length > 0 ? this.#properties(properties, depth + 1) : EMPTY_OBJECT
  }

  #items(items: JsonObject, depth: number): number {
    if (!isObject(items.properties))
      return this.#shape(items, depth + 1) + this.#described(items, ITEM_DESCRIPTION)
    const isFull = Object.keys(items.properties).length > 0
    const description = this.#described(items, isFull ? ITEM_OBJECT_DESCRIPTION : ITEM_DESCRIPTION)
    return this.#types(items.type) + this.#shape(items, depth + 1) + description
  }

  #alternatives(value: JsonObject, depth: number): number {
    let sum = 0
    for (const list of [value.anyOf, value.oneOf, value.allOf]) {
      const shapes = listOf(list).filter(isObject)
      sum += Math.max(0, shapes.length - 1) * BETWEEN_CHOICES
      for (const shape of shapes)
        sum += this.#described(shape, ITEM_DESCRIPTION) + this.#shape(shape, depth + 1)
    }
    return sum
  }

  #types(type: unknown): number {
    return Array.isArray(type) ? this.#choices(type) : this.#count(textOf(type) ?? '')
  }

  #choices(values: unknown): number {
    const words = listOf(values).map((one) => textOf(one) ?? JSON.stringify(one) ?? '')
    const between = Math.max(0, words.length - 1) * BETWEEN_CHOICES
    return words.reduce((sum, word) => sum + this.#count(word), between)
  }

  #title({ title }: JsonObject): number {
    return typeof title === 'string' ? PER_TITLE + this.#count(title) : 0
  }

  #described({ description }: JsonObject, cost: number): number {
    return typeof description === 'string' && description !== '' ? cost + this.#words(description) : 0
  }

  #words(description: string): number {
    let end = description.length
    const least = end - this.#form.strippedDots
    while (end > 0 && end > least && description[end - 1] === '.') end--
    return this.#count(description.slice(0, end))
  }
}

/** An enum does not: the example of OpenAI's cookbook, which ends with one, was billed without the extra token. */
const endsWithBracket = ({ items, properties }: JsonObject): boolean =>
  isObject(items) || (isObject(properties) && Object.keys(properties).length > 0)
