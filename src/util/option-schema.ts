import { z } from 'zod'

/** The kinds of value that a flag on a command line can carry. */
export type ValueShape =
  | { readonly kind: 'boolean' }
  | { readonly kind: 'number'; readonly whole: boolean; readonly min?: number; readonly max?: number }
  | { readonly kind: 'text' }
  | { readonly kind: 'choice'; readonly choices: readonly Choice[] }
  | { readonly kind: 'list'; readonly element: ValueShape }

export type Choice = string | number

export interface SchemaFacts {
  /** Undefined when no flag can carry such a value. */
  readonly shape: ValueShape | undefined
  /** The default, undefined when there is none. */
  readonly fallback: unknown
  /** False when the value may be left out. */
  readonly required: boolean
}

/** Reads off a zod schema how its value is written as a flag. Wrappers such as `optional` are looked through. */
export function schemaFacts(schema: z.core.$ZodType): SchemaFacts {
  if (schema instanceof z.ZodDefault || schema instanceof z.ZodPrefault)
    return { ...schemaFacts(schema.def.innerType), fallback: schema.def.defaultValue, required: false }
  if (schema instanceof z.ZodOptional) return { ...schemaFacts(schema.def.innerType), required: false }
  if (schema instanceof z.ZodCatch) return { ...schemaFacts(schema.def.innerType), required: false }
  if (
    schema instanceof z.ZodNullable ||
    schema instanceof z.ZodReadonly ||
    schema instanceof z.ZodNonOptional
  )
    return schemaFacts(schema.def.innerType)
  if (schema instanceof z.ZodPipe) return schemaFacts(pipeEntry(schema))
  return { shape: plainShape(schema), fallback: undefined, required: true }
}

/** The side of a pipe that says what goes in; a preprocessing step says nothing, so its target does. */
const pipeEntry = (pipe: z.ZodPipe): z.core.$ZodType =>
  pipe.def.in instanceof z.ZodTransform ? pipe.def.out : pipe.def.in

function plainShape(schema: z.core.$ZodType): ValueShape | undefined {
  if (schema instanceof z.ZodBoolean) return { kind: 'boolean' }
  if (schema instanceof z.ZodNumber) return numberShape(schema)
  if (schema instanceof z.ZodString || schema instanceof z.ZodStringFormat) return { kind: 'text' }
  if (schema instanceof z.ZodEnum) return { kind: 'choice', choices: schema.options }
  if (schema instanceof z.ZodLiteral) return literalShape(schema)
  if (schema instanceof z.ZodArray) return listShape(schema)
  return undefined
}

function numberShape(schema: z.ZodNumber): ValueShape {
  const { minValue: min, maxValue: max } = schema
  return {
    kind: 'number',
    whole: schema.isInt,
    ...(isBound(min) ? { min } : {}),
    ...(isBound(max) ? { max } : {}),
  }
}

/** The schema of whole numbers brings the safe integers along as its bounds; they mean "no limit". */
const isBound = (bound: number | null): bound is number =>
  bound !== null && Math.abs(bound) < Number.MAX_SAFE_INTEGER

function literalShape(schema: z.ZodLiteral): ValueShape | undefined {
  const values = [...schema.values]
  const choices = values.filter((value) => typeof value === 'string' || typeof value === 'number')
  return choices.length === values.length ? { kind: 'choice', choices } : undefined
}

function listShape(schema: z.ZodArray): ValueShape | undefined {
  const { shape: element } = schemaFacts(schema.def.element)
  const repeatable = element && element.kind !== 'list' && element.kind !== 'boolean'
  return repeatable ? { kind: 'list', element } : undefined
}

const SWITCH: ReadonlyMap<string, boolean> = new Map([
  ['true', true],
  ['false', false],
])

const DECIMAL = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i

/** Whether the text is a decimal number, as `-1`, `0.5` or `1e6`. */
export const isDecimal = (text: string): boolean => DECIMAL.test(text)

/** Turns the text of one flag into a value of its shape; undefined when it is none. Ranges are left to the schema. */
export function valueFromText(shape: ValueShape, text: string, ignoreCase = false): unknown {
  const told = ignoreCase ? text.toLowerCase() : text
  switch (shape.kind) {
    case 'boolean':
      return SWITCH.get(text.toLowerCase())
    case 'number':
      return isDecimal(text) ? Number(text) : undefined
    case 'text':
      return told
    case 'choice':
      return shape.choices.find((choice) => String(choice) === told)
    case 'list':
      return valueFromText(shape.element, text, ignoreCase)
    default:
      return shape satisfies never
  }
}

/** What the shape allows, in words that follow "must be". */
export function allowedText(shape: ValueShape): string {
  switch (shape.kind) {
    case 'boolean':
      return 'true or false'
    case 'number':
      return `a ${shape.whole ? 'whole number' : 'number'}${rangeText(shape.min, shape.max)}`
    case 'text':
      return 'a text'
    case 'choice':
      return shape.choices.length === 1 ? `${shape.choices[0]}` : `one of ${shape.choices.join(', ')}`
    case 'list':
      return `a list, each of it ${allowedText(shape.element)}`
    default:
      return shape satisfies never
  }
}

function rangeText(min: number | undefined, max: number | undefined): string {
  if (min !== undefined && max !== undefined) return ` from ${min} to ${max}`
  if (min !== undefined) return `, ${min} or more`
  return max === undefined ? '' : `, ${max} or less`
}
