import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { BossJobs } from '../../../src/gateway/engine/boss-jobs.ts'
import { type Job, type JobHandler, type Jobs, jobKey } from '../../../src/gateway/engine/jobs.ts'
import { TimerJobs } from '../../../src/gateway/engine/timer-jobs.ts'
import { silentLog } from '../../../src/gateway/log.ts'
import { systemClock } from '../../../src/util/clock.ts'
import { Secret } from '../../../src/util/secret.ts'
import { startPostgres, type TestPostgres, withClient } from '../../support/postgres.ts'
import { VirtualClock } from '../../support/virtual-clock.ts'

const later = (ms: number) => systemClock.now() + ms

/** What any kind of jobs promises. */
function promises(newJobs: () => Jobs): void {
  /** Runs jobs until so many have been run. */
  async function run(count: number, plan: (jobs: Jobs) => void, handler: JobHandler = async () => undefined) {
    const jobs = newJobs()
    const ran: string[] = []
    const enough = Promise.withResolvers<void>()
    plan(jobs)
    await jobs.start(async (job) => {
      ran.push(jobKey(job))
      if (ran.length === count) enough.resolve()
      await handler(job)
    })
    await enough.promise
    await jobs.close()
    return ran
  }

  test('what is due is run, once for each', async () => {
    const batches = [1, 2, 3].map((batch): Job => ({ kind: 'submit', batch }))
    const ran = await run(4, (jobs) => {
      for (const job of [...batches, ...batches]) jobs.plan(job, 0)
      jobs.plan({ kind: 'collect', batch: 1 }, 0)
    })
    expect(ran.sort()).toEqual(['collect 1', 'submit 1', 'submit 2', 'submit 3'])
  })

  test('what is planned for later can be brought forward, and not put off', async () => {
    const ran = await run(1, (jobs) => {
      jobs.plan({ kind: 'poll', batch: 1 }, later(3_600_000))
      jobs.plan({ kind: 'poll', batch: 1 }, 0)
      jobs.plan({ kind: 'poll', batch: 1 }, later(7_200_000))
    })
    expect(ran).toEqual(['poll 1'])
  })

  test('a handler that throws ends nothing', async () => {
    const ran = await run(
      2,
      (jobs) => {
        jobs.plan({ kind: 'sweep' }, 0)
        jobs.plan({ kind: 'cut' }, 0)
      },
      () => Promise.reject(new Error('no')),
    )
    expect(ran.sort()).toEqual(['cut', 'sweep'])
  })

  test('a job may be planned while it runs, and runs again', async () => {
    const jobs = newJobs()
    let runs = 0
    const enough = Promise.withResolvers<void>()
    await jobs.start(async (job) => {
      runs++
      if (runs === 3) enough.resolve()
      else jobs.plan(job, 0)
    })
    jobs.plan({ kind: 'cut' }, 0)
    await enough.promise
    await jobs.close()
    expect(runs).toBe(3)
  })

  test('closing waits for what runs, and begins no more', async () => {
    const jobs = newJobs()
    const begun = Promise.withResolvers<void>()
    const goOn = Promise.withResolvers<void>()
    const ran: string[] = []
    await jobs.start(async (job) => {
      begun.resolve()
      await goOn.promise
      ran.push(jobKey(job))
    })
    jobs.plan({ kind: 'cut' }, 0)
    await begun.promise
    const closed = jobs.close()
    jobs.plan({ kind: 'sweep' }, 0)
    goOn.resolve()
    await closed
    expect(ran).toEqual(['cut'])
  })
}

describe('jobs by timers', () => {
  promises(() => new TimerJobs({ clock: systemClock, now: () => systemClock.now(), log: silentLog }))

  test('run when they are due, and as many at once as may', async () => {
    const clock = new VirtualClock(0)
    const jobs = new TimerJobs({ clock, now: () => clock.now(), log: silentLog })
    const ran: (readonly [string, number])[] = []
    let [running, most] = [0, 0]
    await jobs.start(async (job) => {
      running++
      most = Math.max(most, running)
      ran.push([jobKey(job), clock.now()])
      await clock.sleep(10_000)
      running--
    })
    for (let batch = 1; batch <= 6; batch++) jobs.plan({ kind: 'submit', batch }, 1_000)
    jobs.plan({ kind: 'cut' }, 500)
    await clock.sleep(60_000)
    await jobs.close()
    expect(ran[0]).toEqual(['cut', 500])
    expect(ran.slice(1, 5).map(([, at]) => at)).toEqual([1_000, 1_000, 1_000, 1_000])
    expect(ran.slice(5).map(([, at]) => at)).toEqual([11_000, 11_000])
    expect(most).toBe(5)
  })
})

describe('jobs by pg-boss', () => {
  let server: TestPostgres
  let count = 0
  beforeAll(async () => {
    server = await startPostgres()
  }, 120_000)
  afterAll(async () => {
    for (let at = 1; at <= count; at++)
      await withClient(server.url, (client) => client.query(`drop schema if exists ${schemaOf(at)} cascade`))
  })
  const schemaOf = (at: number) => `test_jobs_${process.pid}_${at}`

  promises(
    () =>
      new BossJobs({
        url: new Secret(server.url),
        schema: schemaOf(++count),
        now: () => systemClock.now(),
        log: silentLog,
      }),
  )
})
