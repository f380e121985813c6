import { describe, expect, test } from 'vitest'
import type { Scenario } from '../../../src/emulator/index.ts'
import { many, World, type WorldOptions } from './world.ts'

type Fault = Scenario['faults'][number]

interface Trial extends WorldOptions {
  readonly faults: readonly Fault[]
  readonly count?: number
}

/** Runs some requests against faults until they have ended and nothing is left at the server. */
async function live({ faults, count = 4, ...options }: Trial): Promise<World> {
  const scenario: Scenario = { seed: 1, faults: [...faults] }
  const world = await World.open({ ...options, emulator: { ...options.emulator, scenario } })
  const engine = world.engine()
  await engine.start()
  await world.ask(engine, ...many(count))
  await world.finish()
  await world.settle()
  return world
}

const GOOD = ['re: q0', 're: q1', 're: q2', 're: q3']
const once = { nth: 1 }

/** Each was asked of the model once, no two batches had it at one time, and the server was left clean. */
async function expectOnce(world: World): Promise<void> {
  expect([...world.asks.values()]).toEqual(world.ids.map(() => 1))
  expect(world.made.flatMap(({ doubled }) => doubled)).toEqual([])
  expect(await world.remoteFiles()).toEqual([])
  expect(await world.liveBatches()).toBe(0)
}

describe('all is answered, and paid once, though', () => {
  const acts = [true, false] as const
  const trials: readonly (readonly [string, readonly Fault[]])[] = [
    ...acts.flatMap((does): (readonly [string, readonly Fault[]])[] => [
      [`the answer to a create was lost (acted: ${does})`, [{ fault: 'http-lose', route: 'POST /v1/batches', when: once, acts: does }]],
      [`a create hung (acted: ${does})`, [{ fault: 'http-hang', route: 'POST /v1/batches', when: once, acts: does }]],
      [`a create was answered with a 500 (acted: ${does})`, [{ fault: 'http-answer', status: 500, route: 'POST /v1/batches', when: once, acts: does }]],
      [`the answer to an upload was lost (acted: ${does})`, [{ fault: 'http-lose', route: 'POST /v1/files', when: once, acts: does }]],
      [`an upload was answered with a 503 (acted: ${does})`, [{ fault: 'http-answer', status: 503, route: 'POST /v1/files', when: once, acts: does }]],
      [`three uploads were lost (acted: ${does})`, [{ fault: 'http-lose', route: 'POST /v1/files', when: { first: 3 }, acts: does }]],
    ]),
    ['a create was cut', [{ fault: 'http-cut', bytes: 10, route: 'POST /v1/batches', when: once }]],
    ['a create was no JSON', [{ fault: 'http-answer', status: 200, text: '<html>', route: 'POST /v1/batches', when: once, acts: true }]],
    ['a create came late, after its input was gone', [{ fault: 'http-lose', route: 'POST /v1/batches', when: once, acts: { afterMs: 20_000 } }]],
    ['an upload came late', [{ fault: 'http-lose', route: 'POST /v1/files', when: once, acts: { afterMs: 20_000 } }]],
    ['creates are limited', [{ fault: 'http-answer', status: 429, route: 'POST /v1/batches', when: { first: 3 }, headers: { 'retry-after': '7' } }]],
    ['creates are limited for long', [{ fault: 'http-answer', status: 429, route: 'POST /v1/batches', when: { untilMs: 600_000 } }]],
    ['uploads are limited', [{ fault: 'http-answer', status: 429, route: 'POST /v1/files', when: { first: 3 } }]],
    ['the file is not visible at once', [{ fault: 'listing-lag', what: 'file', from: ['create', 'get'], calls: 3 }]],
    ['the file is not visible for long', [{ fault: 'listing-lag', what: 'file', from: ['create'], ms: 90_000, when: once }]],
    ['the key was refused for a while', [{ fault: 'http-answer', status: 401, error: { code: 'invalid_api_key' }, when: { untilMs: 300_000 } }]],
    ['the server was away for an hour', [{ fault: 'http-lose', when: { afterMs: 8_000, untilMs: 3_600_000 } }]],
    ['polls fail', [{ fault: 'http-answer', status: 500, route: ['GET /v1/batches/{id}', 'GET /v1/batches'], when: { share: 0.5 } }]],
    ['polls say nothing is there', [{ fault: 'listing-lag', what: 'batch', from: ['get', 'list', 'cancel'], ms: 20_000 }]],
    ['downloads are cut', [{ fault: 'http-cut', bytes: 300, route: 'GET /v1/files/{id}/content', when: { first: 2 } }]],
    ['downloads are cut and look whole', [{ fault: 'http-cut', bytes: 300, ends: 'clean', contentLength: false, route: 'GET /v1/files/{id}/content', when: { first: 2 } }]],
    ['downloads fail', [{ fault: 'http-answer', status: 502, route: 'GET /v1/files/{id}/content', when: { first: 8 } }]],
    ['files are slow', [{ fault: 'http-delay', ms: 30_000, route: 'GET /v1/files/{id}/content' }]],
    ['file ids come late', [{ fault: 'batch-file-id', file: 'both', is: 'null', looks: 2 }]],
    ['file ids are empty for a while', [{ fault: 'batch-file-id', file: 'both', is: 'empty', looks: 2 }]],
    ['counts are missing', [{ fault: 'batch-counts', are: 'missing' }]],
    ['counts are wrong', [{ fault: 'batch-counts', are: { completed: 99, failed: 7 } }]],
    ['usage is missing', [{ fault: 'batch-usage', is: 'missing' }]],
    ['a status is unknown', [{ fault: 'batch-status', says: 'dreaming', looks: 3 }]],
    ['a batch is stuck for an hour', [{ fault: 'batch-stuck', in: 'finalizing', ms: 3_600_000 }]],
    ['lines are duplicated', [{ fault: 'line-form', is: 'duplicated' }]],
    ['lines are blank or of strangers', [{ fault: 'line-form', is: 'stranger' }, { fault: 'line-form', is: 'blank' }]],
    ['lines end with CR', [{ fault: 'line-form', is: 'crlf' }]],
    ['lines are in both files', [{ fault: 'line-form', is: 'both-files' }]],
    ['lines are contradicted', [{ fault: 'line-form', is: 'contradicted' }]],
    ['a status is a text', [{ fault: 'line-form', is: 'status-text' }]],
    ['others use the account, too', [{ fault: 'listing-crowd', what: 'batch', before: 150, after: 150 }, { fault: 'listing-pages', what: 'batch', size: 7 }, { fault: 'http-lose', route: 'POST /v1/batches', when: once, acts: true }]],
    ['files cannot be deleted', [{ fault: 'http-answer', status: 500, route: 'DELETE /v1/files/{id}', when: { untilMs: 900_000 } }]],
  ]
  test.each(trials)('%s', async (_, faults) => {
    await using world = await live({ faults })
    expect(await world.results()).toEqual(GOOD)
    await expectOnce(world)
  })
})
