import { z } from 'zod'
import { UsageError } from '../errors.ts'
import type { OptionInput, OptionTable } from '../util/option-entry.ts'
import {
  type Flag,
  flagSpellings,
  ownFlags as flagsOf,
  SECRET_FLAGS,
  type Spelling,
  tableFlags,
} from '../util/option-flags.ts'
import { kebab, nearest, quoteValue } from '../util/option-names.ts'
import { isDecimal, valueFromText } from '../util/option-schema.ts'
import { optionComplaint } from '../util/options.ts'

/** A command line as understood. Options hold only what was given; flags of the task have their defaults. */
export type ParsedArguments<Options, Flags> =
  | { readonly help: true }
  | { readonly help: false; readonly options: Options; readonly flags: Flags }

/** The same for a command that also takes words without a flag: `words`, in their order. */
export type ParsedCommandLine<Options, Flags> =
  | { readonly help: true }
  | {
      readonly help: false
      readonly words: readonly string[]
      readonly options: Options
      readonly flags: Flags
    }

interface Problem {
  readonly code: 'secret_flag' | 'unknown_flag' | 'unexpected_argument' | 'repeated_flag' | 'bad_option'
  readonly message: string
}

/** What was read so far. */
interface Reading {
  readonly spellings: ReadonlyMap<string, Spelling>
  readonly values: Map<Flag, unknown>
  /** Flags that were given a value they cannot have: they are not missing as well. */
  readonly refused: Set<string>
  readonly problems: Problem[]
  /** Takes what is neither a flag nor the value of one. */
  readonly onWord: (word: string) => void
}

/**
 * Reads a command line (without the program) for a table of options and the flags a task defines for itself.
 * Flags are the names in kebab-case; underscores and old spellings serve too. `--help` or `-h` anywhere wins
 * over everything else, mistakes included. Throws `UsageError` with all mistakes, `TaskError` when flags clash.
 */
export function parseArguments<Table extends OptionTable>(
  argv: readonly string[],
  table: Table,
): ParsedArguments<OptionInput<Table>, Readonly<Record<string, never>>>
export function parseArguments<Table extends OptionTable, Own extends z.ZodObject>(
  argv: readonly string[],
  table: Table,
  ownFlags: Own | undefined,
): ParsedArguments<OptionInput<Table>, z.output<Own>>
export function parseArguments(
  argv: readonly string[],
  table: OptionTable,
  ownFlags: z.ZodObject = z.object({}),
): ParsedArguments<OptionInput<OptionTable>, unknown> {
  const problems: Problem[] = []
  const reading = read(argv, allSpellings(table, ownFlags), {
    problems,
    onWord: (word) => void problems.push(positional(word)),
  })
  return reading ? { help: false, ...understood(reading, table, ownFlags) } : { help: true }
}

/** Reads the command line of a command that takes words, such as the name of a task; all after `--` is words. */
export function parseCommandLine<Table extends OptionTable, Own extends z.ZodObject>(
  argv: readonly string[],
  table: Table,
  ownFlags: Own,
): ParsedCommandLine<OptionInput<Table>, z.output<Own>>
export function parseCommandLine(
  argv: readonly string[],
  table: OptionTable,
  ownFlags: z.ZodObject,
): ParsedCommandLine<OptionInput<OptionTable>, unknown> {
  const words: string[] = []
  const onWord = (word: string) => void words.push(word)
  const reading = read(argv, allSpellings(table, ownFlags), { problems: [], onWord })
  return reading ? { help: false, words, ...understood(reading, table, ownFlags) } : { help: true }
}

const allSpellings = (table: OptionTable, ownFlags: z.ZodObject) =>
  flagSpellings([...tableFlags(table), ...flagsOf(ownFlags)])

/** Undefined when help was asked for. */
function read(
  argv: readonly string[],
  spellings: Reading['spellings'],
  sinks: Pick<Reading, 'problems' | 'onWord'>,
): Reading | undefined {
  const end = argv.indexOf('--')
  const named = end < 0 ? argv : argv.slice(0, end)
  if (named.some((token) => token === '--help' || token === '-h')) return undefined

  const reading: Reading = { spellings, values: new Map(), refused: new Set(), ...sinks }
  for (let at = 0; at < named.length; ) at += readToken(reading, named[at] ?? '', named[at + 1])
  for (const word of end < 0 ? [] : argv.slice(end + 1)) reading.onWord(word)
  return reading
}

function understood(reading: Reading, table: OptionTable, ownFlags: z.ZodObject) {
  const options = givenOptions(reading, table)
  const flags = ownValues(reading, ownFlags)
  if (reading.problems.length > 0) throw usageError(reading.problems)
  return { options, flags }
}

/** Reads one token, with the one after it where that is its value; returns how many it took. */
function readToken(reading: Reading, token: string, next: string | undefined): 1 | 2 {
  if (!token.startsWith('-') || token === '-') {
    reading.onWord(token)
    return 1
  }
  const equals = token.indexOf('=')
  const written = equals < 0 ? token : token.slice(0, equals)
  const inline = equals < 0 ? undefined : token.slice(equals + 1)
  const spelling = written.startsWith('--') ? written.slice(2).replaceAll('_', '-') : ''
  const found = reading.spellings.get(spelling)
  if (found) return readFlag(reading, found, { written, inline, next })
  const variable = SECRET_FLAGS.get(spelling)
  reading.problems.push(variable ? secretFlag(written, variable) : unknownFlag(reading, written))
  // A token that follows is the value of what was not understood; complaining of it too would mislead, or show a key.
  return inline === undefined && next !== undefined && !next.startsWith('-') ? 2 : 1
}

interface Token {
  /** The flag as it was typed, with its hyphens. */
  readonly written: string
  readonly inline: string | undefined
  readonly next: string | undefined
}

function readFlag(reading: Reading, spelling: Spelling, token: Token): 1 | 2 {
  const { written, inline, next } = token
  if (spelling.flag.shape.kind === 'boolean') {
    readSwitch(reading, spelling, token)
    return 1
  }
  const text = inline ?? (isValue(spelling.flag, next) ? next : undefined)
  if (text === undefined) refuse(reading, spelling.flag, noValue(spelling.flag, written))
  else readText(reading, spelling.flag, text, written)
  return inline === undefined && text !== undefined ? 2 : 1
}

function readSwitch(reading: Reading, { flag, negated }: Spelling, { written, inline }: Token): void {
  const value = inline === undefined ? !negated : negated ? undefined : valueFromText(flag.shape, inline)
  if (value === undefined) refuse(reading, flag, badSwitch(written, inline ?? '', negated))
  else store(reading, flag, value, written)
}

function readText(reading: Reading, flag: Flag, text: string, written: string): void {
  const value = valueFromText(flag.shape, text, flag.ignoreCase)
  if (value === undefined)
    refuse(reading, flag, bad(`${written} is ${quoteValue(text)}, but must be ${flag.allowed}`))
  else store(reading, flag, value, written)
}

function refuse({ refused, problems }: Reading, flag: Flag, problem: Problem): void {
  refused.add(flag.name)
  problems.push(problem)
}

/** A token that begins with a hyphen is a flag, unless it is a negative number where a number is due. */
function isValue(flag: Flag, token: string | undefined): token is string {
  if (token === undefined) return false
  if (!token.startsWith('-') || token === '-') return true
  const shape = flag.shape.kind === 'list' ? flag.shape.element : flag.shape
  return shape.kind === 'number' && isDecimal(token)
}

function store(reading: Reading, flag: Flag, value: unknown, written: string): void {
  const before = reading.values.get(flag)
  if (flag.shape.kind === 'list')
    reading.values.set(flag, Array.isArray(before) ? [...before, value] : [value])
  else if (before === undefined) reading.values.set(flag, value)
  else reading.problems.push(repeated(flag, written))
}

function givenOptions({ values, problems }: Reading, table: OptionTable): OptionInput<OptionTable> {
  const options: Record<string, unknown> = {}
  for (const [flag, value] of values) {
    const entry = flag.owner === 'table' ? table[flag.name] : undefined
    if (!entry) continue
    const complaint = optionComplaint(entry, value)
    if (complaint) problems.push(bad(`--${flag.spelling} is ${quoteValue(value)}, but ${complaint}`))
    options[flag.name] = value
  }
  return options
}

function ownValues(reading: Reading, schema: z.ZodObject): unknown {
  const own = [...reading.values].filter(([flag]) => flag.owner === 'task')
  const given = Object.fromEntries(own.map(([flag, value]) => [flag.name, value]))
  const result = schema.safeParse(given)
  for (const { path, message } of result.error?.issues ?? []) {
    const name = path[0] === undefined ? undefined : String(path[0])
    if (name === undefined || !reading.refused.has(name)) reading.problems.push(badOwn(given, name, message))
  }
  return result.data
}

function badOwn(
  given: Readonly<Record<string, unknown>>,
  name: string | undefined,
  message: string,
): Problem {
  if (name === undefined) return bad(`the flags do not fit together: ${message}`)
  if (!Object.hasOwn(given, name)) return bad(`--${kebab(name)} is missing, but this task needs it`)
  const value = given[name]
  return bad(`--${kebab(name)} is ${quoteValue(Array.isArray(value) ? value.join(', ') : value)}: ${message}`)
}

const bad = (message: string): Problem => ({ code: 'bad_option', message })

const noValue = (flag: Flag, written: string): Problem =>
  bad(
    `${written} needs a value, which must be ${flag.allowed}; one that begins with "-" is given as ${written}=-…`,
  )

const badSwitch = (written: string, text: string, negated: boolean): Problem =>
  bad(
    `${written} is ${quoteValue(text)}, but ${negated ? 'takes no value' : 'must be true or false, or have no value'}`,
  )

const repeated = (flag: Flag, written: string): Problem => ({
  code: 'repeated_flag',
  message: `${written} sets --${flag.spelling} a second time; give it once`,
})

const positional = (token: string): Problem => ({
  code: 'unexpected_argument',
  message: `${quoteValue(token)} is not a flag; values are given as --flag value or --flag=value (--help lists all flags)`,
})

const secretFlag = (written: string, variable: string): Problem => ({
  code: 'secret_flag',
  message: `${written}: a key on the command line can be seen by others; set the environment variable ${variable}`,
})

function unknownFlag({ spellings }: Reading, written: string): Problem {
  const meant = spellings.get(nearest(written, spellings.keys()) ?? '')
  const hint = meant
    ? `did you mean --${meant.negated ? 'no-' : ''}${meant.flag.spelling}?`
    : '--help lists all flags'
  return {
    code: 'unknown_flag',
    message: `there is no flag ${written.replaceAll(/[^\x20-\x7e]/g, '?')}; ${hint}`,
  }
}

function usageError(problems: readonly Problem[]): UsageError {
  const secret = problems.find((problem) => problem.code === 'secret_flag')
  const [first, ...others] = problems
  const message = others.length === 0 ? `${first?.message}` : listOf(problems)
  return new UsageError((secret ?? first)?.code ?? 'bad_option', message)
}

const listOf = (problems: readonly Problem[]): string =>
  ['several flags are wrong:', ...problems.map((problem) => problem.message)].join('\n  - ')
