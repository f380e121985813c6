import type { OptionTable } from './option-entry.ts'
import { kebab, quoteValue } from './option-names.ts'
import { optionTable } from './option-table.ts'
import type { ResolvedOptions } from './options.ts'
import { publicValue } from './public-value.ts'

/** They say which task it is, not how it is run. */
const PLACE: ReadonlySet<string> = new Set(['name', 'taskDir'])

const table: OptionTable = optionTable

/**
 * The options that are not as by default, as flags in the order of the table: `--no-run --max-spend 5`. Keys are no
 * options, and of what says where things are only the last part is told: this goes to W&B.
 */
export function changedOptions(options: ResolvedOptions): string {
  const values: Readonly<Record<string, unknown>> = { ...options }
  return Object.entries(table)
    .filter(([name, { schema }]) => !PLACE.has(name) && values[name] !== schema.safeParse(undefined).data)
    .map(([name]) => flagText(kebab(name), publicValue(name, values[name])))
    .join(' ')
}

function flagText(flag: string, value: unknown): string {
  if (typeof value === 'boolean') return value ? `--${flag}` : `--no-${flag}`
  return `--${flag} ${typeof value === 'string' && !/^[\w./:@%+-]+$/.test(value) ? quoteValue(value) : String(value)}`
}
