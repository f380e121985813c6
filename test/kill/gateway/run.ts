import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { randomFrom } from '../../support/random.ts'
import { killGateways } from './campaign.ts'
import { planStrikes } from './strikes.ts'
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
  const { requests, kills, databaseKills, say } = run
  const random = randomFrom(run.seed)
  const few = { requests: Math.ceil(requests * SQLITE_SHARE), kills: Math.ceil(kills * SQLITE_KILLS_SHARE) }
  const profiles = [
    { store: 'postgres', replicas: 2, requests, kills, databaseKills },
    { store: 'sqlite', replicas: 1, ...few, databaseKills: 0 },
  ] as const
  let isSound = true
  for (const { store, ...plan } of profiles) {
    const folder = join(run.folder, store)
    await mkdir(folder)
    const strikes = planStrikes({ ...plan, calls: plan.requests }, random)
    const gapMs = (strikes.length * BETWEEN_STRIKES_MS) / plan.requests
    const killed = await killGateways({
      store,
      requests: plan.requests,
      strikes,
      folder,
      gapMs,
      hasCalls: true,
      say,
    })
    process.stdout.write(`\n${renderKilledGateways(killed)}\n`)
    isSound &&= killed.violations.length === 0
  }
  return isSound
}
