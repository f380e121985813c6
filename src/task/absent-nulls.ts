import { asNode, children, isRecord, type JsonNode, resolve } from './json-node.ts'
import type { StrictForm } from './strict-json-schema.ts'

/**
 * The readings of an answer in which a null of an optional property is left out, best first. There is more than
 * one when options of a union look alike: the first that fits is taken, then the last, then the text as it is.
 */
export function* absentReadings(form: StrictForm, answer: unknown): Generator<unknown> {
  if (form.optional.size > 0) {
    yield withoutNulls(form.schema, answer, { form, order: (options) => options })
    yield withoutNulls(form.schema, answer, { form, order: (options) => options.toReversed() })
  }
  yield answer
}

interface Reading {
  readonly form: StrictForm
  readonly order: (options: readonly unknown[]) => readonly unknown[]
}

function withoutNulls(node: JsonNode, value: unknown, reading: Reading): unknown {
  const { form, order } = reading
  const target = resolve(node, form.schema)
  if (Array.isArray(target.anyOf)) {
    const fitting = order(target.anyOf).find((option) => fits(asNode(option), value, form))
    return fitting === undefined ? value : withoutNulls(asNode(fitting), value, reading)
  }
  if (Array.isArray(value)) return value.map((item) => withoutNulls(asNode(target.items), item, reading))
  if (!isRecord(value)) return value
  const properties = children(target.properties)
  const optional = form.optional.get(target)
  return Object.fromEntries(
    Object.entries(value)
      .filter(([name, item]) => item !== null || !optional?.has(name))
      .map(([name, item]) => [name, withoutNulls(properties[name] ?? {}, item, reading)]),
  )
}

/** Whether a value has the outline of a node: types, fixed values and properties, without bounds and patterns. */
function fits(node: JsonNode, value: unknown, form: StrictForm): boolean {
  const target = resolve(node, form.schema)
  if (Array.isArray(target.anyOf)) return target.anyOf.some((option) => fits(asNode(option), value, form))
  if ('const' in target) return target.const === value
  if (Array.isArray(target.enum)) return target.enum.includes(value)
  const types: readonly unknown[] = Array.isArray(target.type) ? target.type : [target.type]
  if (!types.some((type) => hasType(type, value))) return false
  if (Array.isArray(value)) return value.every((item) => fits(asNode(target.items), item, form))
  return !isRecord(value) || fitsObject(target, value, form)
}

/** Optional properties may be missing: a body with a format of its own leaves them out. */
function fitsObject(node: JsonNode, value: JsonNode, form: StrictForm): boolean {
  const properties = children(node.properties)
  const optional = form.optional.get(node)
  return (
    Object.keys(value).every((name) => Object.hasOwn(properties, name)) &&
    Object.entries(properties).every(([name, child]) =>
      Object.hasOwn(value, name) ? fits(child, value[name], form) : optional?.has(name),
    )
  )
}

function hasType(type: unknown, value: unknown): boolean {
  if (type === 'null') return value === null
  if (type === 'array') return Array.isArray(value)
  if (type === 'object') return isRecord(value)
  if (type === 'integer') return Number.isInteger(value)
  return typeof value === type
}
