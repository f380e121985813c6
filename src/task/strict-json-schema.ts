import { z } from 'zod'
import { errorText, NightshiftError, TaskError } from '../errors.ts'
import { inexpressible, type Path } from './inexpressible.ts'
import { asNode, children, isRecord, type JsonNode, resolve } from './json-node.ts'

/** A schema in the form that OpenAI's strict mode asks for, and what was bent to get there. */
export interface StrictForm {
  readonly schema: JsonNode
  /** Per object node of `schema`: properties that were optional. Their null means "absent". */
  readonly optional: ReadonlyMap<JsonNode, ReadonlySet<string>>
  /** The answer sits in the property `value`, because the root has to be an object. */
  readonly wrapped: boolean
}

interface Context {
  readonly where: string
  readonly source: JsonNode
  readonly optional: Map<JsonNode, ReadonlySet<string>>
  /** What `#` has to be called once the root is wrapped. */
  readonly rootRef: string
}

const WRAPPED_ROOT = 'root'
/** Keywords that are kept as they are; what they demand of a value is shown to the model. */
const KEPT = ['title', 'description', 'multipleOf', 'minItems', 'maxItems'] as const
const BOUNDS = ['minimum', 'maximum', 'exclusiveMinimum', 'exclusiveMaximum'] as const
const LOOKAROUND = /\(\?[=!<]/
const FORMATS: ReadonlySet<unknown> = new Set([
  'date-time',
  'time',
  'date',
  'duration',
  'email',
  'hostname',
  'ipv4',
  'ipv6',
  'uuid',
])

/**
 * Rewrites a zod schema for strict mode: every object closed and all its properties required, optional ones
 * nullable, unsupported keywords left out (zod still checks the answer against all of the schema).
 * Throws `TaskError` (`schema_not_expressible`) naming the path and what to use instead.
 */
export function strictForm(schema: z.ZodType, where: string): StrictForm {
  const source = toJsonSchema(schema, where)
  const root = resolve(source, source)
  const wrapped = root.type !== 'object'
  const rootRef = wrapped ? `#/$defs/${freeName(source)}` : '#'
  const context: Context = { where, source, optional: new Map(), rootRef }
  const main = strictNode(root, context, [])
  const defs = Object.entries(children(source.$defs)).map(
    ([name, node]) => [name, strictNode(node, context, ['$defs', name])] as const,
  )
  if (wrapped) return wrap(main, defs, context)
  const strict =
    defs.length === 0 ? main : withOptional(main, { ...main, $defs: Object.fromEntries(defs) }, context)
  return { schema: strict, optional: context.optional, wrapped }
}

function wrap(main: JsonNode, defs: readonly (readonly [string, JsonNode])[], context: Context): StrictForm {
  const name = context.rootRef.slice('#/$defs/'.length)
  const schema = {
    type: 'object',
    properties: { value: { $ref: context.rootRef } },
    required: ['value'],
    additionalProperties: false,
    $defs: Object.fromEntries([...defs, [name, main]]),
  }
  return { schema, optional: context.optional, wrapped: true }
}

/** `copy` stands for `node` from now on. */
function withOptional(node: JsonNode, copy: JsonNode, { optional }: Context): JsonNode {
  const names = optional.get(node)
  if (names) optional.set(copy, names)
  return copy
}

function freeName(source: JsonNode): string {
  const taken = children(source.$defs)
  let name = WRAPPED_ROOT
  while (name in taken) name = `${name}_`
  return name
}

function toJsonSchema(schema: z.ZodType, where: string): JsonNode {
  try {
    return z.toJSONSchema(schema, {
      io: 'input',
      unrepresentable: ({ zodSchema, path }) => {
        throw inexpressible(where, path, zodSchema._zod.def.type)
      },
    })
  } catch (error) {
    if (NightshiftError.is(error)) throw error
    const message = `${where}: the answer schema cannot be written as a JSON schema: ${errorText(error)}`
    throw new TaskError('schema_not_expressible', message, { cause: error })
  }
}

function strictNode(node: JsonNode, context: Context, path: Path): JsonNode {
  if (typeof node.$ref === 'string') return { $ref: node.$ref === '#' ? context.rootRef : node.$ref }
  const options = node.anyOf ?? node.oneOf
  if (Array.isArray(options)) return strictUnion(node, options, context, path)
  if ('not' in node) throw inexpressible(context.where, path, 'never')
  if (hasSubschemas(node.allOf)) throw inexpressible(context.where, path, 'intersection')
  if (Array.isArray(node.enum) && node.type === undefined) return mixedEnum(node, node.enum)
  if (Array.isArray(node.type)) return typeUnion(node, node.type)
  if (node.type === 'object') return strictObject(node, context, path)
  if (node.type === 'array') return strictArray(node, context, path)
  if (node.contentEncoding === 'binary') throw inexpressible(context.where, path, 'file')
  if (node.type === undefined && !('const' in node)) throw inexpressible(context.where, path, 'any')
  return { ...kept(node), ...scalarRules(node) }
}

const strictUnion = (
  node: JsonNode,
  options: readonly unknown[],
  context: Context,
  path: Path,
): JsonNode => ({
  ...kept(node),
  anyOf: options.map((option, at) => strictNode(asNode(option), context, [...path, 'anyOf', at])),
})

/** Several patterns of one string come as `allOf`; zod checks them, the model need not see them. */
const hasSubschemas = (allOf: unknown): boolean =>
  Array.isArray(allOf) && allOf.some((part) => !('pattern' in asNode(part)))

function mixedEnum(node: JsonNode, values: readonly unknown[]): JsonNode {
  const groups = Map.groupBy(values, jsonType)
  const options = [...groups].map(([type, group]) => ({ type, enum: group }))
  return options.length === 1 ? { ...kept(node), ...options[0] } : { ...kept(node), anyOf: options }
}

/** Strict mode knows lists of types only for "or null". */
function typeUnion(node: JsonNode, types: readonly unknown[]): JsonNode {
  const rules = { ...kept(node), ...scalarRules(node) }
  const nullable = types.length === 2 && types.includes('null')
  return nullable ? { ...rules, type: types } : { ...kept(node), anyOf: types.map((type) => ({ type })) }
}

function strictArray(node: JsonNode, context: Context, path: Path): JsonNode {
  if (!isRecord(node.items) || node.prefixItems) throw inexpressible(context.where, path, 'tuple')
  return { ...kept(node), type: 'array', items: strictNode(node.items, context, [...path, 'items']) }
}

function strictObject(node: JsonNode, context: Context, path: Path): JsonNode {
  const properties = propertiesOf(node, context, path)
  const required = new Set(Array.isArray(node.required) ? node.required : [])
  const optional = new Set<string>()
  const strict = Object.entries(properties).map(([name, child]) => {
    const inner = strictNode(child, context, [...path, 'properties', name])
    if (required.has(name) || allowsNull(child, context.source)) return [name, inner] as const
    optional.add(name)
    return [name, nullable(inner)] as const
  })
  const result = {
    ...kept(node),
    type: 'object',
    properties: Object.fromEntries(strict),
    required: Object.keys(properties),
    additionalProperties: false,
  }
  if (optional.size > 0) context.optional.set(result, optional)
  return result
}

/** A record over fixed keys is an object; one over free keys has no strict form. Extra keys are never asked for. */
function propertiesOf(node: JsonNode, { where }: Context, path: Path): Readonly<Record<string, JsonNode>> {
  const properties = children(node.properties)
  const rest = node.additionalProperties
  if (node.patternProperties) throw inexpressible(where, path, 'record')
  if (node.properties || !isRecord(rest)) return properties
  const keys = isRecord(node.propertyNames) ? keysOf(node.propertyNames) : undefined
  if (!keys) throw inexpressible(where, path, 'record')
  return Object.fromEntries(keys.map((key) => [key, rest]))
}

function keysOf(names: JsonNode): readonly string[] | undefined {
  if (typeof names.const === 'string') return [names.const]
  return Array.isArray(names.enum) && names.enum.every((name) => typeof name === 'string')
    ? names.enum
    : undefined
}

const SCALARS: ReadonlySet<unknown> = new Set(['string', 'number', 'integer', 'boolean'])

function nullable(node: JsonNode): JsonNode {
  if (Array.isArray(node.anyOf)) return { ...node, anyOf: [...node.anyOf, { type: 'null' }] }
  if (!SCALARS.has(node.type) || 'const' in node) return { anyOf: [node, { type: 'null' }] }
  const values = Array.isArray(node.enum) ? { enum: [...node.enum, null] } : {}
  return { ...node, type: [node.type, 'null'], ...values }
}

/** Whether null is an answer that the schema itself accepts. A circle of references adds nothing. */
function allowsNull(node: JsonNode, source: JsonNode, seen: readonly JsonNode[] = []): boolean {
  if (seen.includes(node)) return false
  const options = node.anyOf ?? node.oneOf
  if (Array.isArray(options))
    return options.some((option) => allowsNull(asNode(option), source, [...seen, node]))
  if (node.$ref !== undefined) return allowsNull(resolve(node, source), source, [...seen, node])
  if (Array.isArray(node.enum)) return node.enum.includes(null)
  return (
    node.type === 'null' || (Array.isArray(node.type) && node.type.includes('null')) || node.const === null
  )
}

function kept(node: JsonNode): JsonNode {
  return Object.fromEntries(KEPT.filter((key) => key in node).map((key) => [key, node[key]]))
}

/** A known format says what its pattern says; patterns that look around are refused by strict mode. */
function scalarRules(node: JsonNode): JsonNode {
  const keep = (['type', 'enum', 'const'] as const).filter((key) => key in node)
  const bounds = BOUNDS.filter((key) => key in node && !isSafeLimit(node[key]))
  const known = FORMATS.has(node.format)
  const plain = typeof node.pattern === 'string' && !LOOKAROUND.test(node.pattern) && !known
  return {
    ...Object.fromEntries([...keep, ...bounds].map((key) => [key, node[key]])),
    ...(known && { format: node.format }),
    ...(plain && { pattern: node.pattern }),
  }
}

/** The bounds zod gives every integer say nothing to a model. */
const isSafeLimit = (value: unknown): boolean =>
  typeof value === 'number' && Math.abs(value) === Number.MAX_SAFE_INTEGER

const jsonType = (value: unknown): string => (value === null ? 'null' : typeof value)
