/** Who calls without a key, where that is allowed, and who holds the one key of the environment. */
export const DEFAULT_TENANT = 'default'

/** What a tenant may, and has spent. Amounts in nano-USD. */
export interface Tenant {
  readonly name: string
  /** Undefined: no limit. */
  readonly maxNanoUsd: number | undefined
  /** Calls that it may make in a minute; undefined: no limit. */
  readonly callsPerMinute: number | undefined
  readonly spentNanoUsd: number
  readonly reservedNanoUsd: number
}

/** A caller's key as it is kept: never the key itself. */
export interface StoredKey {
  /** Public part, by which people name it: `key_...`. */
  readonly id: string
  readonly tenant: string
  readonly name: string
  /** SHA-256 of the key, base64url. Keys are random, 256 bits: nothing slower is needed. */
  readonly hash: string
  readonly createdAt: number
  readonly revokedAt: number | undefined
}
