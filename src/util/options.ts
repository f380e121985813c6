import { isAbsolute, join, resolve } from 'node:path'
import { z } from 'zod'
import { UsageError } from '../errors.ts'
import type { OptionEntry, OptionShape, OptionTable } from './option-entry.ts'
import { kebab, nearest, quoteValue } from './option-names.ts'
import { allowedText, schemaFacts } from './option-schema.ts'
import {
  atLeast,
  hasNoCredentials,
  optionTable,
  type ResolvedOptions,
  type TaskOptions,
} from './option-table.ts'
import { Secret } from './secret.ts'

export type { ResolvedOptions, TaskOptions }

export type EnvironmentVariables = Readonly<Record<string, string | undefined>>

/** What comes from the environment. Variables that are empty or blank count as absent. */
export interface Environment {
  /** `OPENAI_API_KEY`. */
  readonly apiKey: Secret | undefined
  /** The option `clientBaseUrl`, else `OPENAI_BASE_URL`. */
  readonly baseUrl: string | undefined
  /** The option `openaiOrganization`, else `OPENAI_ORG_ID`. */
  readonly organization: string | undefined
  /** The option `openaiProject`, else `OPENAI_PROJECT_ID`. */
  readonly project: string | undefined
  /** The option `endpoint`, else `OPENAI_ENDPOINT`. */
  readonly endpoint: ResolvedOptions['endpoint']
  /** `OPENAI_ADMIN_KEY`: may read what the account is limited to. */
  readonly adminKey: Secret | undefined
  /**
   * Where tasks share what they know of an account: `NIGHTSHIFT_STATE_DIR`, else `nightshift` in `XDG_STATE_HOME`, else
   * in `.local/state` of `HOME`; undefined when none of them is set.
   */
  readonly stateDir: string | undefined
  /** False when `NO_COLOR` is set or `TERM` is `dumb`. */
  readonly color: boolean
  /** `FORCE_COLOR` is set: colours are wanted also where the output goes to no terminal. */
  readonly forceColor: boolean
  /** False when `TERM` is `dumb` or `CI` is set: lines that are rewritten in place would not be seen as such. */
  readonly mayRedraw: boolean
  /** `TERM` is `dumb`: the terminal cannot move its cursor. */
  readonly isDumb: boolean
  readonly wandb: WandbEnvironment
}

/** What is known of Weights & Biases. Options come before variables. */
export interface WandbEnvironment {
  /** `WANDB_API_KEY`. */
  readonly apiKey: Secret | undefined
  /** `WANDB_BASE_URL`; default: `https://api.wandb.ai`. */
  readonly baseUrl: string
  /** `WANDB_MODE`; `dryrun` is an old word for `offline`. Default: `online`. */
  readonly mode: 'online' | 'offline' | 'disabled'
  /** The option `wandb`: undefined when it was not given. */
  readonly wanted: boolean | undefined
  /** The options, else `WANDB_PROJECT`, `WANDB_ENTITY`, `WANDB_NAME`, `WANDB_RUN_GROUP`, `WANDB_RUN_ID`, `WANDB_DIR`. */
  readonly project: string
  readonly entity: string | undefined
  readonly name: string | undefined
  readonly group: string | undefined
  readonly runId: string | undefined
  readonly dir: string | undefined
  /** `WANDB_TAGS`, between commas; each of up to 64 characters. */
  readonly tags: readonly string[]
  /** `NETRC`, else `.netrc` in `HOME`: where a key may be. Undefined when neither is set. */
  readonly netrc: string | undefined
}

/** All that a run is told from outside, frozen. */
export interface Settings {
  /** As given, with defaults; what only the environment says is not in here. */
  readonly options: ResolvedOptions
  readonly environment: Environment
}

interface Problem {
  readonly code: 'unknown_option' | 'bad_option'
  readonly message: string
}

/**
 * Checks the options, applies their defaults and reads the environment; nothing else in the program does.
 * Options that are undefined count as not given. Throws `UsageError` (`unknown_option` or `bad_option`)
 * with all that is wrong, not only the first.
 */
export function resolveOptions(input: TaskOptions, env: EnvironmentVariables = process.env): Settings {
  const unknown = unknownOptions(input)
  const { value: options, problems } = parseOptions(input)
  const { value: environment, problems: inVariables } = parseEnvironment(input, env)
  const wrong = [...unknown, ...problems, ...inVariables]
  if (!options || !environment || wrong.length > 0) throw usageError(wrong)
  return Object.freeze({ options, environment })
}

/** The environment alone, for commands that run no task. Throws `UsageError` (`bad_option`). */
export function readEnvironment(env: EnvironmentVariables = process.env): Environment {
  const { value, problems } = parseEnvironment({}, env)
  if (!value || problems.length > 0) throw usageError(problems)
  return value
}

/** What is wrong with a value for an option, after "is …, but"; undefined when nothing is. */
export function optionComplaint(entry: OptionEntry, value: unknown): string | undefined {
  if (entry.schema.safeParse(foldCase(entry, value)).success) return undefined
  return `must be ${optionAllowed(entry)}`
}

/** What an option allows, in words. */
export function optionAllowed(entry: OptionEntry): string {
  const { shape } = schemaFacts(entry.schema)
  return entry.allowed ?? (shape ? allowedText(shape) : 'another value')
}

const foldCase = (entry: OptionEntry, value: unknown): unknown =>
  entry.ignoreCase && typeof value === 'string' ? value.toLowerCase() : value

const table: OptionTable = optionTable

function unknownOptions(input: TaskOptions): Problem[] {
  const names = Object.keys(input).filter((name) => !Object.hasOwn(table, name))
  return names.map((name) => {
    const meant = nearest(name, Object.keys(table)) ?? modernName(name)
    const hint = meant ? `; did you mean ${quoteValue(meant)}?` : '; see docs/options.md for all of them'
    return { code: 'unknown_option', message: `there is no option ${quoteValue(name)}${hint}` }
  })
}

/** The option that an old spelling stands for. */
const modernName = (name: string): string | undefined =>
  Object.keys(table).find((one) => table[one]?.old?.includes(kebab(name)))

interface Parsed<Value> {
  /** Of use only when there are no problems. */
  readonly value: Value | undefined
  readonly problems: readonly Problem[]
}

/** The schemas of a table, for `z.object`. */
export function shapeOf<Table extends OptionTable>(entries: Table): OptionShape<Table>
export function shapeOf(entries: OptionTable): Record<string, z.ZodType> {
  return Object.fromEntries(Object.entries(entries).map(([name, { schema }]) => [name, schema]))
}

const optionsSchema = z.object(shapeOf(optionTable))

function parseOptions(input: TaskOptions): Parsed<ResolvedOptions> {
  const given: Record<string, unknown> = { ...input }
  for (const [name, entry] of Object.entries(table)) given[name] = foldCase(entry, given[name])
  const result = optionsSchema.safeParse(given)
  if (!result.success) return { value: undefined, problems: badOptions(input, result.error) }
  return { value: Object.freeze(result.data), problems: crossProblems(result.data) }
}

function badOptions(input: TaskOptions, error: z.ZodError): Problem[] {
  const given: Readonly<Record<string, unknown>> = input
  const names = new Set(error.issues.map((issue) => String(issue.path[0])))
  return [...names].map((name) => {
    const entry = table[name]
    const said = given[name] === undefined ? 'is missing' : `is ${quoteValue(given[name])}`
    const rule = entry ? optionAllowed(entry) : 'another value'
    return { code: 'bad_option', message: `option ${name} (--${kebab(name)}) ${said}, but must be ${rule}` }
  })
}

function crossProblems(options: ResolvedOptions): Problem[] {
  const wrong = atLeast.filter(([larger, smaller]) => options[larger] < options[smaller])
  return wrong.map(([larger, smaller]) => ({
    code: 'bad_option',
    message:
      `option ${larger} (--${kebab(larger)}) is ${options[larger]}, but must not be below ` +
      `${smaller} (--${kebab(smaller)}), which is ${options[smaller]}; raise the first or lower the second`,
  }))
}

function parseEnvironment(input: TaskOptions, env: EnvironmentVariables): Parsed<Environment> {
  const problems: Problem[] = []
  const effective = <Schema extends z.ZodType>(entry: OptionEntry<Schema>, given: unknown) => {
    const told = given ?? (entry.env === undefined ? undefined : variable(env, entry.env))
    const result = entry.schema.safeParse(told)
    if (!result.success && given === undefined) problems.push(badVariable(entry, told))
    return result.data
  }
  const value: Environment = {
    apiKey: secret(env, 'OPENAI_API_KEY'),
    adminKey: secret(env, 'OPENAI_ADMIN_KEY'),
    stateDir: stateDirOf(env),
    baseUrl: effective(optionTable.clientBaseUrl, input.clientBaseUrl),
    organization: effective(optionTable.openaiOrganization, input.openaiOrganization),
    project: effective(optionTable.openaiProject, input.openaiProject),
    endpoint: effective(optionTable.endpoint, input.endpoint),
    color: variable(env, 'NO_COLOR') === undefined && env.TERM !== 'dumb',
    forceColor: !['0', 'false', undefined].includes(variable(env, 'FORCE_COLOR')),
    mayRedraw: env.TERM !== 'dumb' && variable(env, 'CI') === undefined,
    isDumb: env.TERM === 'dumb',
    wandb: Object.freeze({
      apiKey: secret(env, 'WANDB_API_KEY'),
      baseUrl: effective(wandbBaseUrl, undefined) ?? WANDB_URL,
      mode: MODES[effective(wandbMode, undefined) ?? 'online'],
      wanted: input.wandb,
      project: effective(optionTable.wandbProject, input.wandbProject) ?? '',
      entity: effective(optionTable.wandbEntity, input.wandbEntity),
      name: effective(optionTable.wandbName, input.wandbName),
      group: effective(optionTable.wandbGroup, input.wandbGroup),
      runId: effective(optionTable.wandbRunId, input.wandbRunId),
      dir: effective(optionTable.wandbDir, input.wandbDir),
      tags: Object.freeze(effective(wandbTags, undefined) ?? []),
      netrc: netrcPath(env),
    }),
  }
  return { value: Object.freeze(value), problems }
}

const WANDB_URL = 'https://api.wandb.ai'
/** Words of W&B's own SDK, old ones too, and what they come to here. */
const MODES = {
  online: 'online',
  shared: 'online',
  run: 'online',
  offline: 'offline',
  dryrun: 'offline',
  disabled: 'disabled',
} as const

/** Variables that no option stands for. */
const wandbMode = {
  schema: z.enum(['online', 'offline', 'disabled', 'dryrun', 'shared', 'run']).default('online'),
  allowed: 'online, offline or disabled',
  group: '',
  help: '',
  env: 'WANDB_MODE',
} satisfies OptionEntry
const wandbBaseUrl = {
  schema: z
    .url({ protocol: /^https?$/ })
    .refine(hasNoCredentials)
    .transform((url) => url.replace(/\/+$/, ''))
    .optional(),
  group: '',
  help: '',
  allowed: 'an http or https URL without user name and password',
  env: 'WANDB_BASE_URL',
} satisfies OptionEntry

const listOf = (text: string): string[] =>
  text
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '')

/** A longer one W&B refuses, and with it the whole run. */
const MAX_TAG = 64
const wandbTags = {
  schema: z
    .string()
    .default('')
    .transform(listOf)
    .refine((tags) => tags.every(({ length }) => length <= MAX_TAG)),
  group: '',
  help: '',
  allowed: `tags of up to ${MAX_TAG} characters each, with commas between them`,
  env: 'WANDB_TAGS',
} satisfies OptionEntry

function netrcPath(env: EnvironmentVariables): string | undefined {
  const own = variable(env, 'NETRC')
  if (own !== undefined) return resolve(own)
  const home = variable(env, 'HOME')
  return home === undefined ? undefined : join(home, '.netrc')
}

const variable = (env: EnvironmentVariables, name: string): string | undefined =>
  env[name]?.trim() || undefined

const secret = (env: EnvironmentVariables, name: string): Secret | undefined => {
  const value = variable(env, name)
  return value === undefined ? undefined : new Secret(value)
}

function stateDirOf(env: EnvironmentVariables): string | undefined {
  const own = variable(env, 'NIGHTSHIFT_STATE_DIR')
  if (own !== undefined) return resolve(own)
  const shared = variable(env, 'XDG_STATE_HOME')
  // Its specification: a relative path is no path.
  if (shared !== undefined && isAbsolute(shared)) return join(shared, 'nightshift')
  const home = variable(env, 'HOME')
  return home === undefined ? undefined : join(home, '.local', 'state', 'nightshift')
}

const badVariable = (entry: OptionEntry, value: unknown): Problem => ({
  code: 'bad_option',
  message: `environment variable ${entry.env} is ${quoteValue(value)}, but must be ${optionAllowed(entry)}`,
})

function usageError(problems: readonly Problem[]): UsageError {
  const code = problems.find((problem) => problem.code === 'unknown_option')?.code ?? 'bad_option'
  const [first, ...others] = problems.map((problem) => problem.message)
  const message =
    others.length === 0 ? `${first}` : ['several options are wrong:', first, ...others].join('\n  - ')
  return new UsageError(code, message)
}

/** The environment with some variables set differently, such as those that lead to an emulator. */
export const environmentWith = (
  changes: EnvironmentVariables,
  env: EnvironmentVariables = process.env,
): EnvironmentVariables => ({ ...env, ...changes })
