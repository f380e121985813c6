import type { Clock } from '../../../util/clock.ts'
import type { StoredKey, Tenant } from '../../domain/tenant.ts'
import type { Log } from '../../log.ts'
import { Remembered } from '../remembered.ts'

/** What the book is read from. */
export interface KeySource {
  keys(): Promise<readonly StoredKey[]>
  tenants(): Promise<readonly Tenant[]>
}

/** Keys that hold, by their hash, and what tenants may. */
interface Page {
  readonly keys: ReadonlyMap<string, StoredKey>
  readonly tenants: ReadonlyMap<string, Tenant>
}

/** A key that was revoked is refused after so long at the latest. */
const FRESH_MS = 3000
/** A key that is not known may have been added just now. */
const UNKNOWN_MS = 500

/** The keys and tenants of the store. All methods throw `StoreError` when there is nothing to go by. */
export class KeyBook {
  readonly #page: Remembered<Page>

  constructor(source: KeySource, { clock, log }: { readonly clock: Clock; readonly log: Log }) {
    this.#page = new Remembered({ what: 'keys', read: () => readPage(source), clock, log })
  }

  /** The key with this hash, if it holds. */
  async key(hash: string): Promise<StoredKey | undefined> {
    const { keys } = await this.#page.get(FRESH_MS)
    return keys.get(hash) ?? (await this.#page.get(UNKNOWN_MS)).keys.get(hash)
  }

  /** Undefined: one that was never given limits. */
  async tenant(name: string): Promise<Tenant | undefined> {
    const { tenants } = this.#page.fresh(FRESH_MS) ?? (await this.#page.get(FRESH_MS))
    return tenants.get(name)
  }
}

async function readPage(source: KeySource): Promise<Page> {
  const keys = await source.keys()
  const tenants = await source.tenants()
  return {
    keys: new Map(keys.filter(({ revokedAt }) => revokedAt === undefined).map((key) => [key.hash, key])),
    tenants: new Map(tenants.map((tenant) => [tenant.name, tenant])),
  }
}
