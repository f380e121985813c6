import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { UsageError } from '../errors.ts'
import type { Access, GatewaySettings, StorePlace } from '../gateway/settings.ts'
import type { StoreSettings } from '../gateway/store/open-store.ts'
import { DATABASE_FILE } from '../gateway/store/sqlite-folder.ts'
import type { Fetch } from '../util/fetch.ts'
import type { ResolvedGatewayOptions } from '../util/gateway-options.ts'
import type { GatewayConfig, OptionSource } from '../util/gateway-variables.ts'
import { Secret } from '../util/secret.ts'
import { isLoopback } from './gateway-access.ts'

const MEGABYTE = 1_000_000
const SECOND_MS = 1000
const DAY_MS = 86_400_000

/** Where the data are, and what to say about it. */
export interface ChosenPlace {
  readonly place: StorePlace
  readonly warnings: readonly string[]
}

/**
 * A database, if one is named; yet a folder that is given by its flag is stronger than a database that only a common
 * variable names. Throws `UsageError` `two_stores` when both are wanted.
 */
export function storePlace({ options, sources }: Pick<GatewayConfig, 'options' | 'sources'>): ChosenPlace {
  const { dataDir, postgres } = options
  if (postgres === undefined) return { place: { kind: 'sqlite', dataDir }, warnings: [] }
  const choice = chosenStore(sources.get('dataDir'), sources.get('postgres'))
  if (choice === 'both') throw twoStores()
  if (choice === 'sqlite')
    return {
      place: { kind: 'sqlite', dataDir },
      warnings: ['--data-dir is used; the database of POSTGRES_URL or DATABASE_URL is not'],
    }
  const warnings =
    sources.get('postgres') === 'flag' && hasPassword(postgres)
      ? ['the password in --postgres can be seen by others on this machine: set NIGHTSHIFT_POSTGRES instead']
      : []
  return { place: { kind: 'postgres', url: new Secret(postgres) }, warnings }
}

function chosenStore(folder: OptionSource | undefined, database: OptionSource | undefined) {
  if (folder !== 'flag') return 'postgres'
  return database === 'alias' ? 'sqlite' : 'both'
}

const twoStores = (): UsageError =>
  new UsageError(
    'two_stores',
    '--data-dir and --postgres are both given, but the data can be in one place only: leave one out',
  )

const hasPassword = (url: string): boolean => (URL.parse(url)?.password ?? '') !== ''

/** Whether there may be data already: of a database that is said when it is opened. */
export const hasStore = (place: StorePlace): boolean =>
  place.kind === 'postgres' || existsSync(join(place.dataDir, DATABASE_FILE))

/** What opens a store. `serve`: for a server, which must be the only one in its folder. */
export const storeSettings = (place: StorePlace, { serve }: { readonly serve: boolean }): StoreSettings =>
  place.kind === 'sqlite'
    ? { kind: 'sqlite', dataDir: place.dataDir, serve }
    : { kind: 'postgres', url: place.url.reveal() }

export interface SettingsParts {
  readonly config: GatewayConfig
  readonly place: StorePlace
  readonly access: Access
  readonly fetch: Fetch | undefined
}

/** A host as it is listened on: `[::1]` is how URLs write `::1`. */
export const bareHost = (host: string): string => host.replace(/^\[(.*)\]$/, '$1')

/** All that a gateway is told, in the units it works with. Throws `UsageError` `missing_api_key`. */
export function gatewaySettings({ config, place, access, fetch }: SettingsParts): GatewaySettings {
  const { options, secrets } = config
  if (!secrets.upstreamKey) throw missingKey()
  return {
    store: place,
    upstream: {
      apiKey: secrets.upstreamKey,
      baseUrl: options.upstream,
      organization: options.openaiOrganization,
      project: options.openaiProject,
      fetch,
    },
    access,
    isLocal: isLoopback(options.host),
    webhookSecret: secrets.webhookSecret,
    ...limitsOf(options),
  }
}

const limitsOf = (options: ResolvedGatewayOptions) => ({
  mode: options.mode,
  windowMs: options.windowMs,
  maxBatchRequests: options.maxBatchRequests,
  maxBatchBytes: Math.floor(options.maxBatchMb * MEGABYTE),
  maxBatchTokens: options.maxBatchKtokens * 1000,
  pollMinMs: options.pollMinMs,
  pollMaxMs: options.pollMaxMs,
  directBelow: options.directBelow,
  cacheMs: options.cacheTtl * SECOND_MS,
  claimMs: options.claimTtl * SECOND_MS,
  maxHoldMs: options.maxHoldMs,
  heartbeatMs: options.heartbeatMs,
  maxBodyBytes: Math.floor(options.maxBodyMb * MEGABYTE),
  maxQueued: options.maxQueued,
  callConcurrency: options.callConcurrency,
  maxAttempts: options.maxAttempts,
  maxExpiries: options.maxExpiries,
  requestTimeoutMs: options.requestTimeoutMs,
  createGraceMs: options.createGraceMs,
  retentionMs: options.retentionDays * DAY_MS,
})

/** `also`: what is to be set as well. */
export function missingKey(also: readonly 'BATCH_SERVER_API_KEY'[] = []): UsageError {
  const upstream = 'OPENAI_API_KEY to the key of the server that does the work'
  const own = also.map((name) => `${name} to a long random text that callers use as their API key`)
  return new UsageError('missing_api_key', `a key is missing: set ${[upstream, ...own].join(', and ')}`)
}
