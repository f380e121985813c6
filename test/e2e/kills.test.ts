import { expect, test } from 'vitest'
import { killJob } from '../kill/kill-job.ts'
import type { Order } from '../kill/orders.ts'
import type { Moment } from '../support/emulator-messages.ts'
import { temporaryFolder } from '../support/folder.ts'

/** Some of the kills of `npm run test:kill`, on a smaller job. */
const call = (request: string, when: Moment['when'], lateMs = 0): Order => ({
  kind: 'call',
  at: { request, when, nth: 1, lateMs },
})

const atDisk = (phase: 'before' | 'within' | 'after', point: string, nth = 1): Order => ({
  kind: 'disk',
  point,
  phase,
  nth,
})

const BATCHES: readonly Order[] = [
  atDisk('within', 'write ledger.jsonl'),
  call('POST /v1/files$', 'in-upload'),
  call('POST /v1/files$', 'after'),
  call('POST /v1/batches$', 'late', 50),
  call('GET /v1/files/:id/content$', 'in-reply'),
  atDisk('before', 'rename batchN_result.jsonl (temporary)'),
  atDisk('within', 'write output.jsonl', 2),
]
const DIRECT: readonly Order[] = [
  atDisk('before', 'rename state.json (temporary)'),
  call('POST /v1/chat/completions$', 'before'),
  call('POST /v1/chat/completions$', 'after'),
  atDisk('within', 'write repliesN.jsonl'),
  { kind: 'instant', afterMs: 900 },
  atDisk('after', 'unlink batchN.jsonl'),
]

test.concurrent.each([
  { samples: 250, direct: false, orders: BATCHES },
  { samples: 250, direct: true, orders: DIRECT },
])(
  'a job killed around commits and remote calls loses nothing, pays nothing twice, leaves nothing (direct: $direct)',
  async ({ samples, direct, orders }) => {
    await using folder = await temporaryFolder()
    const job = await killJob({ folder: folder.path, samples, direct, orders })
    expect(job.violations).toEqual([])
    expect(job.kills).toEqual(orders)
    expect(job.figures.keysInOutput).toBeGreaterThan(samples)
    expect(job.figures.linesAnswered).toBeGreaterThan(direct ? -1 : 180)
  },
  120_000,
)
