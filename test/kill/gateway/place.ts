import { join } from 'node:path'
import type { StoreSettings } from '../../../src/gateway/store/open-store.ts'
import { startOwnPostgres } from '../../support/postgres.ts'

/** A database, as far as it can be killed. */
export interface MortalDatabase {
  /** Gives what starts it again. */
  kill(): Promise<() => Promise<void>>
}

/** Where the data of gateways are. */
export interface Place extends AsyncDisposable {
  readonly settings: StoreSettings
  /** Environment of a gateway that is to use it. */
  readonly env: Readonly<Record<string, string>>
  readonly gateways: number
  /** Undefined where it is a part of the gateway. */
  readonly database: MortalDatabase | undefined
}

export async function postgresPlace(): Promise<Place> {
  const server = await startOwnPostgres()
  const { url } = server
  return {
    settings: { kind: 'postgres', url },
    env: { NIGHTSHIFT_POSTGRES: url },
    gateways: 2,
    database: server,
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  }
}

export function sqlitePlace(folder: string): Place {
  const dataDir = join(folder, 'data')
  return {
    settings: { kind: 'sqlite', dataDir, serve: false },
    env: { NIGHTSHIFT_DATA_DIR: dataDir },
    gateways: 1,
    database: undefined,
    [Symbol.asyncDispose]: () => Promise.resolve(),
  }
}
