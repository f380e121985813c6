import { z } from 'zod'
import type { OptionTable } from '../util/option-entry.ts'
import { type Flag, flagSpellings, ownFlags as flagsOf, tableFlags } from '../util/option-flags.ts'
import { wrapText } from '../util/text.ts'

export interface HelpOptions {
  /** What the usage line begins with: the program, or the name of the task. */
  readonly name: string
  /** Width to wrap to, in characters; less than 40 counts as 40. */
  readonly columns: number
  /** Values that serve instead of the table's defaults, as the name that the program gives its task. */
  readonly defaults?: Readonly<Record<string, unknown>> | undefined
}

const NARROWEST = 40
const WIDEST_LEFT_COLUMN = 30

/** The help of a task's command line: its own flags first, then the options by group. Ends with a newline. */
export function renderHelp(
  table: OptionTable,
  ownFlags: z.ZodObject | undefined,
  options: HelpOptions,
): string {
  const columns = Math.max(NARROWEST, options.columns)
  const flags = [...flagsOf(ownFlags ?? z.object({})), ...tableFlags(table)]
  flagSpellings(flags)
  const told = flags.map((flag) => withDefault(flag, options.defaults ?? {}))
  const sections = [...Map.groupBy(told, (flag) => flag.group)].flatMap(([group, members]) => [
    '',
    `${group}:`,
    ...members.flatMap((flag) => flagLines(flag, columns)),
  ])
  const last = [
    '',
    'Other:',
    ...entryLines('-h, --help', 'Show this help', columns),
    '',
    ...secretLines(columns),
  ]
  return `${[`Usage: ${options.name} [flags]`, ...sections, ...last].join('\n')}\n`
}

const secretLines = (columns: number): string[] =>
  wrapText('The API key is read from OPENAI_API_KEY and is never a flag.', columns)

const withDefault = (flag: Flag, defaults: Readonly<Record<string, unknown>>): Flag =>
  defaults[flag.name] === undefined ? flag : { ...flag, fallback: defaults[flag.name], required: false }

const flagLines = (flag: Flag, columns: number): string[] =>
  entryLines(flagText(flag), [flag.help, ...remarks(flag)].filter(Boolean).join(' '), columns)

/** One entry: in two columns, or one below the other where the flag is long or the screen narrow. */
function entryLines(left: string, right: string, columns: number): string[] {
  const indent = Math.min(WIDEST_LEFT_COLUMN, Math.floor(columns / 2.5))
  const [first = '', ...others] = wrapText(right, columns - indent)
  const below = others.map((line) => ' '.repeat(indent) + line)
  const start = `  ${left}`
  if (start.length + 2 > indent) return [start, ...(first ? [' '.repeat(indent) + first] : []), ...below]
  return [(start.padEnd(indent) + first).trimEnd(), ...below]
}

/** The flag as it is typed: switches that are on by default are shown as their opposite. */
function flagText(flag: Flag): string {
  const { shape, spelling } = flag
  if (shape.kind !== 'boolean') return `--${spelling} <${valueText(flag)}>`
  if (flag.fallback === true) return `--no-${spelling}`
  return flag.required ? `--[no-]${spelling}` : `--${spelling}`
}

/** Units that are short and say how a number is to be read; what is counted says the sentence. */
const UNITS_OF_MEASURE = new Set(['s', 'ms', 'MB'])

function valueText({ shape, value, unit }: Flag): string {
  const plain = shape.kind === 'list' ? shape.element : shape
  if (value !== undefined) return value
  if (unit !== undefined && UNITS_OF_MEASURE.has(unit)) return unit
  if (plain.kind === 'choice') return plain.choices.join('|')
  return plain.kind === 'number' ? 'n' : 'text'
}

/** What follows the sentence in brackets: choices that are not in the flag, default and the like. */
function remarks(flag: Flag): string[] {
  const facts = [
    ...(flag.value && flag.shape.kind === 'choice' ? [flag.allowed] : []),
    ...(flag.shape.kind === 'list' ? ['may be repeated'] : []),
    ...(flag.shape.kind === 'boolean' && flag.fallback === true ? ['on by default'] : []),
    ...(flag.required ? ['required'] : []),
    ...(flag.env ? [`or ${flag.env}`] : []),
    ...(hasVisibleDefault(flag) ? [`default: ${defaultText(flag)}`] : []),
  ]
  return facts.length > 0 ? [`(${facts.join('; ')})`] : []
}

const hasVisibleDefault = ({ shape, fallback }: Flag): boolean =>
  fallback !== undefined && shape.kind !== 'boolean' && !(Array.isArray(fallback) && fallback.length === 0)

function defaultText({ fallback, unit }: Flag): string {
  const text = Array.isArray(fallback) ? fallback.join(', ') : String(fallback)
  return unit && typeof fallback === 'number' ? `${text} ${unit}` : text
}

const DOCS_HEADER = `# Options

Every option of a task, by group; [those of the gateway](#options-of-the-gateway) are below. In code they are the names
of the first column, given to the constructor of your \`TaskManager\`; on the command line the flags of the second, where
underscores do as well as hyphens. A switch can be turned off by \`--no-\` before its name. The API key is never an
option: it is read from \`OPENAI_API_KEY\`.

This page is generated from \`src/util/option-table.ts\` and \`src/util/gateway-options.ts\`; \`npx vitest run test/cli -u\`
writes it anew.
`

const GATEWAY_HEADER = `# Options of the gateway

The flags of \`nightshift gateway\`. Each has a variable, \`NIGHTSHIFT_\` and its name (\`NIGHTSHIFT_WINDOW_MS\`), which the
flag overrides; what the last column names serves when neither is given. Keys are variables only: see
[the gateway](gateway.md#access).
`

/** The page \`docs/options.md\`: one table for each group of options. */
export function renderOptionsMarkdown(table: OptionTable, gatewayTable: OptionTable): string {
  return [
    DOCS_HEADER,
    ...groupsOf(table).map(([group, flags]) => markdownGroup(group, COLUMNS, flags.map(markdownCells))),
    GATEWAY_HEADER,
    ...groupsOf(gatewayTable).map(([group, flags]) =>
      markdownGroup(`Gateway: ${group}`, GATEWAY_COLUMNS, flags.map(gatewayCells)),
    ),
  ].join('\n')
}

const groupsOf = (table: OptionTable) => [...Map.groupBy(tableFlags(table), (flag) => flag.group)]

const COLUMNS = ['Option', 'Flag', 'Default', 'Must be', 'Meaning']
const GATEWAY_COLUMNS = ['Flag', 'Default', 'Must be', 'Meaning', 'Variables of other systems']

const markdownGroup = (
  title: string,
  columns: readonly string[],
  rows: readonly (readonly string[])[],
): string =>
  [
    `## ${title}`,
    '',
    markdownRow(columns),
    `|${'---|'.repeat(columns.length)}`,
    ...rows.map(markdownRow),
    '',
  ].join('\n')

const markdownRow = (cells: readonly string[]): string =>
  `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`

function markdownCells(flag: Flag): string[] {
  const { name, old, help } = flag
  const spellings = (old ?? []).map((text) => `\`--${text}\``).join(', ')
  const meaning = spellings ? `${help}. Also spelled ${spellings}` : help
  return [`\`${name}\``, `\`${flagText(flag)}\``, markdownDefault(flag), flag.allowed, meaning]
}

function gatewayCells(flag: Flag): string[] {
  const { env, ...own } = flag
  const variables = env?.split(', ').map((name) => `\`${name}\``) ?? []
  return [`\`${flagText(flag)}\``, markdownDefault(own), flag.allowed, flag.help, variables.join(', ')]
}

function markdownDefault(flag: Flag): string {
  if (flag.required) return 'required'
  if (flag.fallback !== undefined) return `\`${defaultText(flag)}\``
  return flag.env === undefined ? 'none' : `\`${flag.env}\``
}
