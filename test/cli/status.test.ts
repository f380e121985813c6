import { describe, expect, test } from 'vitest'
import { accept, reject } from '../../src/batch/verdict.ts'
import { explain } from '../../src/cli/explain.ts'
import { status } from '../../src/cli/status.ts'
import { TaskManager } from '../../src/task/task-manager.ts'
import type { TaskResponse } from '../../src/task/task-types.ts'
import { type Command, command, commandJson, runUntilCreated, tooWide } from '../support/command.ts'
import { ask, harness, NAME, names } from '../support/task-harness.ts'

class Ten extends TaskManager {
  *generateRequests() {
    for (const key of names(10)) yield { key, body: ask(key), meta: { text: `the ${key} `.repeat(20) } }
  }

  processResponse({ key }: TaskResponse) {
    if (key === 'k-3') return reject(`not\nwanted\u001b[31m: ${'because '.repeat(20)}`)
    return accept({ key }, { remember: { key } })
  }
}

/** A task with one batch at the server, half an hour old. */
async function underWay() {
  const rig = harness({ latency: { runMs: 60_000 } })
  await runUntilCreated(rig, 1, (over) => new Ten(rig.options({ ...over, taskDir: rig.dir })).run())
  rig.clock.advance(30 * 60_000)
  return rig
}

describe('nightshift status', () => {
  test('tells people where the task stands', async () => {
    const rig = await underWay()
    const { code, text } = await command(status, rig)
    expect(code).toBe(0)
    expect(text).toMatch(/^task: not running\n/)
    expect(text).toContain('10: 0 succeeded, 0 failed, 10 pending')
    expect(text).toContain('0 queued, 10 in flight, 0 received and not judged')
    expect(text).toMatch(
      /\n {2}file 1: remote \(\w+\) for 30m\d?s?\n {4}gpt-5-mini \/v1\/chat\/completions\n/,
    )
    expect(text).toMatch(/\n {4}batch_[0-9a-f]+$/)
    await new Ten(rig.options()).run()
    const after = await command(status, rig)
    expect(after.text).toContain('10: 9 succeeded, 1 failed, 0 pending')
    expect(after.text).toContain(`9 lines in ${NAME}_output.jsonl`)
    expect(after.text).toMatch(/failed +task_failed\.jsonl \(/)
    expect(after.text).not.toContain('queue files')
  })

  test('with --json is one object, and needs neither key nor environment', async () => {
    const rig = await underWay()
    const unreachable = () => Promise.reject(new Error('the server was asked'))
    const found = await commandJson(status, rig, { env: {}, fetch: unreachable })
    expect(Object.keys(found)).toEqual([
      ...['task', 'taskId', 'className', 'endpoint', 'createdAt', 'changedAt', 'paramsVersions', 'holder'],
      ...[
        'wipe',
        'requests',
        'spending',
        'receipt',
        'tally',
        'passFailures',
        'queueFiles',
        'output',
        'failedFile',
      ],
      ...['remoteFilesToDelete', 'ledger'],
    ])
  })
})

describe('nightshift explain', () => {
  test('tells people all that happened', async () => {
    const rig = harness()
    await new Ten(rig.options()).run()
    const { code, text } = await command(explain, rig, { more: ['k-3'] })
    expect(code).toBe(0)
    expect(text).toMatch(/^"k-3" of task task: failed\n\n {2}request {5}4; parameters version 1\n/)
    expect(text).toMatch(/\n2026-01-01 00:00:\d\dZ {2}added to queue file 1 as r4-0\n/)
    expect(text).toMatch(/\n {2}failed {6}not wanted/)
    expect(text).toContain('last reply')
    // Nothing that a reason holds may move the cursor or change colours.
    expect(text.replaceAll('\n', '')).not.toMatch(/\p{Cc}/u)
  })

  test('gives what one request cost in as many digits as it takes', async () => {
    const rig = harness()
    await new Ten(rig.options()).run()
    const { lives } = await commandJson(explain, rig, { more: ['k-4'] })
    const { text } = await command(explain, rig, { more: ['k-4'] })
    const [, shown = ''] = /cost +\$(\S+)/.exec(text) ?? []
    expect(lives).toMatchObject([{ cost: { usd: expect.closeTo(Number(shown), 5) } }])
    expect(Number(shown)).toBeGreaterThan(0)
    expect(shown).toMatch(/^0\.0+\d\d$/)
  })

  test('finds a key that begins with a hyphen', async () => {
    const rig = harness()
    class Odd extends Ten {
      override *generateRequests() {
        yield { key: '--yes', body: ask('x'), meta: { text: '' } }
      }
    }
    await new Odd(rig.options()).run()
    expect((await command(explain, rig, { more: ['--', '--yes'] })).text).toContain('"--yes" of task task')
  })
})

describe('their texts', () => {
  const cases: readonly (readonly [string, Command, readonly string[]])[] = [
    ['status', status, []],
    ['explain', explain, ['k-3']],
  ]

  test.each(cases)('fit the screen: %s', async (_, run, more) => {
    const rig = await underWay()
    for (const columns of [40, 60, 80, 200]) {
      const { lines } = await command(run, rig, { more, columns })
      expect(tooWide(lines, columns)).toEqual([])
    }
    await new Ten(rig.options()).run()
    for (const columns of [40, 60, 80, 200]) {
      const { lines } = await command(run, rig, { more, columns })
      expect(tooWide(lines, columns)).toEqual([])
    }
  })

  test.each(cases)('say how they are called: %s', async (name, run) => {
    const lines: string[] = []
    const io = { stdout: (line: string) => void lines.push(line), signal: new AbortController().signal }
    const whole = { ...io, columns: 80, clock: harness().clock }
    expect(await run(['--help'], whole)).toBe(0)
    expect(lines.join('\n')).toContain(`nightshift ${name} TASK`)
    expect(
      lines
        .join('\n')
        .split('\n')
        .filter((line) => line.length > 80),
    ).toEqual([])
    await expect(run([], whole)).rejects.toThrow(
      `TASK${name === 'explain' ? ' and KEY are' : ' is'} missing: nightshift`,
    )
    await expect(run(['a', 'b', 'c'], whole)).rejects.toMatchObject({ code: 'unexpected_argument' })
    await expect(run(['a b', 'c'].slice(0, name === 'explain' ? 2 : 1), whole)).rejects.toThrow('"a b"')
    await expect(run(['x', '--jsn'], whole)).rejects.toThrow('did you mean --json?')
    await expect(run(['x', 'y', '--yes'].slice(name === 'explain' ? 0 : 1), whole)).rejects.toThrow('--yes')
  })

  test.each(cases)('end when they are interrupted: %s', async (_, run, more) => {
    const rig = harness()
    await new Ten(rig.options()).run()
    await expect(command(run, rig, { more, signal: AbortSignal.abort() })).rejects.toMatchObject({
      code: 'interrupted',
    })
  })
})
