import type { z } from 'zod'
import { TaskError } from '../errors.ts'
import type { OptionTable } from './option-entry.ts'
import { kebab } from './option-names.ts'
import { allowedText, schemaFacts, type ValueShape } from './option-schema.ts'
import { optionAllowed } from './options.ts'

/** One flag of a command line: an option of the table, or a flag that the task defines for itself. */
export interface Flag {
  readonly owner: 'table' | 'task'
  /** camelCase, as in code. */
  readonly name: string
  /** kebab-case, without the leading hyphens. */
  readonly spelling: string
  readonly shape: ValueShape
  readonly group: string
  readonly help: string
  /** The default, undefined when there is none. */
  readonly fallback: unknown
  readonly required: boolean
  /** What a value must be, in words. */
  readonly allowed: string
  readonly unit?: string | undefined
  /** What stands for the value in the help. */
  readonly value?: string | undefined
  readonly old?: readonly string[] | undefined
  readonly env?: string | undefined
  readonly ignoreCase?: boolean | undefined
}

/** A spelling that is understood, with the flag it sets; `negated` for `--no-…`. */
export interface Spelling {
  readonly flag: Flag
  readonly negated: boolean
}

/** Flags that would carry a key, and the environment variable to use instead: a command line is not secret. */
export const SECRET_FLAGS: ReadonlyMap<string, string> = new Map([
  ['openai-api-key', 'OPENAI_API_KEY'],
  ['api-key', 'OPENAI_API_KEY'],
  ['wandb-api-key', 'WANDB_API_KEY'],
  ['batch-server-api-key', 'BATCH_SERVER_API_KEY'],
  ['webhook-secret', 'NIGHTSHIFT_WEBHOOK_SECRET'],
])

const RESERVED = new Set(['help', ...SECRET_FLAGS.keys()])

/** The flags of a table of options, in its order. */
export function tableFlags(table: OptionTable): Flag[] {
  return Object.entries(table).map(([name, entry]) => {
    const { shape, fallback, required } = schemaFacts(entry.schema)
    if (!shape) throw unsupported(name)
    const { schema: _, ...facts } = entry
    return {
      ...facts,
      owner: 'table',
      name,
      spelling: kebab(name),
      shape,
      fallback,
      required,
      allowed: optionAllowed(entry),
    }
  })
}

/** The flags of a task's own zod object. Throws `TaskError` (`unsupported_flag`) for values no flag can carry. */
export function ownFlags(schema: z.ZodObject): Flag[] {
  return Object.entries(schema.shape).map(([name, field]) => {
    const { shape, fallback, required } = schemaFacts(field)
    if (!shape) throw unsupported(name)
    return {
      owner: 'task',
      name,
      spelling: kebab(name),
      shape,
      group: 'Flags of this task',
      help: schemaDescription(field),
      fallback,
      required,
      allowed: allowedText(shape),
    }
  })
}

/** The text given by `.describe()`, also when wrappers were put around it afterwards. */
function schemaDescription(schema: z.core.$ZodType): string {
  for (let at: unknown = schema; isSchema(at); at = innerOf(at)) if (at.description) return at.description
  return ''
}

const isSchema = (value: unknown): value is z.ZodType =>
  typeof value === 'object' && value !== null && '_zod' in value

const innerOf = (schema: z.ZodType): unknown => ('innerType' in schema.def ? schema.def.innerType : undefined)

const unsupported = (name: string): TaskError =>
  new TaskError(
    'unsupported_flag',
    `flag ${name} has a schema that no flag can carry; use a boolean, number, string, enum or literal, ` +
      'or an array of all but the first',
  )

/** Every spelling that is understood. Throws `TaskError` (`flag_clash`) when two flags share one. */
export function flagSpellings(flags: readonly Flag[]): ReadonlyMap<string, Spelling> {
  const spellings = new Map<string, Spelling>()
  for (const flag of flags)
    for (const { text, negated } of spellingsOf(flag)) {
      const other = spellings.get(text)?.flag
      if (other || RESERVED.has(text)) throw clash(flag, text, other)
      spellings.set(text, { flag, negated })
    }
  return spellings
}

function spellingsOf(flag: Flag): readonly { readonly text: string; readonly negated: boolean }[] {
  const texts = [flag.spelling, ...(flag.old ?? [])]
  const plain = texts.map((text) => ({ text, negated: false }))
  if (flag.shape.kind !== 'boolean') return plain
  return [...plain, ...texts.map((text) => ({ text: `no-${text}`, negated: true }))]
}

function clash(flag: Flag, text: string, other: Flag | undefined): TaskError {
  const taken = other
    ? `already belongs to ${other.owner === 'table' ? 'option' : 'flag'} ${other.name}`
    : 'is reserved'
  return new TaskError(
    'flag_clash',
    `flag ${flag.name} of the task: --${text} ${taken}; give the flag another name`,
  )
}
