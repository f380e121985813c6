/**
 * Kills a job, or gateways, again and again, and shows that nothing is lost, paid twice, or left behind:
 *
 *     npm run test:kill -- [--kills 200] [--requests 2000] [--seed N]
 *     npm run test:kill -- --gateway [--kills 20] [--database-kills 5] [--requests 5000] [--seed N]
 *
 * `--requests`: of each of several jobs, at least; of the gateways, in all. Exit code 1 when anything is not as it must
 * be; what was left behind is then kept, and its folder named.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { z } from 'zod'
import { KillCampaign } from './campaign.ts'
import { runGatewayKills } from './gateway/run.ts'
import { renderCampaign } from './table.ts'

/** Jobs wait for their batches most of the time. */
const JOBS_PER_CORE = 1.5
const MOST_LANES = 4

const { values } = parseArgs({
  options: {
    gateway: { type: 'boolean', default: false },
    kills: { type: 'string' },
    'database-kills': { type: 'string' },
    requests: { type: 'string' },
    seed: { type: 'string' },
  },
})
const number = z.coerce.number().int().positive()
const seed = number.default(Math.ceil(Math.random() * 1e9)).parse(values.seed)
const folder = await mkdtemp(join(tmpdir(), 'nightshift-kill-'))
const begunMs = performance.now()
const say = (text: string): void => void process.stderr.write(`${text}\n`)

say(`seed ${seed}, in ${folder}`)
const isSound = values.gateway ? await killGateways() : await killJobs()
process.stdout.write(`seed ${seed}, ${((performance.now() - begunMs) / 1000).toFixed(0)} s\n`)
if (isSound) await rm(folder, { recursive: true })
else {
  process.stdout.write(`kept in ${folder}\n`)
  process.exitCode = 1
}

async function killJobs(): Promise<boolean> {
  const campaign = await new KillCampaign({
    folder,
    seed,
    kills: number.default(200).parse(values.kills),
    samples: number.default(2000).parse(values.requests),
    lanes: Math.min(MOST_LANES, Math.ceil(availableParallelism() * JOBS_PER_CORE)),
    say,
  }).run()
  process.stdout.write(`\n${renderCampaign(campaign)}`)
  return campaign.jobs.every(({ violations }) => violations.length === 0)
}

function killGateways(): Promise<boolean> {
  return runGatewayKills({
    folder,
    seed,
    kills: number.default(20).parse(values.kills),
    databaseKills: z.coerce.number().int().min(0).default(5).parse(values['database-kills']),
    requests: number.default(5000).parse(values.requests),
    say,
  })
}
