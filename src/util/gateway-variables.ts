import { z } from 'zod'
import { UsageError } from '../errors.ts'
import {
  type GatewayOptionEntry,
  type GatewayOptions,
  gatewayTable,
  type ResolvedGatewayOptions,
  type VariableAlias,
  variableOf,
  variablesOf,
} from './gateway-options.ts'
import { kebab, nearest, quoteValue } from './option-names.ts'
import { schemaFacts, valueFromText } from './option-schema.ts'
import { type EnvironmentVariables, optionAllowed, shapeOf } from './options.ts'
import { Secret } from './secret.ts'

/** Where the value of an option is from, the strongest first: its flag, `NIGHTSHIFT_…`, a name of other systems. */
export type OptionSource = 'flag' | 'variable' | 'alias' | 'default'

/** What is never a flag. Variables that are blank count as absent. */
export interface GatewaySecrets {
  /** `OPENAI_API_KEY`: for the server that does the work. */
  readonly upstreamKey: Secret | undefined
  /** `BATCH_SERVER_API_KEY`, else `API_KEY`: what callers show. */
  readonly callerKey: Secret | undefined
  /** `NIGHTSHIFT_WEBHOOK_SECRET`: signs webhooks. */
  readonly webhookSecret: Secret | undefined
}

/** All that a gateway is told from outside, frozen. */
export interface GatewayConfig {
  readonly options: ResolvedGatewayOptions
  /** Of each option, by its name. */
  readonly sources: ReadonlyMap<string, OptionSource>
  readonly secrets: GatewaySecrets
  /** What was not followed, for people: variables that disagree with what counts, and those that mean nothing here. */
  readonly warnings: readonly string[]
}

/**
 * Puts together what flags and variables say: a flag counts, else `NIGHTSHIFT_…`, else the first alias that is set,
 * else the default. Options that are undefined count as not given. Throws `UsageError` (`bad_option`) with all that is
 * wrong.
 */
export function resolveGatewayOptions(given: GatewayOptions, env: EnvironmentVariables): GatewayConfig {
  const findings = entries.map(([name, entry]) => find(name, entry, told(name, entry, given, env)))
  const sources = new Map(findings.map(({ name, source }) => [name, source]))
  const problems = findings.flatMap((finding) =>
    finding.problem === undefined || isMoot(finding, sources) ? [] : [finding.problem],
  )
  if (problems.length > 0) throw usageError(problems)
  const options = gatewaySchema.parse(fitted(findings, sources))
  const wrong = [...crossProblems(options), ...keyProblems(env), ...webhookProblems(env)]
  if (wrong.length > 0) throw usageError(wrong)
  const { callerKey, warnings } = callerKeyOf(env)
  return Object.freeze({
    options: Object.freeze(options),
    sources,
    secrets: Object.freeze({
      upstreamKey: secret(env, UPSTREAM_KEY),
      callerKey,
      webhookSecret: secret(env, WEBHOOK_SECRET),
    }),
    warnings: [
      ...findings.flatMap((finding) => finding.warnings),
      ...warnings,
      ...leftovers(env),
      ...misspelt(env),
    ],
  })
}

const entries: readonly (readonly [string, GatewayOptionEntry])[] = Object.entries(gatewayTable)
const gatewaySchema = z.object(shapeOf(gatewayTable))

/** What one flag or variable says of an option. */
interface Told {
  /** As people know it: `--port`, `PORT`. */
  readonly label: string
  readonly source: OptionSource
  /** Undefined: one that cannot be; `problem` says why. */
  readonly value: unknown
  readonly problem: string | undefined
}

/** All that is said of an option, the strongest first. */
function told(
  name: string,
  entry: GatewayOptionEntry,
  given: Readonly<Record<string, unknown>>,
  env: EnvironmentVariables,
): Told[] {
  const flag = given[name] === undefined ? [] : [flagSays(name, entry, given[name])]
  const variables = variablesOf(name, entry).flatMap((alias): Told[] => {
    const text = variable(env, alias.name)
    return text === undefined ? [] : [variableSays(name, entry, alias, text)]
  })
  return [...flag, ...variables]
}

function flagSays(name: string, entry: GatewayOptionEntry, given: unknown): Told {
  const { success, data } = entry.schema.safeParse(entry.ignoreCase ? lower(given) : given)
  const label = `--${kebab(name)}`
  const problem = success
    ? undefined
    : `${label} is ${quoteValue(given)}, but must be ${optionAllowed(entry)}`
  return { label, source: 'flag', value: data, problem }
}

const lower = (value: unknown): unknown => (typeof value === 'string' ? value.toLowerCase() : value)

function variableSays(name: string, entry: GatewayOptionEntry, alias: VariableAlias, text: string): Told {
  const { success, data } = entry.schema.safeParse(valueFromVariable(entry, alias, text))
  const allowed = alias.allowed ?? optionAllowed(entry)
  return {
    label: alias.name,
    source: alias.name === variableOf(name) ? 'variable' : 'alias',
    value: data,
    problem: success
      ? undefined
      : `environment variable ${alias.name} is ${quoteValue(text)}, but must be ${allowed}`,
  }
}

/** Null, which no option may be, for a text that is no value of its kind. */
function valueFromVariable(
  { schema, ignoreCase }: GatewayOptionEntry,
  { factor }: VariableAlias,
  text: string,
): unknown {
  const { shape } = schemaFacts(schema)
  if (shape?.kind === 'boolean') return SWITCHES.get(text.toLowerCase()) ?? null
  const value = shape && valueFromText(shape, text, ignoreCase)
  return typeof value === 'number' && factor !== undefined ? Math.round(value * factor) : (value ?? null)
}

/** In variables switches are written in more ways than on a command line. */
const SWITCHES: ReadonlyMap<string, boolean> = new Map([
  ...['true', '1', 'yes', 'on'].map((word) => [word, true] as const),
  ...['false', '0', 'no', 'off'].map((word) => [word, false] as const),
])

interface Finding {
  readonly name: string
  readonly source: OptionSource
  readonly value: unknown
  readonly problem: string | undefined
  readonly warnings: readonly string[]
}

function find(name: string, { schema }: GatewayOptionEntry, [first, ...others]: readonly Told[]): Finding {
  if (!first) {
    const value = schema.safeParse(undefined).data
    return { name, source: 'default', value, problem: undefined, warnings: [] }
  }
  const { source, value, problem, label } = first
  const differing = others.filter((other) => other.problem !== undefined || other.value !== value)
  return { name, source, value, problem, warnings: differing.map((other) => overruled(label, other.label)) }
}

/** `DATABASE_URL` may be of anything: where the data go to a folder that a flag names, nobody asks what it says. */
const isMoot = ({ name, source }: Finding, sources: ReadonlyMap<string, OptionSource>): boolean =>
  name === 'postgres' && source === 'alias' && sources.get('dataDir') === 'flag'

/** No values: they may hold a password. */
const overruled = (used: string, other: string): string => `${used} is used; ${other} says otherwise`

const FASTEST = 'pollMinMs'
const SLOWEST = 'pollMaxMs'

/** The values by name. Of the two ends of the poll interval the one that was not given yields to the other. */
function fitted(
  findings: readonly Finding[],
  sources: ReadonlyMap<string, OptionSource>,
): Readonly<Record<string, unknown>> {
  const values: Record<string, unknown> = Object.fromEntries(findings.map(({ name, value }) => [name, value]))
  const [min, max] = [values[FASTEST], values[SLOWEST]]
  if (typeof min !== 'number' || typeof max !== 'number' || min <= max) return values
  if (sources.get(FASTEST) === 'default') values[FASTEST] = max
  else if (sources.get(SLOWEST) === 'default') values[SLOWEST] = min
  return values
}

function crossProblems({ pollMinMs, pollMaxMs, tlsCert, tlsKey }: ResolvedGatewayOptions): string[] {
  const problems: string[] = []
  if (pollMinMs > pollMaxMs)
    problems.push(
      `--poll-min-ms is ${pollMinMs}, but must not be above --poll-max-ms, which is ${pollMaxMs}; lower the first or raise the second`,
    )
  if ((tlsCert === undefined) !== (tlsKey === undefined))
    problems.push(
      `--${tlsCert === undefined ? 'tls-key' : 'tls-cert'} is given alone; HTTPS needs --tls-cert and --tls-key`,
    )
  return problems
}

const UPSTREAM_KEY = 'OPENAI_API_KEY'
const CALLER_KEYS = ['BATCH_SERVER_API_KEY', 'API_KEY'] as const

/** The strongest first. */
const callerKeysIn = (env: EnvironmentVariables) =>
  CALLER_KEYS.filter((name) => variable(env, name) !== undefined)

/** Keys travel in a header, where nothing else can be: with such a one no call would ever succeed. */
function keyProblems(env: EnvironmentVariables): string[] {
  const [callerKey] = callerKeysIn(env)
  return [UPSTREAM_KEY, ...(callerKey === undefined ? [] : [callerKey])]
    .filter((name) => !/^[\x21-\x7e]*$/.test(variable(env, name) ?? ''))
    .map(
      (name) =>
        `environment variable ${name} is no key: it has spaces, line breaks or other than ASCII characters in it`,
    )
}

const WEBHOOK_SECRET = 'NIGHTSHIFT_WEBHOOK_SECRET'

/** A receiver would decode another key than we do, or one that anybody can guess. */
function webhookProblems(env: EnvironmentVariables): string[] {
  const encoded = variable(env, WEBHOOK_SECRET)?.match(/^whsec_(.*)$/s)?.[1]
  if (encoded === undefined || (encoded !== '' && z.base64().safeParse(encoded).success)) return []
  return [
    `environment variable ${WEBHOOK_SECRET} begins with "whsec_", but what follows is not base64; make one by: echo whsec_$(openssl rand -base64 32)`,
  ]
}

function callerKeyOf(env: EnvironmentVariables): {
  readonly callerKey: Secret | undefined
  readonly warnings: readonly string[]
} {
  const [first, ...others] = callerKeysIn(env)
  if (first === undefined) return { callerKey: undefined, warnings: [] }
  const differing = others.filter((name) => variable(env, name) !== variable(env, first))
  return { callerKey: secret(env, first), warnings: differing.map((name) => overruled(first, name)) }
}

/** Variables of a system that kept its data elsewhere. */
function leftovers(env: EnvironmentVariables): string[] {
  const names = Object.keys(env).filter(
    (name) => name.startsWith('MONGO_') && variable(env, name) !== undefined,
  )
  if (names.length === 0) return []
  const are = names.length === 1 ? 'is' : 'are'
  return [
    `${names.sort().join(', ')} ${are} not used: there is no MongoDB here, the data are in --data-dir or --postgres`,
  ]
}

const OWN_PREFIX = 'NIGHTSHIFT_'

/** Variables that look like one of an option. Others with that prefix may be of anything, such as a cluster's services. */
function misspelt(env: EnvironmentVariables): string[] {
  const known = entries.map(([name]) => variableOf(name).slice(OWN_PREFIX.length))
  const rest = Object.keys(env)
    .filter((name) => name.startsWith(OWN_PREFIX) && variable(env, name) !== undefined)
    .map((name) => name.slice(OWN_PREFIX.length))
    .filter((name) => !known.includes(name) && !OTHER_VARIABLES.has(name))
  return rest.flatMap((name) => {
    const meant = nearest(name, known)
    return meant ? [`${OWN_PREFIX}${name} is not used; did you mean ${OWN_PREFIX}${meant}?`] : []
  })
}

const OTHER_VARIABLES: ReadonlySet<string> = new Set(['WEBHOOK_SECRET', 'STATE_DIR'])

const variable = (env: EnvironmentVariables, name: string): string | undefined =>
  env[name]?.trim() || undefined

const secret = (env: EnvironmentVariables, name: string): Secret | undefined => {
  const value = variable(env, name)
  return value === undefined ? undefined : new Secret(value)
}

function usageError(problems: readonly string[]): UsageError {
  const [first, ...others] = problems
  const message =
    others.length === 0 ? `${first}` : ['several options are wrong:', first, ...others].join('\n  - ')
  return new UsageError('bad_option', message)
}
