/**
 * Where a value cannot be told faithfully in JSON: the path of the first thing that `JSON.stringify` would refuse,
 * drop or change (a function, `undefined` in an array, NaN, a BigInt, a cycle, ...). Undefined when all is well.
 * Absent and undefined properties of objects are the same and allowed; so are objects with `toJSON`.
 */
export function notJson(value: unknown): string | undefined {
  return inspectValue(value, '', new Set())
}

function inspectValue(value: unknown, path: string, parents: Set<object>): string | undefined {
  switch (typeof value) {
    case 'string':
    case 'boolean':
      return undefined
    case 'number':
      return Number.isFinite(value) ? undefined : `${path || 'the value'} is ${value}`
    case 'object':
      return value === null ? undefined : inspectObject(value, path, parents)
    default:
      return `${path || 'the value'} is ${typeof value === 'undefined' ? 'undefined' : `a ${typeof value}`}`
  }
}

function inspectObject(value: object, path: string, parents: Set<object>): string | undefined {
  if ('toJSON' in value && typeof value.toJSON === 'function') return undefined
  if (parents.has(value)) return `${path || 'the value'} contains itself`
  parents.add(value)
  const problem = Array.isArray(value)
    ? inspectItems(value, path, parents)
    : inspectFields(value, path, parents)
  parents.delete(value)
  return problem
}

function inspectItems(items: readonly unknown[], path: string, parents: Set<object>): string | undefined {
  for (let index = 0; index < items.length; index++) {
    const problem = inspectValue(items[index], `${path}[${index}]`, parents)
    if (problem) return problem
  }
  return undefined
}

function inspectFields(value: object, path: string, parents: Set<object>): string | undefined {
  const prototype: unknown = Object.getPrototypeOf(value)
  const plain = prototype === null || Object.getPrototypeOf(prototype) === null
  if (!plain) return `${path || 'the value'} is a ${value.constructor.name}, not a plain object`
  for (const [name, field] of Object.entries(value)) {
    if (field === undefined) continue
    const problem = inspectValue(field, path ? `${path}.${name}` : name, parents)
    if (problem) return problem
  }
  return undefined
}
