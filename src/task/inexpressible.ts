import { TaskError } from '../errors.ts'

/** Where in a JSON schema: keywords, names and positions, as zod reports them. */
export type Path = readonly (string | number)[]

/** What to use for zod types that JSON, or strict mode, cannot say. */
const INSTEAD: Readonly<Record<string, string>> = {
  any: 'a schema that names the type',
  bigint: 'z.string() or z.int()',
  date: 'z.iso.datetime() or z.iso.date()',
  file: 'z.string()',
  map: 'an array of { key, value } objects',
  nan: 'z.number().nullable()',
  never: 'a schema that some value satisfies',
  record: 'an array of { key, value } objects, or z.record over z.enum keys',
  set: 'z.array()',
  tuple: 'an object with named properties',
  intersection: 'one z.object(), made with .extend()',
  undefined: '.optional()',
  void: '.optional()',
}

/** `where`: the task and hook the schema comes from. `type`: zod's word for what has no strict form. */
export function inexpressible(where: string, path: Path, type: string): TaskError {
  const instead = INSTEAD[type] ?? 'a type that JSON has'
  return new TaskError(
    'schema_not_expressible',
    `${where}: ${pathText(path)} is of type "${type}", which a strict JSON schema cannot say; use ${instead}`,
  )
}

/** The path as one would write it in code: `items[].price`. */
function pathText(path: Path): string {
  let text = ''
  for (let at = 0; at < path.length; at++) {
    const step = path[at]
    if (step === 'items' || step === 'prefixItems') text += '[]'
    else if (step === 'properties' || step === '$defs') text += `${text && '.'}${path[++at]}`
    else if (step === 'additionalProperties') text += '[key]'
  }
  return text || 'the answer'
}
