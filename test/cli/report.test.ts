import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { join, resolve } from 'node:path'
import { describe, expect, test } from 'vitest'
import { accept, reject, retry } from '../../src/batch/verdict.ts'
import { REPORT_HELP, report } from '../../src/cli/report.ts'
import { TaskManager } from '../../src/task/task-manager.ts'
import type { TaskResponse } from '../../src/task/task-types.ts'
import { RELEASES } from '../fixtures/folder.ts'
import { writeBigTask } from '../support/big-task.ts'
import { command, commandJson } from '../support/command.ts'
import { contentsOf } from '../support/folder.ts'
import { emptyTask, failedTask, finishedTask, Plain, whileRunning } from '../support/report-tasks.ts'
import {
  ask,
  crashing,
  type Harness,
  harness,
  isKind,
  names,
  temporaryFolder,
} from '../support/task-harness.ts'
import { VirtualClock } from '../support/virtual-clock.ts'

/** The page about the task of a harness. */
async function pageOf(rig: Harness, taskDir = rig.dir): Promise<string> {
  const path = join(temporaryFolder(), 'page.html')
  await command(report, rig, { taskDir, more: ['--out', path] })
  return readFileSync(path, 'utf8')
}

const policyIn = (page: string): string =>
  (/Security-Policy" content="([^"]+)"/.exec(page)?.[1] ?? '').replaceAll('&#39;', "'")

describe('nightshift report', () => {
  test('writes a page that only its owner may read, and prints where', async () => {
    const rig = await finishedTask()
    const path = join(temporaryFolder(), 'page.html')
    const { code, lines } = await command(report, rig, { more: ['--out', path] })
    expect(code).toBe(0)
    expect(lines).toEqual([expect.stringMatching(/page\.html \(\d+ kB\)$/)])
    expect(lines[0]?.startsWith(path)).toBe(true)
    expect(statSync(path).mode & 0o777).toBe(0o600)
    expect(readdirSync(join(path, '..'))).toEqual(['page.html'])
    const page = readFileSync(path, 'utf8')
    expect(page).toMatch(/^<!doctype html>\n/)
    expect(page.trimEnd()).toMatch(/<\/html>$/)
  })

  test('goes to a file named after the task, in this folder', async () => {
    const rig = await emptyTask()
    const [folder, before] = [temporaryFolder(), process.cwd()]
    process.chdir(folder)
    try {
      const { text } = await command(report, rig)
      expect(text).toContain(resolve('task_report.html'))
      expect(readdirSync(folder)).toEqual(['task_report.html'])
    } finally {
      process.chdir(before)
    }
  })

  test('replaces a page that is there, and leaves it whole when it cannot', async () => {
    const rig = await emptyTask()
    const folder = temporaryFolder()
    const path = join(folder, 'page.html')
    writeFileSync(path, 'old')
    await command(report, rig, { more: ['--out', path] })
    expect(readFileSync(path, 'utf8')).toContain('Nightshift report')
    const late = join(folder, 'late.html')
    // After the place was looked at, and before the page is written.
    class Late extends VirtualClock {
      override now(): number {
        mkdirSync(late, { recursive: true })
        return super.now()
      }
    }
    const onto = command(report, rig, { more: ['--out', late], clock: new Late() })
    await expect(onto).rejects.toMatchObject({ code: 'write_failed' })
    expect(readdirSync(folder).toSorted()).toEqual(['late.html', 'page.html'])
  })

  test.each([
    ['taken.html', /--out is ".*taken\.html", but is a folder: name a file in it/],
    ['no/such/page.html', /--out is ".*page\.html", but there is no folder \S+no\/such: make it/],
    ['file.txt/page.html', /there is no folder \S+file\.txt: make it/],
  ])('refuses %s before it reads anything', async (place, complaint) => {
    const folder = temporaryFolder()
    mkdirSync(join(folder, 'taken.html'))
    writeFileSync(join(folder, 'file.txt'), '')
    const rig = harness()
    const refused = command(report, rig, { more: ['--out', join(folder, place)] })
    // There is no task: that would be told of first if it had been looked for.
    await expect(refused).rejects.toMatchObject({
      code: 'bad_option',
      message: expect.stringMatching(complaint),
    })
    expect(readdirSync(folder).toSorted()).toEqual(['file.txt', 'taken.html'])
  })

  test('writes where the path has spaces', async () => {
    const path = join(temporaryFolder(), 'my page.html')
    await command(report, await emptyTask(), { more: ['--out', path] })
    expect(readFileSync(path, 'utf8')).toContain('Nightshift report')
  })

  test('prints the page with --out -, and nothing else', async () => {
    const rig = await emptyTask()
    const { text } = await command(report, rig, { more: ['--out', '-'] })
    expect(text).toMatch(/^<!doctype html>[\s\S]*<\/html>$/)
  })

  test.each([
    [['--out', 'tasks/task_ledger.jsonl'], 'must be the path of a file that ends in .html, or -'],
    [['--out', ''], 'must be the path of a file that ends in .html'],
    [['--out', '-', '--json'], '--out - and --json both print'],
    [['--nonsense'], 'there is no flag --nonsense'],
    [['other'], 'one word too many'],
  ])('refuses %j', async (more, complaint) => {
    const rig = await emptyTask()
    const before = await contentsOf(rig.dir)
    await expect(command(report, rig, { more })).rejects.toThrow(complaint)
    expect(await contentsOf(rig.dir)).toEqual(before)
  })

  test('says which tasks there are when there is none of that name', async () => {
    const rig = await emptyTask()
    const io = { signal: new AbortController().signal, columns: 80, clock: rig.clock, stdout: () => {} }
    await expect(report(['tusk', '--task-dir', rig.dir], io)).rejects.toThrow(/no task "tusk".*: task;/)
  })

  test('reads only: no file of the task is changed, also while it runs', async () => {
    await whileRunning(async (rig) => {
      const still = (path: string) => !path.includes('.lock') && !path.includes('_progress')
      const before = await contentsOf(rig.dir, still)
      expect(await pageOf(rig)).toContain('A run is at work.')
      expect(await contentsOf(rig.dir, still)).toEqual(before)
    })
  })

  test('tells of a run that was killed', async () => {
    const rig = harness()
    const crash = crashing(rig, { at: (seen) => isKind(seen, 'POST', '/v1/batches') })
    const run = new Plain(crash.options).run()
    const folder = await crash.folder
    const page = await pageOf(rig, folder)
    expect(page).toMatch(/Crashed|Not finished/)
    expect(page).toContain('600 still to be done')
    crash.bury()
    await run.catch(() => undefined)
  })

  test('says how it is called', async () => {
    const rig = await emptyTask()
    const { text } = await command(report, rig, { more: ['--help'] })
    expect(text).toBe(REPORT_HELP)
    expect(text.split('\n').filter((line) => line.length > 80)).toEqual([])
  })
})

describe('the page', () => {
  test('needs nothing beside itself, and lets nothing else in', async () => {
    const page = await pageOf(await failedTask())
    expect(policyIn(page)).toMatch(
      /^default-src 'none'; script-src 'sha256-[^']+' 'sha256-[^']+'; style-src 'sha256-[^']+'; img-src data:; base-uri 'none'; form-action 'none'$/,
    )
    // What the browser loads, and what would run, is the page's own.
    expect(page.match(/<(script|style|link|img|iframe|object|meta|base|form)\b/g)?.toSorted()).toEqual(
      [...Array(3).fill('<script'), '<style', '<link', ...Array(6).fill('<meta')].toSorted(),
    )
    expect(page).not.toMatch(/ (style|on\w+)="/)
    expect(page).not.toContain('</script><script>fetch')
  })

  test('of a task without requests has no script at all', async () => {
    const page = await pageOf(await emptyTask())
    expect(page).not.toContain('<script')
    expect(policyIn(page)).toContain("script-src 'none'")
  })

  test('does not grow with the task', async () => {
    const rig = harness()
    writeBigTask(rig.dir, { batches: 1_500, requestsPerBatch: 4 })
    const page = await pageOf(rig)
    expect(page.length).toBeLessThan(1_500_000)
    const [, json = ''] = /id="report-data">(.*?)<\/script>/.exec(page) ?? []
    const { charts } = JSON.parse(json)
    expect(charts).toHaveLength(6)
    for (const { at = [], spans = [], starts = [] } of charts)
      expect(at.length + spans.length + starts.length).toBeLessThanOrEqual(2_001)
  })

  test('can be made of files of every release', async () => {
    const rig = harness()
    let pages = 0
    for (const version of readdirSync(RELEASES))
      for (const name of readdirSync(join(RELEASES, version))) {
        const taskDir = join(RELEASES, version, name)
        const before = await contentsOf(taskDir)
        const { text } = await command(report, rig, { taskDir, more: ['--out', '-'] })
        expect(text, `${version}/${name}`).toContain('</html>')
        expect(await contentsOf(taskDir)).toEqual(before)
        pages++
      }
    expect(pages).toBeGreaterThan(50)
  })
})

/** Fails in three ways; some tries are made again first. */
class ThreeWays extends TaskManager {
  *generateRequests() {
    for (const key of names(30)) yield { key, body: ask(key) }
  }

  processResponse({ key, attempt }: TaskResponse) {
    const index = Number(key.slice(2))
    if (index < 10) return accept({ key })
    if (index < 13) return retry(`no "field ${index}" in the answer`)
    if (index < 15 && attempt === 1) return retry(`too short by ${index}`)
    return index < 15 ? accept({ key }) : reject(`score ${index / 10} is too low`)
  }
}

describe('the failures in it', () => {
  const failuresOf = async (rig: Harness) => (await commandJson(report, rig)).failures

  test('are of one kind when they differ in numbers and quotes only, the tries before the last one among them', async () => {
    const rig = harness()
    await new ThreeWays(rig.options()).run()
    expect(await failuresOf(rig)).toEqual({
      clusters: [
        {
          form: 'score # is too low',
          failed: 15,
          retried: 0,
          firstAt: expect.any(String),
          lastAt: expect.any(String),
          examples: ['15', '16', '17'].map((index) => ({
            key: `k-${index}`,
            reason: `score ${Number(index) / 10} is too low`,
            attempts: 1,
            reply: expect.stringContaining('chatcmpl'),
          })),
        },
        expect.objectContaining({ form: 'no "…" in the answer', failed: 3, retried: 6 }),
        expect.objectContaining({ form: 'too short by #', failed: 0, retried: 2, examples: [] }),
      ],
      others: { kinds: 0, failed: 0, retried: 0 },
    })
  })

  test('are gone when the requests were put back and succeeded', async () => {
    const rig = harness()
    await new ThreeWays(rig.options()).run()
    class Lenient extends ThreeWays {
      override processResponse({ key }: TaskResponse) {
        return key === 'k-20' ? reject('score 2 is too low') : accept({ key })
      }
    }
    await new Lenient(rig.options({ retryFailed: true })).run()
    expect(await failuresOf(rig)).toMatchObject({
      clusters: [
        { form: 'score # is too low', failed: 1, examples: [{ key: 'k-20' }] },
        { form: 'no "…" in the answer', failed: 0, retried: 6, examples: [] },
        { form: 'too short by #' },
      ],
    })
  })

  test('have no examples when their file was cut or is gone', async () => {
    const rig = harness()
    await new ThreeWays(rig.options()).run()
    truncateSync(join(rig.dir, 'task_failed.jsonl'), 700)
    expect(await failuresOf(rig)).toMatchObject({ clusters: [{ failed: 15 }, {}, {}] })
    expect(await pageOf(rig)).toContain('has no entries for these any more')
    expect(existsSync(join(rig.dir, 'task_failed.jsonl'))).toBe(true)
  })
})

describe('the report as JSON', () => {
  test('is one object, and no page is written', async () => {
    const rig = await finishedTask()
    const found = await commandJson(report, rig)
    expect(Object.keys(found)).toEqual([
      ...['task', 'madeAt', 'outcome', 'status', 'params', 'runs', 'earlierRuns', 'workSeconds', 'capUsd'],
      ...['warnings', 'failures', 'batches', 'series'],
    ])
    expect(found).toMatchObject({
      task: 'task',
      outcome: { kind: 'complete' },
      capUsd: 5,
      params: { temperature: 0 },
      runs: [
        { end: { kind: 'finished', text: 'complete' }, options: expect.stringContaining('--max-spend 5') },
      ],
    })
    expect(found.batches).toHaveLength(12)
    expect(found.batches).toMatchObject(
      Array(12).fill({
        as: 'batch',
        phase: 'done',
        status: 'completed',
        results: { succeeded: 45, failed: 5 },
      }),
    )
    expect(existsSync('task_report.html')).toBe(false)
  })

  test('ends where the task stands', async () => {
    const rig = await finishedTask()
    const { series, status } = await commandJson(report, rig)
    const ends = Object.fromEntries(
      Object.entries(series as Record<string, Record<string, unknown[]>>).map(([name, columns]) => [
        name,
        Object.fromEntries(Object.entries(columns).map(([column, values]) => [column, values.at(-1)])),
      ]),
    )
    expect(ends).toMatchObject({
      requests: { succeeded: 540, failed: 60, received: 0, inFlight: 0, queued: 0 },
      verdicts: { succeeded: 540, failed: 60, retried: 0 },
    })
    expect(status).toMatchObject({
      receipt: { task: { cost: { usd: expect.closeTo(Number(ends.costUsd?.real), 9) } } },
    })
  })

  test('comes with a page when it is told where', async () => {
    const rig = await emptyTask()
    const path = join(temporaryFolder(), 'page.html')
    const found = await commandJson(report, rig, { more: ['--out', path] })
    expect(found.outcome).toMatchObject({ kind: 'empty' })
    expect(statSync(path).size).toBeGreaterThan(1_000)
  })
})
