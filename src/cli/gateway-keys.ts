import { hash, randomBytes } from 'node:crypto'
import { z } from 'zod'
import { NightshiftError, UsageError } from '../errors.ts'
import { DEFAULT_TENANT, type StoredKey, type Tenant } from '../gateway/domain/tenant.ts'
import type { StorePlace } from '../gateway/settings.ts'
import { openStore } from '../gateway/store/open-store.ts'
import type { GatewayStore } from '../gateway/store/store.ts'
import { type GatewayOptions, gatewayTable } from '../util/gateway-options.ts'
import { type GatewayConfig, resolveGatewayOptions } from '../util/gateway-variables.ts'
import type { OptionTable } from '../util/option-entry.ts'
import { nearest, quoteValue } from '../util/option-names.ts'
import { environmentWith } from '../util/options.ts'
import { oneLine } from '../util/text.ts'
import type { CommandIo } from './command-io.ts'
import { jsonFlag, readAction, readCommand } from './command-line.ts'
import { addedText, listReport, listText, placeText, tenantReport, tenantText } from './gateway-keys-text.ts'
import { hasStore, storePlace, storeSettings } from './gateway-settings.ts'
import { indented } from './layout.ts'

export const KEYS_HELP = `nightshift gateway keys add TENANT     make a key for a tenant, printed once
nightshift gateway keys limit TENANT   change a tenant's limits, not its keys
nightshift gateway keys list           keys, and what their tenants have spent
nightshift gateway keys revoke ID      let a key hold no longer

  --name TEXT            add: what the key is for
  --max-spend USD        add, limit: the most that the tenant may spend, in all;
                         without it the tenant keeps the limit it has
  --calls-per-minute N   add, limit: calls that the tenant may make in a minute;
                         likewise
  --no-limits            limit: drop the limits that are not given along with it
  --data-dir DIR         folder of the gateway's data (default gateway-data)
  --postgres URL         its database; or POSTGRES_URL, DATABASE_URL
  --json                 print one JSON object
  --help                 this text

A key is kept as a digest: who loses it needs a new one. A gateway that runs
notices keys within seconds; one that was started without any, on loopback, asks
for them once it is started again.`

const table = {
  dataDir: gatewayTable.dataDir,
  postgres: gatewayTable.postgres,
} as const satisfies OptionTable

const limitFlags = {
  maxSpend: z.number().min(0).max(1e6).optional(),
  callsPerMinute: z.int().min(1).max(1e9).optional(),
} as const
const addForm = {
  usage: 'nightshift gateway keys add TENANT',
  table,
  flags: z.object({ ...jsonFlag, ...limitFlags, name: z.string().max(100).default('') }),
} as const
const limitForm = {
  usage: 'nightshift gateway keys limit TENANT',
  table,
  flags: z.object({ ...jsonFlag, ...limitFlags, limits: z.boolean().default(true) }),
} as const
const listForm = { usage: 'nightshift gateway keys list', table, flags: z.object(jsonFlag) } as const
const revokeForm = { usage: 'nightshift gateway keys revoke ID', table, flags: z.object(jsonFlag) } as const

/** `nightshift gateway keys add|limit|list|revoke`: resolves with the exit code. Works beside a gateway that runs. */
export async function gatewayKeys(argv: readonly string[], io: CommandIo): Promise<number> {
  const chosen = readAction(argv, 'gateway keys', ['add', 'limit', 'list', 'revoke'])
  const act = chosen && ACTIONS[chosen.action]
  if (chosen && act && (await act(chosen.rest, io))) return 0
  io.stdout(KEYS_HELP)
  return 0
}

/** Each gives false when it was asked for help. */
const ACTIONS = { add, limit, list, revoke } as const

async function add(argv: readonly string[], io: CommandIo): Promise<boolean> {
  const command = readCommand(argv, addForm)
  if (!command) return false
  const { flags, options, words } = command
  const tenant = checkedTenant(words[0] ?? '')
  await withStore({ options, io, mayMake: true }, async (store, place) => {
    const key = `${KEY_PREFIX}${randomBytes(KEY_BYTES).toString('base64url')}`
    const stored = storedKey({ key, tenant, name: oneLine(flags.name).trim(), now: await store.now() })
    await putLimits(store, tenant, { ...flags, keepsOthers: true })
    await store.addKey(stored)
    if (flags.json) io.stdout(JSON.stringify({ id: stored.id, tenant, name: stored.name, key }, null, 2))
    else for (const line of addedText(key, stored, { place, columns: io.columns })) io.stdout(line)
  })
  return true
}

/** By which logs and people know a text for a key of a gateway. */
const KEY_PREFIX = 'ns_'
const KEY_BYTES = 32
const ID_BYTES = 6

const storedKey = (facts: {
  readonly key: string
  readonly tenant: string
  readonly name: string
  readonly now: number
}): StoredKey => ({
  id: `key_${randomBytes(ID_BYTES).toString('hex')}`,
  tenant: facts.tenant,
  name: facts.name,
  hash: hash('sha256', facts.key, 'base64url'),
  createdAt: facts.now,
  revokedAt: undefined,
})

function checkedTenant(name: string): string {
  if (/^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/.test(name)) return name
  const message = `the tenant is ${quoteValue(name)}, but must be 1 to 64 letters, digits, ".", "_" or "-", the first a letter or digit`
  throw new UsageError('bad_tenant', message)
}

interface NewLimits {
  readonly maxSpend?: number | undefined
  readonly callsPerMinute?: number | undefined
  /** Limits that are not given stay as they are. */
  readonly keepsOthers: boolean
}

async function putLimits(store: GatewayStore, name: string, given: NewLimits): Promise<void> {
  if (given.maxSpend === undefined && given.callsPerMinute === undefined && given.keepsOthers) return
  const before = given.keepsOthers ? await tenantNamed(store, name) : undefined
  await store.putTenant({
    name,
    maxNanoUsd: given.maxSpend === undefined ? before?.maxNanoUsd : Math.round(given.maxSpend * 1e9),
    callsPerMinute: given.callsPerMinute ?? before?.callsPerMinute,
  })
}

const tenantNamed = async (store: GatewayStore, name: string): Promise<Tenant | undefined> =>
  (await store.tenants()).find((tenant) => tenant.name === name)

async function limit(argv: readonly string[], io: CommandIo): Promise<boolean> {
  const command = readCommand(argv, limitForm)
  if (!command) return false
  const { flags, options, words } = command
  const name = checkedTenant(words[0] ?? '')
  const { maxSpend, callsPerMinute, limits } = flags
  if (maxSpend === undefined && callsPerMinute === undefined && limits) throw noLimit()
  await withStore({ options, io }, async (store) => {
    mustBeTenant(name, await store.tenants())
    await putLimits(store, name, { maxSpend, callsPerMinute, keepsOthers: limits })
    const tenant = await tenantNamed(store, name)
    if (flags.json) io.stdout(JSON.stringify(tenant && tenantReport(tenant), null, 2))
    else for (const line of indented(tenantText(name, tenant), io.columns, 0)) io.stdout(line)
  })
  return true
}

const noLimit = (): UsageError =>
  new UsageError(
    'no_limit_given',
    'nothing is to be changed: give --max-spend, --calls-per-minute or --no-limits',
  )

/** Of whom nothing is known a limit may be a mistake. The key of the environment is known to be one's. */
function mustBeTenant(name: string, tenants: readonly Tenant[]): void {
  const names = [DEFAULT_TENANT, ...tenants.map((tenant) => tenant.name)]
  if (names.includes(name)) return
  const meant = nearest(name, names)
  const hint = meant ? `did you mean ${meant}?` : 'nightshift gateway keys list shows all'
  throw new NightshiftError('unknown_tenant', `there is no tenant ${quoteValue(name)}; ${hint}`)
}

async function list(argv: readonly string[], io: CommandIo): Promise<boolean> {
  const command = readCommand(argv, listForm)
  if (!command) return false
  await withStore({ options: command.options, io }, async (store) => {
    const [keys, tenants] = [await store.keys(), await store.tenants()]
    if (command.flags.json) io.stdout(JSON.stringify(listReport(keys, tenants), null, 2))
    else for (const line of listText(keys, tenants, io.columns)) io.stdout(line)
  })
  return true
}

async function revoke(argv: readonly string[], io: CommandIo): Promise<boolean> {
  const command = readCommand(argv, revokeForm)
  if (!command) return false
  const { flags, options, words } = command
  const [id = ''] = words
  await withStore({ options, io }, async (store) => {
    const revoked = await store.revokeKey(id)
    if (!revoked) mustExist(id, await store.keys())
    if (flags.json) io.stdout(JSON.stringify({ id, revoked }, null, 2))
    else
      io.stdout(revoked ? `${id} is revoked: gateways refuse it within seconds` : `${id} was revoked before`)
  })
  return true
}

function mustExist(id: string, keys: readonly StoredKey[]): void {
  if (keys.some((key) => key.id === id)) return
  const meant = nearest(
    id,
    keys.map((key) => key.id),
  )
  const hint = meant ? `did you mean ${meant}?` : 'nightshift gateway keys list shows all'
  throw new NightshiftError('unknown_key', `there is no key ${quoteValue(id)}; ${hint}`)
}

interface StoreUse {
  readonly options: Pick<GatewayOptions, 'dataDir' | 'postgres'>
  readonly io: CommandIo
  /** A key may be made before a gateway is started for the first time. */
  readonly mayMake?: boolean
}

async function withStore(
  { options, io, mayMake = false }: StoreUse,
  work: (store: GatewayStore, place: StorePlace) => Promise<void>,
): Promise<void> {
  const { place } = storePlace(placeConfig(options, io))
  if (!mayMake && !hasStore(place)) throw noData(place)
  const store = await openStore(storeSettings(place, { serve: false }), io.clock)
  try {
    await work(store, place)
  } finally {
    await store.close()
  }
}

function noData(place: StorePlace): NightshiftError {
  const message = `${placeText(place)} has no data of a gateway; name where it keeps them by --data-dir or --postgres`
  return new NightshiftError('no_gateway_data', message)
}

/** Of the environment only what says where the data are: what is wrong with the rest is for the server to say. */
function placeConfig(
  options: Pick<GatewayOptions, 'dataDir' | 'postgres'>,
  { env }: CommandIo,
): GatewayConfig {
  const { NIGHTSHIFT_DATA_DIR, NIGHTSHIFT_POSTGRES, POSTGRES_URL, DATABASE_URL } = environmentWith({}, env)
  return resolveGatewayOptions(options, {
    NIGHTSHIFT_DATA_DIR,
    NIGHTSHIFT_POSTGRES,
    POSTGRES_URL,
    DATABASE_URL,
  })
}
