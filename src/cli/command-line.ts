import { z } from 'zod'
import { UsageError } from '../errors.ts'
import type { OptionInput, OptionTable } from '../util/option-entry.ts'
import { quoteValue } from '../util/option-names.ts'
import { optionTable } from '../util/option-table.ts'
import { parseCommandLine } from './args.ts'

const { taskDir, clientBaseUrl, openaiOrganization, openaiProject, requestTimeoutMs, emulator } = optionTable

/** Options of commands that only read a task's files. */
export const localTable = { taskDir } as const satisfies OptionTable

/** Options of commands that also ask the server. */
export const serverTable = {
  taskDir,
  clientBaseUrl,
  openaiOrganization,
  openaiProject,
  requestTimeoutMs,
  emulator,
} as const satisfies OptionTable

export const jsonFlag = { json: z.boolean().default(false) } as const

interface CommandForm<Table extends OptionTable, Own extends z.ZodObject> {
  /** As in the help: `nightshift explain TASK KEY`. The words in capitals are needed, `[ID...]` takes the rest. */
  readonly usage: string
  readonly table: Table
  readonly flags: Own
}

/** A command line that was understood; undefined when it asks for help. */
export type CommandWords<Table extends OptionTable, Own extends z.ZodObject> =
  | {
      readonly words: readonly string[]
      readonly options: OptionInput<Table>
      readonly flags: z.output<Own>
    }
  | undefined

/** Reads what follows the name of a command. Throws `UsageError` for wrong flags and for too few or too many words. */
export function readCommand<Table extends OptionTable, Own extends z.ZodObject>(
  argv: readonly string[],
  { usage, table, flags }: CommandForm<Table, Own>,
): CommandWords<Table, Own> {
  const parsed = parseCommandLine(argv, table, flags)
  if (parsed.help) return undefined
  const { words } = parsed
  const needed = usage.match(/\b[A-Z]{2,}\b(?!\.\.\.)/g) ?? []
  const missing = needed.slice(words.length)
  if (missing.length > 0)
    throw new UsageError(
      'missing_argument',
      `${missing.join(' and ')} ${missing.length === 1 ? 'is' : 'are'} missing: ${usage}`,
    )
  const [surplus] = usage.includes('...') ? [] : words.slice(needed.length)
  if (surplus !== undefined)
    throw new UsageError('unexpected_argument', `${quoteValue(surplus)} is one word too many: ${usage}`)
  return parsed
}

/** The action of a command that has several, and the rest. Undefined when help is asked for. */
export function readAction<Action extends string>(
  argv: readonly string[],
  command: string,
  actions: readonly Action[],
): { readonly action: Action; readonly rest: readonly string[] } | undefined {
  const [first, ...rest] = argv
  if (first === '--help' || first === '-h') return undefined
  const action = actions.find((one) => one === first)
  if (action !== undefined) return { action, rest }
  const found = first === undefined ? '' : `, not ${quoteValue(first)}`
  const message = `nightshift ${command} needs an action: ${actions.join(' or ')}${found}; see nightshift ${command} --help`
  throw new UsageError('unknown_action', message)
}
