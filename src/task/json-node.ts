/** A node of a JSON schema. */
export type JsonNode = Readonly<Record<string, unknown>>

/** Follows references into `source`, a schema as zod and `strictForm` write them. */
export function resolve(node: JsonNode, source: JsonNode): JsonNode {
  let current = node
  for (let hops = 0; typeof current.$ref === 'string' && hops < 100; hops++) {
    const name = current.$ref.startsWith('#/$defs/') ? current.$ref.slice('#/$defs/'.length) : undefined
    current = name === undefined ? source : asNode(children(source.$defs)[name])
  }
  return current
}

export const isRecord = (value: unknown): value is JsonNode =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** A node that is not there, or is no object, demands nothing. */
export const asNode = (value: unknown): JsonNode => (isRecord(value) ? value : {})

/** The nodes below a keyword such as `properties` or `$defs`. */
export const children = (value: unknown): Readonly<Record<string, JsonNode>> =>
  Object.fromEntries(Object.entries(asNode(value)).map(([name, node]) => [name, asNode(node)]))
