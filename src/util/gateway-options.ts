import { z } from 'zod'
import type { OptionEntry, OptionFacts, OptionInput, OptionOutput, OptionTable } from './option-entry.ts'
import { kebab } from './option-names.ts'
import { optionTable } from './option-table.ts'

/** A variable by which other systems know an option. */
export interface VariableAlias {
  readonly name: string
  /** What one of its units is in units of the option, a whole number: 1000 for seconds where that has milliseconds. @default the same unit */
  readonly factor?: number
  /** What it may be, where that is not what the option may be. */
  readonly allowed?: string
}

/** An option of the gateway: besides its flag it has a variable of its own name, see `variableOf`. */
export interface GatewayOptionEntry<Schema extends z.ZodType = z.ZodType> extends OptionEntry<Schema> {
  /** Weaker than flag and own variable; the first of them that is set counts. */
  readonly aliases?: readonly VariableAlias[]
}

type More = Omit<OptionFacts, 'group' | 'help' | 'env'> & Pick<GatewayOptionEntry, 'aliases'>

const inGroup =
  (group: string) =>
  <Schema extends z.ZodType>(schema: Schema, help: string, more: More = {}): GatewayOptionEntry<Schema> => ({
    schema,
    group,
    help,
    ...more,
  })

/** Node's timers fire at once when they are asked to wait longer than this. */
const LONGEST_TIMER_MS = 2 ** 31 - 1
const flag = (value: boolean) => z.boolean().default(value)
const whole = (min: number, max: number = Number.MAX_SAFE_INTEGER) => z.int().min(min).max(max)
const timer = (min = 0) => whole(min, LONGEST_TIMER_MS)

const serving = inGroup('Serving')
const access = inGroup('Access')
const data = inGroup('Data')
const upstream = inGroup('Server that does the work')
const waiting = inGroup('How callers wait')
const batch = inGroup('Batches')
const call = inGroup('Calls and failures')

const URL_OF_POSTGRES = /^postgres(ql)?:\/\/.+/i
const POSTGRES_ALLOWED = 'a postgres:// or postgresql:// URL'
/** Other programs have variables of these names, too. */
const foreignUrl = (name: string): VariableAlias => ({
  name,
  allowed: `${POSTGRES_ALLOWED}; with --data-dir it does not matter`,
})
const MEGABYTE_MOST = 200

/** Every option of the gateway: the type, the flags, the variables, the help and the docs all come from here. */
export const gatewayTable = {
  host: serving(
    z.string().regex(/^\S+$/).default('127.0.0.1'),
    'Address to listen on; 0.0.0.0: all of this machine',
    {
      value: 'address',
      allowed: 'an address or a host name',
    },
  ),
  port: serving(whole(0, 65_535).default(9487), 'Port to listen on; 0: any that is free', {
    aliases: [{ name: 'PORT' }],
  }),
  tlsCert: serving(
    z.string().min(1).optional(),
    'File with the certificate (PEM), for HTTPS; with --tls-key',
    {
      value: 'file',
      allowed: 'the path of a file',
    },
  ),
  tlsKey: serving(z.string().min(1).optional(), 'File with the key of the certificate (PEM)', {
    value: 'file',
    allowed: 'the path of a file',
  }),
  logLevel: serving(
    z.enum(['info', 'warn', 'error', 'silent']).default('info'),
    'What is logged, as lines of JSON on standard error; info: every call, too',
    { ignoreCase: true },
  ),

  noAuth: access(
    flag(false),
    'Ask for no key: whoever reaches the port may spend your money. On other addresses than loopback only with --i-trust-this-network',
  ),
  iTrustThisNetwork: access(flag(false), 'All who can reach the port may call; only with --no-auth'),
  maxBodyMb: access(z.number().min(0.01).max(MEGABYTE_MOST).default(64), 'Largest body of a call', {
    unit: 'MB',
  }),
  maxQueued: access(
    whole(1).default(1_000_000),
    'Requests that may wait for their answers at one time; the next gets a 429',
    { unit: 'requests' },
  ),

  dataDir: data(
    z.string().min(1).default('gateway-data'),
    'Folder of the data, unless they are in PostgreSQL',
    {
      value: 'dir',
      allowed: 'the path of a folder',
    },
  ),
  postgres: data(
    z.string().regex(URL_OF_POSTGRES).optional(),
    'Keep the data in this database, which several gateways may share; a password is better given by the variable',
    {
      value: 'url',
      allowed: POSTGRES_ALLOWED,
      aliases: [foreignUrl('POSTGRES_URL'), foreignUrl('DATABASE_URL')],
    },
  ),
  retentionDays: data(
    z.number().min(0.01).max(3650).default(30),
    'How long requests are kept once they are done, with their answers',
    { unit: 'days' },
  ),

  upstream: upstream(
    optionTable.clientBaseUrl.schema,
    "Base URL of the server, up to and including /v1; otherwise OpenAI's",
    {
      value: 'url',
      allowed: 'an http or https URL without user name and password',
      aliases: [{ name: 'OPENAI_BASE_URL' }],
    },
  ),
  openaiOrganization: upstream(optionTable.openaiOrganization.schema, 'Organisation that is charged', {
    value: 'id',
    allowed: 'the id of an organisation',
    aliases: [{ name: 'OPENAI_ORG_ID' }],
  }),
  openaiProject: upstream(optionTable.openaiProject.schema, 'Project that is charged', {
    value: 'id',
    allowed: 'the id of a project',
    aliases: [{ name: 'OPENAI_PROJECT_ID' }],
  }),

  mode: waiting(
    z.enum(['sync', 'async', 'poll', 'cache']).default('sync'),
    'How calls wait that do not say: sync holds them, async answers 202, poll answers 422 until it is done, cache serves only what is there',
    { ignoreCase: true, aliases: [{ name: 'CLIENT_SERVING_MODE' }] },
  ),
  maxHoldMs: waiting(
    timer().default(86_400_000),
    'How long a call is held at most, however long its client would wait; it is then told to come back',
    { unit: 'ms' },
  ),
  heartbeatMs: waiting(timer(100).default(15_000), 'Time between two signs of life on a stream that waits', {
    unit: 'ms',
  }),
  cacheTtl: waiting(
    z.number().min(0).max(315_360_000).default(0),
    'How long an answer also serves identical calls that come later; 0: each call is a request of its own',
    { unit: 's' },
  ),
  claimTtl: waiting(
    z.number().min(0).max(315_360_000).default(86_400),
    'How long an answer that was delivered is given again to poll and async',
    { unit: 's' },
  ),

  windowMs: batch(timer().default(5000), 'A batch is made so long after the first request that it takes', {
    unit: 'ms',
    aliases: [{ name: 'COLLATE_BATCHES_FOR_DURATION_IN_MS' }],
  }),
  maxBatchRequests: batch(whole(1, 50_000).default(50_000), 'Requests in one batch', { unit: 'requests' }),
  maxBatchMb: batch(
    z.number().min(0.01).max(MEGABYTE_MOST).default(MEGABYTE_MOST),
    'Size of one batch file',
    {
      unit: 'MB',
    },
  ),
  maxBatchKtokens: batch(z.number().min(0.01).default(20_000), 'Prompt tokens, as estimated, in one batch', {
    unit: 'thousand tokens',
  }),
  pollMinMs: batch(timer(1).default(5000), 'A young batch is looked at so often', { unit: 'ms' }),
  pollMaxMs: batch(
    timer(1).default(60_000),
    'The older a batch, the more rarely it is looked at, but so often at least',
    {
      unit: 'ms',
      aliases: [
        {
          name: 'COLLECT_BATCH_STATS_POLLING_MAX_INTERVAL_SECONDS',
          factor: 1000,
          allowed: 'a number of seconds above 0',
        },
      ],
    },
  ),
  directBelow: batch(
    whole(0, 50_000).default(0),
    'Fewer requests than this that wait for a batch when it is due are called directly, at full price; 0: never',
    { unit: 'requests' },
  ),

  callConcurrency: call(
    whole(1, 1000).default(16),
    'Flex and direct calls that are on the wire at one time',
    {
      unit: 'calls',
    },
  ),
  requestTimeoutMs: call(timer(1).default(600_000), 'How long a call to the server may take', { unit: 'ms' }),
  maxAttempts: call(
    whole(1, 100).default(3),
    'How often a request is tried before its caller is given its failure',
    { unit: 'attempts' },
  ),
  maxExpiries: call(
    whole(0, 100).default(5),
    'How often a request may come back expired or cancelled without having been tried',
    { unit: 'expiries' },
  ),
  createGraceMs: call(
    timer().default(30_000),
    'How long to look for a batch whose creation got no clear answer before it is created anew',
    { unit: 'ms' },
  ),
} as const satisfies OptionTable & Readonly<Record<string, GatewayOptionEntry>>

export type GatewayOptionName = keyof typeof gatewayTable

/** Options as they are given, by flags or in code. */
export type GatewayOptions = OptionInput<typeof gatewayTable>

/** Options as the program uses them: checked, with all defaults. */
export type ResolvedGatewayOptions = OptionOutput<typeof gatewayTable>

/** The variable that serves when the flag is not given: `NIGHTSHIFT_WINDOW_MS` for `windowMs`. */
export const variableOf = (name: string): string =>
  `NIGHTSHIFT_${kebab(name).replaceAll('-', '_').toUpperCase()}`

/** What a table lists as the option's variables, its own first. */
export const variablesOf = (name: string, { aliases = [] }: GatewayOptionEntry): readonly VariableAlias[] => [
  { name: variableOf(name) },
  ...aliases,
]

/** The table as help and docs show it: with the variables of other systems, as those of its own follow from the flag. */
export const gatewayHelpTable = (): OptionTable =>
  Object.fromEntries(
    Object.entries(gatewayTable).map(([name, entry]: readonly [string, GatewayOptionEntry]) => {
      const { aliases = [], ...own } = entry
      return [
        name,
        aliases.length === 0 ? own : { ...own, env: aliases.map((alias) => alias.name).join(', ') },
      ]
    }),
  )
