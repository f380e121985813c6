import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { killGateways } from './campaign.ts'
import { renderKilledGateways } from './table.ts'

export interface GatewayRun {
  readonly folder: string
  readonly seed: number
  readonly requests: number
  readonly kills: number
  readonly databaseKills: number
  readonly say: (text: string) => void
}

/** So much time passes between two strikes, on average. */
const BETWEEN_STRIKES_MS = 8000
/** Of the requests and kills, those for a gateway on SQLite, besides. */
const SQLITE_SHARE = 0.2
const SQLITE_KILLS_SHARE = 0.3

/** Gateways on PostgreSQL, then one on SQLite. Prints what came of it; gives whether all is as it must be. */
export async function runGatewayKills(run: GatewayRun): Promise<boolean> {
  const { requests, kills, databaseKills } = run
  const sqliteKills = Math.ceil(kills * SQLITE_KILLS_SHARE)
  const profiles = [
    { store: 'postgres' as const, requests, kills, databaseKills, strikes: kills + databaseKills },
    {
      store: 'sqlite' as const,
      requests: Math.ceil(requests * SQLITE_SHARE),
      kills: sqliteKills,
      databaseKills: 0,
      strikes: sqliteKills,
    },
  ]
  let isSound = true
  for (const { strikes, ...profile } of profiles) {
    const folder = join(run.folder, profile.store)
    await mkdir(folder)
    const gapMs = (strikes * BETWEEN_STRIKES_MS) / profile.requests
    const killed = await killGateways({ ...run, ...profile, folder, gapMs })
    process.stdout.write(`\n${renderKilledGateways(killed)}\n`)
    isSound &&= killed.violations.length === 0
  }
  return isSound
}
