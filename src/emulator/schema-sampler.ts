import { type Chance, mix, seedOf } from './chance.ts'
import { asArray, asNumber, asObject, type JsonObject } from './json.ts'
import { alternativesOf, resolveSchema, schemaHeight } from './schema-resolve.ts'
import { sampleString } from './string-sampler.ts'

/** Beyond this depth the shallowest alternatives are taken, so that recursive schemas end. */
const DEEP = 5
/** Beyond this one nothing is generated any more: the schema has no finite value. */
const TOO_DEEP = 60
const DEDUPLICATION_TRIES = 20

export interface SampleOptions {
  readonly chance: Chance
  /** Words that texts are made of. */
  readonly words: readonly string[]
}

interface Scope extends SampleOptions {
  readonly root: JsonObject
  readonly heights: WeakMap<object, number>
}

/** Where in the value we are: `id` tells places apart for chance. */
interface Place {
  readonly id: number
  readonly depth: number
}

/**
 * A value that satisfies a JSON schema, made of the given words. Understands what strict outputs allow: objects,
 * arrays, `enum`, `const`, `anyOf`/`oneOf`/`allOf`, `$ref` (recursive too), bounds, formats and simple patterns.
 */
export function sampleSchema(schema: unknown, options: SampleOptions): unknown {
  const scope: Scope = { ...options, root: asObject(schema), heights: new WeakMap() }
  return sample(schema, scope, { id: 1, depth: 0 })
}

function sample(given: unknown, scope: Scope, place: Place): unknown {
  if (place.depth > TOO_DEEP) return null
  const schema = resolveSchema(given, scope.root)
  if ('const' in schema) return schema.const
  const values = asArray(schema.enum)
  if (values.length > 0) return pickFrom(values, scope, place)
  const branches = alternativesOf(schema)
  if (branches.length > 0) return sample(chooseBranch(branches, scope, place), scope, deeper(place, 3))
  return sampleType(typeOf(schema, scope, place), schema, scope, place)
}

function sampleType(type: string, schema: JsonObject, scope: Scope, place: Place): unknown {
  switch (type) {
    case 'object':
      return sampleObject(schema, scope, place)
    case 'array':
      return sampleArray(schema, scope, place)
    case 'integer':
    case 'number':
      return sampleNumber(schema, type === 'integer', scope.chance, place.id)
    case 'boolean':
      return scope.chance.pick(place.id, 2) === 1
    case 'null':
      return null
    default:
      return sampleString(schema, scope, place.id)
  }
}

function chooseBranch(branches: readonly JsonObject[], scope: Scope, place: Place): JsonObject | undefined {
  if (place.depth < DEEP) return pickFrom(branches, scope, place)
  const heights = branches.map((branch) => schemaHeight(branch, scope.root, scope.heights))
  return branches[heights.indexOf(Math.min(...heights))]
}

function typeOf(schema: JsonObject, scope: Scope, place: Place): string {
  const type = schema.type
  if (typeof type === 'string') return type
  const types = asArray(type).filter((one) => typeof one === 'string')
  if (types.length > 0) {
    const flat = types.find((one) => one !== 'object' && one !== 'array')
    return place.depth >= DEEP && flat !== undefined ? flat : (pickFrom(types, scope, place) ?? 'null')
  }
  if ('properties' in schema || 'additionalProperties' in schema) return 'object'
  if ('items' in schema || 'prefixItems' in schema) return 'array'
  return 'minimum' in schema || 'maximum' in schema || 'multipleOf' in schema ? 'number' : 'string'
}

function sampleObject(schema: JsonObject, scope: Scope, place: Place): JsonObject {
  const properties = asObject(schema.properties)
  const required = new Set(asArray(schema.required).map(String))
  const open = schema.additionalProperties
  const entries: [string, unknown][] = []
  for (const name of new Set([...Object.keys(properties), ...required])) {
    const at = deeper(place, seedOf(name))
    if (!required.has(name) && (at.depth > DEEP || scope.chance.unit(at.id ^ 0x77) < 0.3)) continue
    entries.push([name, sample(properties[name] ?? open, scope, at)])
  }
  const isRecord = open !== undefined && open !== false && entries.length === 0
  return Object.fromEntries(isRecord ? sampleEntries(schema, scope, place) : entries)
}

/** Entries of a record: an object whose names are free. */
function sampleEntries(schema: JsonObject, scope: Scope, place: Place): [string, unknown][] {
  const least = asNumber(schema.minProperties) ?? 0
  const most = asNumber(schema.maxProperties) ?? Math.max(2, least)
  const wanted = Math.min(most, Math.max(least, place.depth >= DEEP ? 0 : 1))
  const entries = new Map<string, unknown>()
  for (let i = 0; entries.size < wanted && i < wanted * DEDUPLICATION_TRIES; i++) {
    const at = deeper(place, mix(i, 41))
    const name = String(sample(schema.propertyNames ?? { type: 'string', maxLength: 20 }, scope, at))
    const key = entries.has(name) ? `${name}${i}` : name
    entries.set(key, sample(schema.additionalProperties, scope, deeper(at, 42)))
  }
  return [...entries]
}

function sampleArray(schema: JsonObject, scope: Scope, place: Place): readonly unknown[] {
  const prefix = asArray(schema.prefixItems)
  const least = Math.max(asNumber(schema.minItems) ?? 0, prefix.length)
  const most = Math.max(least, asNumber(schema.maxItems) ?? Math.max(least, 3))
  const low = Math.max(least, Math.min(1, most))
  const spread = Math.min(most, low + 2) - low + 1
  const noMore = schema.items === false || (prefix.length > 0 && schema.items === undefined)
  const length = noMore || place.depth >= DEEP ? least : low + scope.chance.pick(place.id ^ 0x33, spread)
  const items: unknown[] = []
  const seen = new Set<string>()
  for (let tries = 0; items.length < length && tries < length * DEDUPLICATION_TRIES; tries++) {
    const item = sample(prefix[items.length] ?? schema.items, scope, deeper(place, mix(tries, 7)))
    const text = schema.uniqueItems === true ? JSON.stringify(item) : undefined
    if (text !== undefined && seen.has(text)) continue
    if (text !== undefined) seen.add(text)
    items.push(item)
  }
  return items
}

/** A number within the bounds, near 0 to 100 where they allow it. */
export function sampleNumber(schema: JsonObject, whole: boolean, chance: Chance, place: number): number {
  const step = asNumber(schema.multipleOf) ?? (whole ? 1 : 0.01)
  const above = asNumber(schema.exclusiveMinimum)
  const below = asNumber(schema.exclusiveMaximum)
  const least = Math.max(asNumber(schema.minimum) ?? -Infinity, above ?? -Infinity)
  const most = Math.min(asNumber(schema.maximum) ?? Infinity, below ?? Infinity)
  let low = clamp(0, least, most)
  let high = clamp(100, least, most)
  if (high === low) [low, high] = [Math.max(least, high - 100), Math.min(most, low + 100)]
  const first = Math.ceil(low / step) + (Math.ceil(low / step) * step === above ? 1 : 0)
  const last = Math.floor(high / step) - (Math.floor(high / step) * step === below ? 1 : 0)
  if (last < first) return whole ? first * step : low + (high - low) / 2
  const value = (first + chance.pick(place, last - first + 1)) * step
  // Multiples of a hundredth are written with two digits, not as 0.30000000000000004.
  return step === 0.01 ? Number(value.toFixed(2)) : value
}

const clamp = (value: number, low: number, high: number): number => Math.min(Math.max(value, low), high)

const deeper = (place: Place, step: number): Place => ({ id: mix(place.id, step), depth: place.depth + 1 })

const pickFrom = <Item>(items: readonly Item[], scope: Scope, place: Place): Item | undefined =>
  items[scope.chance.pick(place.id, items.length)]
