import { readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { LockError } from '../../src/errors.ts'
import { deliveryPath } from '../../src/progress/wandb/delivery-state.ts'
import { between, randomFrom } from '../support/random.ts'
import { historyLine, PROJECT, QUICK, TASK, wandbRig } from '../support/wandb-rig.ts'
import { ENTITY, KEY, type WandbFault, WandbServer } from '../support/wandb-server.ts'

describe('what arrives', () => {
  test('is every line as it is in the file, with its summary, config and end', async () => {
    await using server = await WandbServer.start()
    await using rig = await wandbRig(server)
    await rig.write(3, { 'Event/kind': 'run-started', 'Cost/spent_usd': 0.5 })
    expect(await rig.send(0)).toMatchObject({ why: 'delivered' })

    const { run, violations } = server
    expect(run.history).toEqual(await rig.lines())
    expect(violations).toEqual([])
    expect(run).toMatchObject({
      entity: ENTITY,
      project: PROJECT,
      displayName: TASK,
      group: 'EmotionTask',
      jobType: 'nightshift',
      tags: ['test'],
      state: 'finished',
      exitCode: 0,
      summary: { _step: 2, _runtime: 2, 'Requests/total': 2, 'Cost/spent_usd': 0.5, _wandb: { runtime: 2 } },
      config: { maxRetries: { value: 2 }, deadline: { value: null }, _wandb: { value: { t: {} } } },
    })
    expect(run.summary).not.toHaveProperty('Event/kind')
  })

  test.each([
    [0, 'finished'],
    [1, 'failed'],
    [undefined, 'running'],
  ] as const)('says of exit code %s that the run is %s', async (exitCode, state) => {
    await using server = await WandbServer.start()
    await using rig = await wandbRig(server)
    await rig.write(2)
    await rig.send(exitCode)
    expect(server.run).toMatchObject({ state, exitCode })
    // Nobody can know what became of a run that was killed: W&B shows it as crashed when it hears no more of it.
    const ends = server.calls.filter(({ body }) => body.includes('complete'))
    expect(ends).toHaveLength(exitCode === undefined ? 0 : 1)
  })

  test('goes on in the same run when the task is run again, and nothing is sent twice', async () => {
    await using server = await WandbServer.start()
    await using rig = await wandbRig(server)
    await rig.write(4)
    await rig.send(3)
    await rig.write(3)
    await rig.send(0)
    expect(server.run.history).toEqual(await rig.lines())
    expect(server.run.state).toBe('finished')
    const sent = server.calls.flatMap(({ kind, body }) => (kind === 'stream' ? [body] : [])).join('')
    expect(sent.match(/\\"Requests\/total\\":0,?/g)).toHaveLength(1)
    // A third run that adds nothing makes no call at all.
    const before = server.calls.length
    expect(await rig.send(0)).toMatchObject({ why: 'delivered' })
    expect(server.calls).toHaveLength(before)
  })

  test('comes in posts of a bounded size, however much is left', async () => {
    await using server = await WandbServer.start()
    await using rig = await wandbRig(server)
    await rig.write(1203)
    await rig.write(1, { 'Event/message': 'x'.repeat(1_200_000) })
    await rig.write(2)
    await rig.send(0)
    expect(server.run.history).toEqual(await rig.lines())
    const posts = server.calls.filter(({ body }) => body.includes('wandb-history'))
    expect(posts.length).toBeGreaterThanOrEqual(4)
    expect(Math.max(...posts.map(({ body }) => body.length))).toBeLessThan(1_400_000)
  })

  test('is not what was never finished, nor what may not be sent yet', async () => {
    await using server = await WandbServer.start()
    await using rig = await wandbRig(server)
    const two = `${historyLine(0)}\n${historyLine(1)}\n`
    await rig.replace(`${two}{"_step":2,"_time`)
    await rig.send(undefined)
    expect(server.run.history).toEqual([historyLine(0), historyLine(1)])

    await rig.replace(`${two}${historyLine(2)}\n${historyLine(3)}\n`)
    const { sender } = await rig.open()
    sender.durable(Buffer.byteLength(`${two}${historyLine(2)}\n`))
    sender.end(0)
    await sender.run()
    expect(server.run.history).toHaveLength(3)
  })

  test('has heartbeats while there is nothing to send', async () => {
    await using server = await WandbServer.start()
    await using rig = await wandbRig(server)
    await rig.write(1)
    const { sender, history } = await rig.open({ timing: { ...QUICK, heartbeatMs: 5 } })
    sender.durable(await history.sync())
    const running = sender.run()
    await server.until(({ runs }) => [...runs.values()].some(({ heartbeats }) => heartbeats >= 3))
    sender.end(0)
    expect(await running).toBe('delivered')
    expect(server.run.history).toHaveLength(1)
  })
})

/** What one may meet; `applied` makes the difference between a lost post and a lost answer. */
const faultOf = (random: () => number): WandbFault => {
  const applied = random() < 0.5
  const status = [408, 429, 500, 502, 503][between(random, 0, 4)] ?? 500
  const kinds: readonly WandbFault[] = [
    { kind: 'hang', applied },
    { kind: 'cut', applied },
    { kind: 'truncated', applied },
    { kind: 'status', status, applied },
    { kind: 'status', status: 409, applied },
    { kind: 'status', status: 429, headers: { 'retry-after': '0' } },
    { kind: 'status', status: 200, body: '<html>captive portal</html>' },
  ]
  return kinds[between(random, 0, kinds.length - 1)] ?? { kind: 'cut', applied }
}

describe('trouble', () => {
  test('of every passing kind, before and after the server acted, loses and doubles nothing', async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer(), async (seed) => {
        const random = randomFrom(seed)
        const planned = new Map(
          Array.from({ length: 12 }, () => [between(random, 0, 20), faultOf(random)] as const),
        )
        await using server = await WandbServer.start({ fault: (_, index) => planned.get(index) })
        await using rig = await wandbRig(server)
        const timing = { ...QUICK, timeoutMs: 30 }
        for (let run = 0; run < 4; run++) {
          await rig.write(between(random, 1, 700))
          const { sender, history } = await rig.open({ timing })
          sender.durable(await history.sync())
          // Killed at any time: what it knew is what is on the disk.
          if (random() < 0.5) sender.stopWithin(between(random, 0, 20))
          sender.end(3)
          await sender.run()
        }
        expect(await rig.send(0, { timing })).toMatchObject({ why: 'delivered' })
        expect(server.violations).toEqual([])
        expect(server.run.history).toEqual(await rig.lines())
        expect(server.run.state).toBe('finished')
      }),
      { numRuns: 8 },
    )
  })

  test('that lasts is told once, and what is left is delivered when it is over', async () => {
    await using server = await WandbServer.start({ fault: () => ({ kind: 'status', status: 503 }) })
    await using rig = await wandbRig(server)
    await rig.write(5)
    const down = await rig.send(0, { maxFailures: 6 })
    expect(down).toMatchObject({ why: 'unreachable' })
    expect(down.codes()).toEqual(['wandb_server_error'])
    server.fault = undefined
    await rig.write(5)
    expect(await rig.send(0)).toMatchObject({ why: 'delivered' })
    expect(server.run.history).toEqual(await rig.lines())
  })

  test('of a server that is not there is told as such', async () => {
    const server = await WandbServer.start()
    await using rig = await wandbRig(server)
    await server[Symbol.asyncDispose]()
    await rig.write(1)
    const { why, codes, error } = await rig.send(0, { maxFailures: 3 })
    expect(why).toBe('unreachable')
    expect(codes()).toEqual(['wandb_unreachable'])
    expect(`${error}`).toContain(`W&B at ${server.url} cannot be reached (connect ECONNREFUSED`)
  })

  test('with the key is told at once, names no key, and is not tried again and again', async () => {
    await using server = await WandbServer.start()
    await using rig = await wandbRig(server)
    await rig.write(5)
    const key = 'f'.repeat(40)
    const { why, codes, news } = await rig.send(0, { key })
    expect(why).toBe('refused')
    expect(codes()).toEqual(['wandb_unauthorized'])
    expect(JSON.stringify(news)).not.toContain(key)
    expect(JSON.stringify(news)).toContain('check WANDB_API_KEY or the netrc entry')
    expect(server.calls).toHaveLength(1)
    expect(await rig.send(0)).toMatchObject({ why: 'delivered' })
    expect(server.run.history).toEqual(await rig.lines())
  })

  test('with the lock ends the sender before it sends anything more', async () => {
    await using server = await WandbServer.start()
    await using rig = await wandbRig(server)
    await rig.write(1)
    const guard = () => {
      throw new LockError('lock_lost', 'taken over')
    }
    await expect(rig.send(0, { guard })).rejects.toThrow('taken over')
    expect(server.calls).toEqual([])
  })

  test.each([
    ['429 with Retry-After', 429, { 'retry-after': '0.05' }],
    ['429 with a used up quota', 429, { 'ratelimit-remaining': '0', 'ratelimit-reset': '0.05' }],
    ['503 with a date', 503, { 'retry-after': new Date(0).toUTCString() }],
  ])('%s is waited for', async (_, status, headers) => {
    let faults = 2
    await using server = await WandbServer.start({
      fault: ({ kind }) =>
        kind === 'stream' && faults-- > 0 ? { kind: 'status', status, headers } : undefined,
    })
    await using rig = await wandbRig(server)
    await rig.write(3)
    expect(await rig.send(0)).toMatchObject({ why: 'delivered' })
    expect(server.run.history).toHaveLength(3)
  })
})

describe('a post that is too large for the server', () => {
  const limitedTo = (bytes: number) =>
    WandbServer.start({
      fault: ({ body }) => (body.length > bytes ? { kind: 'status', status: 413 } : undefined),
    })

  test('is halved until it is taken', async () => {
    await using server = await limitedTo(5000)
    await using rig = await wandbRig(server)
    await rig.write(300)
    const { why, codes } = await rig.send(0)
    expect({ why, codes: codes() }).toEqual({ why: 'delivered', codes: [] })
    expect(server.run.history).toEqual(await rig.lines())
    // What was learned is kept: no post after the first that fitted was refused.
    const taken = server.calls.map(({ fault }) => fault === undefined)
    expect(taken.slice(taken.lastIndexOf(false)).length).toBeGreaterThan(5)
  })

  test('by one line alone does not keep back the lines after it, and says so', async () => {
    await using server = await limitedTo(20_000)
    await using rig = await wandbRig(server)
    await rig.write(3)
    await rig.write(1, { 'Event/message': 'x'.repeat(30_000) })
    await rig.write(3)
    const { why, codes, news } = await rig.send(0)
    expect({ why, codes: codes() }).toEqual({ why: 'delivered', codes: ['wandb_too_large'] })
    expect(JSON.stringify(news)).toContain('line 4 of the history')
    const lines = await rig.lines()
    expect(server.run.history).toEqual(lines.with(3, '{"_step":3,"_timestamp":1795179603,"_runtime":3}'))
    expect(server.run).toMatchObject({ state: 'finished', summary: { _step: 6, 'Requests/total': 6 } })
  })

  test('whatever is in it, is tried again later', async () => {
    await using server = await WandbServer.start({
      fault: ({ body }) => (body.includes('wandb-history') ? { kind: 'status', status: 413 } : undefined),
    })
    await using rig = await wandbRig(server)
    await rig.write(4)
    expect(await rig.send(0)).toMatchObject({ why: 'refused' })
    expect(server.calls.length).toBeLessThan(12)
    server.fault = undefined
    expect(await rig.send(0)).toMatchObject({ why: 'delivered' })
    expect(server.run.history).toEqual(await rig.lines())
  })
})

describe('a line that the server refuses', () => {
  const refusing = (text: string) =>
    WandbServer.start({
      fault: ({ body }) => (body.includes(text) ? { kind: 'status', status: 400 } : undefined),
    })

  test('is found, sent with its step and time alone, and told; all others are sent as they are', async () => {
    await using server = await refusing('damaged')
    await using rig = await wandbRig(server)
    await rig.write(100)
    await rig.write(1, { 'TaskMeta/text': 'damaged' })
    await rig.write(500)
    const { why, codes, news } = await rig.send(0)
    expect({ why, codes: codes() }).toEqual({ why: 'delivered', codes: ['wandb_line_refused'] })
    expect(JSON.stringify(news)).toContain('line 101 of the history')
    const placeholder = '{"_step":100,"_timestamp":1795179700,"_runtime":100}'
    expect(server.run.history).toEqual((await rig.lines()).with(100, placeholder))
    expect(server.run.summary).toMatchObject({ _step: 600, 'Requests/total': 600 })
    // Once it is passed, posts are as large as before.
    const posts = server.calls.filter(({ kind }) => kind === 'stream')
    expect(posts.length).toBeLessThan(25)
  })

  test('with everything else is not to blame: it is sent as it is once others are taken', async () => {
    // Until a line was refused also with its step and time alone, for the second time.
    let left = 2
    await using server = await WandbServer.start({
      fault: ({ body }) => {
        if (left === 0 || !body.includes('wandb-history')) return undefined
        if (!body.includes('Requests/total')) left--
        return { kind: 'status', status: 400 }
      },
    })
    await using rig = await wandbRig(server)
    await rig.write(3)
    const { sender, history, codes } = await rig.open({ timing: { ...QUICK, refusedMs: 5 } })
    sender.durable(await history.sync())
    const running = sender.run()
    await server.until(({ runs }) => [...runs.values()].some((run) => run.history.length === 3))
    sender.end(0)
    expect(await running).toBe('delivered')
    expect(server.run.history).toEqual(await rig.lines())
    expect(codes()).toEqual(['wandb_refused'])
  })
})

describe('a run that is not as it was left', () => {
  test('deleted while it goes on: all lines go to a new one', async () => {
    await using server = await WandbServer.start()
    await using rig = await wandbRig(server)
    await rig.write(3)
    await rig.send(undefined)
    const { id } = server.run
    server.delete(id)
    await rig.write(2)
    const { codes } = await rig.send(0)
    expect(codes()).toEqual(['wandb_new_run'])
    expect(server.run.id).not.toBe(id)
    expect(server.run.history).toEqual(await rig.lines())
  })

  test('deleted under the sender: so they do', async () => {
    await using server = await WandbServer.start()
    await using rig = await wandbRig(server)
    await rig.write(3)
    const { sender, history, codes } = await rig.open()
    sender.durable(await history.sync())
    const running = sender.run()
    await server.until(({ runs }) => [...runs.values()].some((run) => run.history.length === 3))
    server.delete(server.run.id)
    await rig.write(2)
    sender.durable(await history.sync())
    sender.end(0)
    expect(await running).toBe('delivered')
    expect(codes()).toEqual(['wandb_new_run'])
    expect(server.run.history).toEqual(await rig.lines())
  })

  test('deleted where ids can be used again: it is made again with all lines', async () => {
    await using server = await WandbServer.start()
    server.forgetsDeleted = true
    await using rig = await wandbRig(server)
    await rig.write(3)
    await rig.send(undefined)
    const { id } = server.run
    server.delete(id)
    await rig.write(2)
    await rig.send(0)
    expect(server.run.id).toBe(id)
    expect(server.run.history).toEqual(await rig.lines())
  })

  test('with fewer lines than were taken: they are sent again', async () => {
    await using server = await WandbServer.start()
    await using rig = await wandbRig(server)
    await rig.write(9)
    await rig.send(undefined)
    server.run.history.length = 4
    await rig.write(2)
    await rig.send(0)
    expect(server.run.history).toEqual(await rig.lines())
    expect(server.violations).toEqual([])
  })

  test('with lines of somebody else after ours: it is left alone', async () => {
    await using server = await WandbServer.start()
    await using rig = await wandbRig(server)
    await rig.write(3)
    await rig.send(undefined)
    const { run } = server
    const foreign = [...run.history, historyLine(3, { who: 1 }), historyLine(4, { who: 1 })]
    run.history.push(...foreign.slice(3))
    await rig.write(1)
    const { codes } = await rig.send(0)
    expect(codes()).toEqual(['wandb_new_run'])
    expect(run.history).toEqual(foreign)
    expect([...server.runs.values()].at(-1)?.history).toEqual(await rig.lines())
    expect(server.violations).toEqual([])
  })

  test('whose history file was shortened or begun anew: it is left alone', async () => {
    await using server = await WandbServer.start()
    await using rig = await wandbRig(server)
    for (const begin of [() => truncate(rig.path, 0), () => rig.replace(`${historyLine(0, { new: 1 })}\n`)]) {
      await rig.write(6)
      await rig.send(undefined)
      const last = [...server.runs.values()].at(-1)
      const before = [...(last?.history ?? [])]
      await begin()
      await rig.write(before.length + 5)
      const { codes } = await rig.send(undefined)
      expect(codes()).toEqual(['wandb_new_run'])
      expect(last?.history).toEqual(before)
      expect([...server.runs.values()].at(-1)?.history).toEqual(await rig.lines())
    }
    expect(server.violations).toEqual([])
  })

  test('whose _wandb.json is damaged or gone: a new one gets the whole history', async () => {
    await using server = await WandbServer.start()
    await using rig = await wandbRig(server)
    await rig.write(3)
    await rig.send(undefined)
    const { run } = server
    await writeFile(deliveryPath(rig.dir, TASK), '{"version":1,')
    await rig.write(1)
    const { codes } = await rig.send(0)
    expect(codes()).toEqual(['wandb_new_run'])
    expect(run.history).toHaveLength(3)
    expect([...server.runs.values()].at(-1)?.history).toEqual(await rig.lines())
    expect(server.runs.size).toBe(2)
    const names = await readdir(rig.dir)
    expect(names.filter((name) => name.includes('_wandb.json.damaged-'))).toHaveLength(1)
  })
})

describe('a run whose id was given', () => {
  test('is made under it, and continued', async () => {
    await using server = await WandbServer.start()
    await using rig = await wandbRig(server)
    const wishes = { runId: 'mine', entity: 'team' }
    await rig.write(2)
    await rig.send(3, { wishes })
    await rig.write(2)
    await rig.send(0, { wishes })
    expect(server.run).toMatchObject({ id: 'mine', entity: 'team', state: 'finished' })
    expect(server.run.history).toEqual(await rig.lines())
    expect(server.calls.map(({ kind }) => kind)).not.toContain('viewer')
  })

  test('and has lines of others keeps them; ours follow, with rising steps', async () => {
    await using server = await WandbServer.start()
    const others = [historyLine(0), historyLine(40)]
    server.add('mine', others)
    await using rig = await wandbRig(server)
    const wishes = { runId: 'mine' }
    for (let run = 0; run < 3; run++) {
      await rig.write(2)
      await rig.send(0, { wishes })
    }
    const { history, summary } = server.run
    expect(history.slice(0, 2)).toEqual(others)
    expect(history).toHaveLength(8)
    const steps = history.slice(2).map((line) => JSON.parse(line)._step)
    expect(steps).toEqual([41, 42, 43, 44, 45, 46])
    expect(history[2]).toBe((await rig.lines())[0]?.replace('"_step":0', '"_step":41'))
    expect(summary._step).toBe(46)
    expect(server.violations).toEqual([])
  })
})

describe('a given run whose _wandb.json is lost', () => {
  const wishes = { runId: 'mine' }
  const others = [historyLine(0, { who: 1 }), historyLine(40, { who: 1 })]

  test.each([
    ['begun by us', []],
    ['that others began', others],
  ])('and that was %s goes on after our last line, as if it had not been', async (_, before) => {
    await using server = await WandbServer.start()
    if (before.length > 0) server.add('mine', before)
    await using rig = await wandbRig(server)
    await rig.write(1, { 'TaskMeta/model': 'gpt-5-nano' })
    await rig.write(4)
    await rig.send(3, { wishes })
    const sent = [...server.run.history]
    const state = await rig.state()
    await rm(deliveryPath(rig.dir, TASK))
    await rig.write(2)
    await rig.send(0, { wishes })
    expect(server.run.history).toHaveLength(before.length + 7)
    expect(server.run.history.slice(0, sent.length)).toEqual(sent)
    const { baseLine, baseStep, firstLine } = state
    expect(await rig.state()).toMatchObject({ baseLine, baseStep, firstLine, ackedLines: 7 })
    expect(server.run.summary).toMatchObject({ 'TaskMeta/model': 'gpt-5-nano', 'Requests/total': 6 })
    expect(server.violations).toEqual([])
  })

  test('as it is when another project was sent to in between: so it does', async () => {
    await using server = await WandbServer.start()
    await using rig = await wandbRig(server)
    await rig.write(3)
    await rig.send(0, { wishes })
    await rig.send(0, { wishes: { ...wishes, project: 'other' } })
    await rig.write(2)
    await rig.send(0, { wishes })
    const histories = [...server.runs.values()].map(({ project, history }) => [project, history.length])
    expect(histories).toEqual([
      [PROJECT, 5],
      ['other', 3],
    ])
    expect(server.violations).toEqual([])
  })

  test.each([
    ['another text', historyLine(1, { who: 1 })],
    ['another time', historyLine(1).replace('1795179601', '1795179601.5')],
    ['a place that does not fit', historyLine(2)],
  ])('but whose last line has %s gets all of ours after it', async (_, last) => {
    await using server = await WandbServer.start()
    server.add('mine', [historyLine(0), last])
    await using rig = await wandbRig(server)
    await rig.write(4)
    await rig.send(0, { wishes })
    expect(server.run.history).toHaveLength(6)
    expect(server.violations).toEqual([])
  })

  test('and whose last line may be either of two of ours gets all of ours after it', async () => {
    await using server = await WandbServer.start()
    const same = (step: number) => historyLine(5).replace('"_step":5', `"_step":${step}`)
    server.add('mine', [...others, same(49)])
    await using rig = await wandbRig(server)
    await rig.replace(`${same(0)}\n${same(1)}\n`)
    await rig.send(0, { wishes })
    expect(server.run.history).toHaveLength(5)
  })
})

test('a key that may not see the run changes nothing of what is known of it', async () => {
  await using server = await WandbServer.start()
  const others = [historyLine(0), historyLine(40)]
  server.add('mine', others)
  await using rig = await wandbRig(server)
  const wishes = { runId: 'mine' }
  await rig.write(2)
  await rig.send(undefined, { wishes })
  const before = await rig.state()
  await rig.write(6)
  // To such a key the run looks as if it were not there, until it wants to make it.
  server.fault = ({ kind }) =>
    kind === 'status'
      ? { kind: 'status', status: 200, body: '{"data":{"model":null}}' }
      : { kind: 'status', status: 403 }
  expect(await rig.send(0, { wishes })).toMatchObject({ why: 'refused' })
  expect(await rig.state()).toEqual(before)
  server.fault = undefined
  await rig.send(0, { wishes })
  expect(server.violations).toEqual([])
  expect(server.run.history.slice(0, 2)).toEqual(others)
  expect(server.run.history).toHaveLength(10)
})

test('the key is in no file and no message', async () => {
  await using server = await WandbServer.start()
  await using rig = await wandbRig(server)
  await rig.write(2)
  const { news } = await rig.send(0)
  const names = await readdir(rig.dir)
  const texts = await Promise.all(names.map((name) => readFile(join(rig.dir, name), 'utf8')))
  expect([...texts, JSON.stringify(news), ...server.calls.map(({ body }) => body)].join()).not.toContain(KEY)
})
