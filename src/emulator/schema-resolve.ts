import { asArray, asObject, isObject, type JsonObject } from './json.ts'

const MAX_REFERENCES = 32

/** A schema without `$ref` and `allOf` at its top: what they stand for is merged in. */
export function resolveSchema(schema: unknown, root: JsonObject): JsonObject {
  let current = asObject(schema)
  for (let hops = 0; hops < MAX_REFERENCES; hops++) {
    const { $ref, allOf, ...rest } = current
    if (typeof $ref === 'string') current = mergeSchemas([lookUp(root, $ref), rest])
    else if (Array.isArray(allOf)) current = mergeSchemas([...allOf.map(asObject), rest])
    else return current
  }
  return {}
}

/** One schema that asks for what all of them ask for, as far as later ones do not override earlier ones. */
export function mergeSchemas(schemas: readonly JsonObject[]): JsonObject {
  const real = schemas.filter((schema) => Object.keys(schema).length > 0)
  const [only] = real
  if (only && real.length === 1) return only
  const merged: JsonObject = Object.assign({}, ...real)
  const properties: JsonObject = Object.assign({}, ...real.map((schema) => asObject(schema.properties)))
  const required = [...new Set(real.flatMap((schema) => asArray(schema.required)))]
  const pending = real.flatMap((schema) => asArray(schema.allOf))
  return {
    ...merged,
    ...(Object.keys(properties).length > 0 && { properties }),
    ...(required.length > 0 && { required }),
    ...(pending.length > 0 && { allOf: pending }),
  }
}

/** The branches of `anyOf` or `oneOf`, each with the keywords beside it merged in. */
export function alternativesOf(schema: JsonObject): readonly JsonObject[] {
  const { anyOf, oneOf, ...rest } = schema
  const branches = Array.isArray(anyOf) ? anyOf : asArray(oneOf)
  return branches.map((branch) => mergeSchemas([rest, asObject(branch)]))
}

/**
 * How deep the shallowest value of a schema is: 0 for a plain value, `Infinity` where recursion never ends.
 * `known` keeps what was found for one root.
 */
export function schemaHeight(schema: unknown, root: JsonObject, known: WeakMap<object, number>): number {
  if (!isObject(schema)) return 0
  const before = known.get(schema)
  if (before !== undefined) return before
  known.set(schema, Number.POSITIVE_INFINITY) // while it is being measured: recursion is not a way out
  const height = measure(resolveSchema(schema, root), (inner) => schemaHeight(inner, root, known))
  if (height === Number.POSITIVE_INFINITY) known.delete(schema)
  else known.set(schema, height)
  return height
}

function measure(schema: JsonObject, heightOf: (schema: unknown) => number): number {
  if ('const' in schema || Array.isArray(schema.enum)) return 0
  const branches = alternativesOf(schema)
  if (branches.length > 0) return Math.min(...branches.map(heightOf))
  const types = asArray(schema.type ?? [])
  if (types.some((type) => type !== 'object' && type !== 'array')) return 0
  const inner: unknown[] = []
  const properties = asObject(schema.properties)
  for (const name of asArray(schema.required)) inner.push(properties[String(name)])
  if (Number(schema.minItems ?? 0) > 0) inner.push(schema.items)
  inner.push(...asArray(schema.prefixItems))
  return inner.length === 0 ? 0 : 1 + Math.max(...inner.map(heightOf))
}

/** `#`, `#/$defs/name` and any other pointer into the same document. */
function lookUp(root: JsonObject, reference: string): JsonObject {
  if (!reference.startsWith('#')) return {}
  let current: unknown = root
  for (const step of reference.slice(1).split('/').filter(Boolean)) {
    const name = decodeURIComponent(step).replaceAll('~1', '/').replaceAll('~0', '~')
    current = Array.isArray(current) ? current[Number(name)] : asObject(current)[name]
  }
  return asObject(current)
}
