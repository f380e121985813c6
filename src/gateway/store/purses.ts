/** What a tenant may spend, and what it has. Amounts in nano-USD. */
export interface Purse {
  readonly tenant: string
  /** Undefined: no limit. */
  readonly maxNanoUsd: number | undefined
  readonly spentNanoUsd: number
  readonly reservedNanoUsd: number
}

/** What a transaction changes of a tenant's purse, to be added to what is there. */
export interface PurseChange {
  readonly spent: number
  readonly reserved: number
  /** Requests that are not done. */
  readonly waiting: number
}

const NO_CHANGE: PurseChange = { spent: 0, reserved: 0, waiting: 0 }

/** Purses as they were read, and what the steps of one transaction take from them and put back. */
export class Purses {
  readonly #purses: ReadonlyMap<string, Purse>
  readonly #changes = new Map<string, PurseChange>()

  constructor(purses: readonly Purse[]) {
    this.#purses = new Map(purses.map((purse) => [purse.tenant, purse]))
  }

  /** As it is after the steps so far. */
  of(tenant: string): Purse {
    const { spent, reserved } = this.#changes.get(tenant) ?? NO_CHANGE
    const purse = this.#purses.get(tenant)
    return {
      tenant,
      maxNanoUsd: purse?.maxNanoUsd,
      spentNanoUsd: (purse?.spentNanoUsd ?? 0) + spent,
      reservedNanoUsd: (purse?.reservedNanoUsd ?? 0) + reserved,
    }
  }

  /** Whether so much more (less, when negative) may be spent or set aside. To give something back always may be. */
  hasRoom(tenant: string, nanoUsd: number): boolean {
    const { maxNanoUsd, spentNanoUsd, reservedNanoUsd } = this.of(tenant)
    return maxNanoUsd === undefined || nanoUsd <= 0 || spentNanoUsd + reservedNanoUsd + nanoUsd <= maxNanoUsd
  }

  change(tenant: string, { spent = 0, reserved = 0, waiting = 0 }: Partial<PurseChange>): void {
    const before = this.#changes.get(tenant) ?? NO_CHANGE
    this.#changes.set(tenant, {
      spent: before.spent + spent,
      reserved: before.reserved + reserved,
      waiting: before.waiting + waiting,
    })
  }

  get changes(): ReadonlyMap<string, PurseChange> {
    return this.#changes
  }
}
