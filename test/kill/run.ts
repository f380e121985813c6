/**
 * Kills a job again and again, and shows that nothing is lost, paid twice, or left behind:
 *
 *     npm run test:kill -- [--kills 200] [--requests 2000] [--seed N]
 *
 * `--requests`: of each of several jobs, at least. Exit code 1 when anything is not as it must be; what the jobs
 * left behind is then kept, and its folder named.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { z } from 'zod'
import { KillCampaign } from './campaign.ts'
import { renderCampaign } from './table.ts'

/** Jobs wait for their batches most of the time. */
const JOBS_PER_CORE = 1.5
const MOST_LANES = 4

const { values } = parseArgs({
  options: { kills: { type: 'string' }, requests: { type: 'string' }, seed: { type: 'string' } },
})
const number = z.coerce.number().int().positive()
const seed = number.default(Math.ceil(Math.random() * 1e9)).parse(values.seed)
const folder = await mkdtemp(join(tmpdir(), 'nightshift-kill-'))
const begunMs = performance.now()
const say = (text: string): void => void process.stderr.write(`${text}\n`)

say(`seed ${seed}, in ${folder}`)
const campaign = await new KillCampaign({
  folder,
  seed,
  kills: number.default(200).parse(values.kills),
  samples: number.default(2000).parse(values.requests),
  lanes: Math.min(MOST_LANES, Math.ceil(availableParallelism() * JOBS_PER_CORE)),
  say,
}).run()

process.stdout.write(`\n${renderCampaign(campaign)}`)
process.stdout.write(`seed ${seed}, ${((performance.now() - begunMs) / 1000).toFixed(0)} s\n`)
if (campaign.jobs.every(({ violations }) => violations.length === 0)) await rm(folder, { recursive: true })
else {
  process.stdout.write(`kept in ${folder}\n`)
  process.exitCode = 1
}
