import { DEFAULT_TENANT, type StoredKey, type Tenant } from '../gateway/domain/tenant.ts'
import type { StorePlace } from '../gateway/settings.ts'
import { formatUsd } from '../util/format.ts'
import { quoteValue } from '../util/option-names.ts'
import { oneLine } from '../util/text.ts'
import { indented, timeText } from './layout.ts'

/** Where the data are, in words. */
export const placeText = (place: StorePlace): string =>
  place.kind === 'sqlite' ? `the folder ${place.dataDir}` : 'the database'

interface Shown {
  readonly place: StorePlace
  readonly columns: number
}

/** A key on a line of its own, and what is to be known of it. */
export function addedText(key: string, { id, tenant }: StoredKey, { place, columns }: Shown): string[] {
  const text = `is the new key of tenant ${tenant}, id ${id}, for gateways with their data in ${placeText(place)}. Keep it: it is shown this once, and only a digest of it is stored.`
  return [key, ...indented(text, columns, 0)]
}

const iso = (ms: number): string => new Date(ms).toISOString()

/** A tenant, as `--json` prints it. */
export const tenantReport = ({
  name,
  maxNanoUsd,
  callsPerMinute,
  spentNanoUsd,
  reservedNanoUsd,
}: Tenant) => ({
  name,
  maxSpendUsd: maxNanoUsd === undefined ? null : maxNanoUsd / 1e9,
  callsPerMinute: callsPerMinute ?? null,
  spentUsd: spentNanoUsd / 1e9,
  reservedUsd: reservedNanoUsd / 1e9,
})

/** What `keys list --json` prints. */
export const listReport = (keys: readonly StoredKey[], tenants: readonly Tenant[]) => ({
  tenants: tenants.map(tenantReport),
  keys: keys.map(({ id, tenant, name, createdAt, revokedAt }) => ({
    id,
    tenant,
    name,
    createdAt: iso(createdAt),
    revokedAt: revokedAt === undefined ? null : iso(revokedAt),
  })),
})

/** Each tenant, and its keys below it. */
export function listText(keys: readonly StoredKey[], tenants: readonly Tenant[], columns: number): string[] {
  if (keys.length === 0 && tenants.length === 0)
    return ['there are no keys: nightshift gateway keys add TENANT makes one']
  const names = new Set([...tenants.map(({ name }) => name), ...keys.map(({ tenant }) => tenant)])
  return [...names].flatMap((name) => [
    ...indented(
      tenantText(
        name,
        tenants.find((tenant) => tenant.name === name),
      ),
      columns,
      0,
    ),
    ...keys.filter(({ tenant }) => tenant === name).flatMap((key) => indented(keyText(key), columns, 2)),
  ])
}

/** A tenant on one line. */
export function tenantText(name: string, tenant: Tenant | undefined): string {
  const { spentNanoUsd = 0, reservedNanoUsd = 0, maxNanoUsd, callsPerMinute } = tenant ?? {}
  return [
    `${name}: ${formatUsd(spentNanoUsd)} spent`,
    ...(reservedNanoUsd > 0 ? [`${formatUsd(reservedNanoUsd)} set aside`] : []),
    ...(maxNanoUsd === undefined ? [] : [`${formatUsd(maxNanoUsd)} at most`]),
    ...(callsPerMinute === undefined ? [] : [`${callsPerMinute} calls a minute`]),
    ...(name === DEFAULT_TENANT ? ['who has the key of BATCH_SERVER_API_KEY'] : []),
  ].join(', ')
}

function keyText({ id, name, createdAt, revokedAt }: StoredKey): string {
  const state = revokedAt === undefined ? '' : `, revoked ${timeText(iso(revokedAt))}`
  return `${id}${name === '' ? '' : ` ${quoteValue(oneLine(name))}`}, made ${timeText(iso(createdAt))}${state}`
}
