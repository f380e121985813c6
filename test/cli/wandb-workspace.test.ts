import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import type { CommandIo } from '../../src/cli/command-io.ts'
import { wandbWorkspace } from '../../src/cli/wandb-workspace.ts'
import { NightshiftError, UsageError } from '../../src/errors.ts'
import { ownViewName } from '../../src/progress/wandb-view/view-name.ts'
import { tooWide } from '../support/command.ts'
import { temporaryFolder } from '../support/folder.ts'
import { runProgram } from '../support/program.ts'
import { VirtualClock } from '../support/virtual-clock.ts'
import {
  errorAnswer,
  type Fault,
  serveViews,
  type ViewServer,
  type ViewServerOptions,
} from '../support/wandb-views.ts'

const KEY = 'k'.repeat(40)
const RUNS = { 'me/gpt_batch_api': 3, 'me/jobs': 1, 'me/empty': 0 }

async function server(over: Partial<ViewServerOptions> = {}): Promise<ViewServer> {
  const made = await serveViews({ key: KEY, entity: 'me', runs: RUNS, ...over })
  onTestFinished(() => made[Symbol.asyncDispose]())
  return made
}

interface Told {
  /** Exit code 0, or what was thrown. */
  readonly end: number | unknown
  readonly text: string
  readonly lines: readonly string[]
}

/** Runs the command as a person with that environment, and nothing else of it. */
async function told(
  argv: readonly string[],
  env: CommandIo['env'],
  over: Partial<CommandIo> = {},
): Promise<Told> {
  const printed: string[] = []
  const io: CommandIo = {
    stdout: (line) => void printed.push(line),
    signal: new AbortController().signal,
    columns: 80,
    clock: new VirtualClock(),
    env,
    ...over,
  }
  const end = await wandbWorkspace(argv, io).catch((error: unknown) => error)
  const text = printed.join('\n')
  return { end, text, lines: text.split('\n') }
}

const access = ({ url }: ViewServer) => ({ WANDB_API_KEY: KEY, WANDB_BASE_URL: url, WANDB_MODE: 'disabled' })

describe('a view of the figures', () => {
  test('is saved in the project of the options, for the entity of the key', async () => {
    const wandb = await server()
    const { end, text } = await told([], access(wandb))
    expect(end).toBe(0)
    const name = ownViewName('me', 'gpt_batch_api', 'Nightshift')
    expect(wandb.views).toMatchObject([
      { entity: 'me', project: 'gpt_batch_api', name, displayName: 'Nightshift' },
    ])
    expect(text).toMatch(/^view Nightshift saved in me\/gpt_batch_api: [\d,]+ panels in \d+ sections\n/)
    expect(text).toContain(`${wandb.url}/me/gpt_batch_api?nw=${name.slice(3, -2)}`)
    const { section } = JSON.parse(wandb.views[0]?.spec ?? '')
    const names = section.panelBankConfig.sections.map(({ name }: { name: string }) => name)
    expect(names).toEqual(
      expect.arrayContaining(['Requests', 'Cost', 'Rate', 'Task', 'Batch', 'Usage', 'Result']),
    )
    expect(wandb.seen.map(({ operation }) => operation)).toEqual([
      'NightshiftViewer',
      'NightshiftProject',
      'NightshiftView',
      'NightshiftUpsertView',
    ])
  })

  test('is replaced when it is set up again, and another name is another view', async () => {
    const wandb = await server()
    await told(['--project', 'jobs'], access(wandb))
    const again = await told(['--project', 'jobs'], access(wandb))
    expect(again.text).toMatch(/^view Nightshift replaced in me\/jobs/)
    expect(wandb.views).toHaveLength(1)
    await told(['--project', 'jobs', '--name', 'Mine'], access(wandb))
    expect(wandb.views.map(({ displayName }) => displayName)).toEqual(['Nightshift', 'Mine'])
  })

  test('never replaces a view of another name, even if the server gives one', async () => {
    const place = { entity: 'me', project: 'jobs', name: 'nw-somebodyelse-v' }
    const other = { ...place, id: 'other', displayName: 'Nightshift', spec: '{}' }
    const wandb = await server({ views: [other], givesAll: true })
    expect((await told(['--project', 'jobs'], access(wandb))).text).toMatch(/^view Nightshift saved/)
    expect(wandb.views).toHaveLength(2)
    expect(wandb.views[0]).toEqual(other)
  })

  test('goes to the entity and project of the flags, else of the environment', async () => {
    const wandb = await server({ runs: { 'team/nights': 1, 'flagged/days': 1 } })
    const env = { ...access(wandb), WANDB_ENTITY: 'team', WANDB_PROJECT: 'nights' }
    expect((await told([], env)).end).toBe(0)
    expect((await told(['--entity', 'flagged', '--project', 'days'], env)).end).toBe(0)
    expect(wandb.views.map(({ entity, project }) => `${entity}/${project}`)).toEqual([
      'team/nights',
      'flagged/days',
    ])
    expect(wandb.seen.map(({ operation }) => operation)).not.toContain('NightshiftViewer')
  })

  test('is told as JSON', async () => {
    const wandb = await server()
    const { end, text } = await told(['--json'], access(wandb))
    expect(end).toBe(0)
    expect(JSON.parse(text)).toEqual({
      entity: 'me',
      project: 'gpt_batch_api',
      viewName: wandb.views[0]?.name,
      displayName: 'Nightshift',
      isNew: true,
      sections: expect.any(Number),
      panels: expect.any(Number),
      url: expect.stringContaining('/me/gpt_batch_api?nw='),
    })
  })

  test('takes the key of the netrc entry', async () => {
    const wandb = await server()
    await using folder = await temporaryFolder()
    const netrc = join(folder.path, 'netrc')
    await writeFile(netrc, `machine ${new URL(wandb.url).hostname} login user password ${KEY}\n`)
    expect((await told([], { NETRC: netrc, WANDB_BASE_URL: wandb.url })).end).toBe(0)
    expect(wandb.views).toHaveLength(1)
  })

  test('is printed with --print, without a key and without a network', async () => {
    const { end, text } = await told(['--print'], {})
    expect(end).toBe(0)
    const wandb = await server()
    await told([], access(wandb))
    expect(JSON.parse(text)).toEqual(JSON.parse(wandb.views[0]?.spec ?? ''))
  })
})

describe('a copy of a view', () => {
  const spec = {
    section: {
      customRunColors: { abc12345: 'red' },
      runSets: [{ id: 'r', selections: { root: 0, bounds: [], tree: ['abc12345'] } }],
      panelBankConfig: { sections: [{ name: 'Theirs', panels: [{ config: { metrics: ['x'] } }] }] },
    },
  }
  const theirs = {
    id: 'their-id',
    entity: 'they',
    project: 'public',
    name: 'nw-u38mn3ltgfn-v',
    displayName: 'Their view',
    spec: JSON.stringify(spec),
  }
  const runs = { ...RUNS, 'they/public': 9 }

  test('is saved without what is of single runs; the source stays as it is', async () => {
    const wandb = await server({ views: [theirs], runs })
    const { end, text } = await told(['--from', 'they/public/u38mn3ltgfn', '--name', 'Copy'], access(wandb))
    expect([end, text]).toEqual([
      0,
      expect.stringContaining('view Copy saved in me/gpt_batch_api: 1 panel in 1 section'),
    ])
    expect(wandb.views[0]).toEqual(theirs)
    expect(wandb.views[1]).toMatchObject({ entity: 'me', project: 'gpt_batch_api', displayName: 'Copy' })
    expect(JSON.parse(wandb.views[1]?.spec ?? '')).toEqual({
      section: {
        customRunColors: {},
        runSets: [{ id: 'r', selections: { root: 1, bounds: [], tree: [] }, expandedRowAddresses: [] }],
        panelBankConfig: { sections: [{ name: 'Theirs', panels: [{ config: { metrics: ['x'] } }] }] },
      },
    })
  })

  test('can be printed, and nothing is saved then', async () => {
    const wandb = await server({ views: [theirs], runs })
    const { end, text } = await told(['--from', 'they/public/u38mn3ltgfn', '--print'], access(wandb))
    expect([end, JSON.parse(text).section.customRunColors]).toEqual([0, {}])
    expect(wandb.views).toEqual([theirs])
  })

  test.each([
    ['there is no such view', { views: [], runs }, 'wandb_no_view'],
    [
      'it is stored in an unknown form',
      { views: [{ ...theirs, spec: '{"blocks":[]}' }], runs },
      'wandb_changed',
    ],
    ['it is no JSON', { views: [{ ...theirs, spec: '<html>' }], runs }, 'wandb_changed'],
  ])('ends with the steps by hand when %s', async (_, setting, code) => {
    const wandb = await server(setting)
    const { end, text } = await told(['--from', 'they/public/u38mn3ltgfn'], access(wandb))
    expect(end).toMatchObject({ code })
    expect(text).toContain(`Open ${wandb.url}/they/public?nw=u38mn3ltgfn`)
    expect(wandb.seen.map(({ operation }) => operation)).not.toContain('NightshiftUpsertView')
  })
})

const TITLE = 'The view was not saved. By hand it goes like this:'

describe('what keeps a view from being saved is told, with the steps to do it by hand', () => {
  const upsert = (fault: Fault) => ({ NightshiftUpsertView: fault })

  test.each<[string, Partial<ViewServerOptions>, readonly string[], string, RegExp]>([
    [
      'a wrong key',
      { key: 'another' },
      [],
      'wandb_unauthorized',
      /does not know the API key.*check WANDB_API_KEY/,
    ],
    [
      'a key nobody has',
      { faults: { NightshiftViewer: { body: '{"data":{"viewer":null}}' } } },
      [],
      'wandb_unauthorized',
      /does not know/,
    ],
    [
      'a key that may not',
      { faults: upsert(errorAnswer(403, 'permission denied')) },
      [],
      'wandb_unauthorized',
      /saving the view: the API key may not/,
    ],
    [
      'a refusal inside a good answer',
      { faults: upsert(errorAnswer(200, 'not authorized')) },
      [],
      'wandb_unauthorized',
      /not authorized/,
    ],
    ['a key without an entity', { entity: null }, [], 'wandb_no_entity', /--entity/],
    ['no such project', {}, ['--project', 'none'], 'wandb_no_project', /no project me\/none/],
    ['a project without runs', {}, ['--project', 'empty'], 'wandb_no_runs', /me\/empty has no runs yet/],
    [
      'a field W&B no longer has',
      { faults: upsert(errorAnswer(400, 'Cannot query field "upsertView" on type "Mutation"')) },
      [],
      'wandb_changed',
      /Cannot query field/,
    ],
    [
      'an answer without what was asked',
      { faults: upsert({ body: '{"data":{"upsertView":{}}}' }) },
      [],
      'wandb_changed',
      /something else/,
    ],
    [
      'an answer that breaks off',
      { faults: upsert({ body: '{"data":{"upse' }) },
      [],
      'wandb_changed',
      /something else/,
    ],
    [
      'another refusal',
      { faults: upsert(errorAnswer(400, 'spec is too long')) },
      [],
      'wandb_refused',
      /spec is too long/,
    ],
    [
      'a server without the API',
      { faults: upsert({ status: 404, body: '404 page not found' }) },
      [],
      'wandb_changed',
      /there is no such API at http.*\(HTTP 404\); check WANDB_BASE_URL/,
    ],
    [
      'a page in place of the API',
      { faults: upsert({ body: '<!doctype html><title>Sign in</title>' }) },
      [],
      'wandb_changed',
      /something else.*Sign in.*WANDB_BASE_URL/,
    ],
    [
      'an answer that leads elsewhere',
      { faults: upsert({ status: 302, headers: { location: 'http://127.0.0.1:1/' }, body: '' }) },
      [],
      'wandb_refused',
      /WANDB_BASE_URL/,
    ],
  ])('%s', async (_, setting, argv, code, message) => {
    const wandb = await server(setting)
    const { end, text, lines } = await told(argv, access(wandb))
    expect(end).toBeInstanceOf(NightshiftError)
    expect(end).not.toBeInstanceOf(UsageError)
    expect(end).toMatchObject({ code, message: expect.stringMatching(message) })
    expect(String(end)).not.toContain(KEY)
    expect(lines[0]).toBe(TITLE)
    expect(text).toContain('Save as a new view')
    expect(tooWide(lines, 80)).toEqual([])
    expect(text).not.toContain(KEY)
    expect(wandb.views).toEqual([])
  })

  test.each<[string, Fault, RegExp]>([
    [
      'a busy server',
      { status: 429, headers: { 'retry-after': '7' }, body: '' },
      /HTTP 429.*try again in 7 s/,
    ],
    [
      'a busy server that names a date',
      { status: 429, headers: { 'retry-after': 'Sat, 21 Nov 2026 16:30:00 GMT' }, body: '' },
      /HTTP 429.*try again later/,
    ],
    ['a broken server', { status: 502, body: '<html>' }, /HTTP 502.*try again later/],
    ['a server that was not told all in time', { status: 408, body: '' }, /HTTP 408.*try again later/],
    ['a cut connection', 'cut', /not reached/],
  ])('%s: exit code 3, it may be done later', async (_, fault, message) => {
    const wandb = await server({ faults: upsert(fault) })
    const { end, text, lines } = await told([], access(wandb))
    expect(end).toBe(3)
    expect(text.replaceAll('\n', ' ')).toMatch(message)
    expect(lines).toContain(TITLE)
    expect(text).toContain('/me/gpt_batch_api')
    expect(wandb.views).toEqual([])
  })

  test('no server at all: the same', async () => {
    const wandb = await server()
    await wandb[Symbol.asyncDispose]()
    const { end, text } = await told(['--entity', 'me', '--json'], access(wandb))
    expect(end).toBe(3)
    expect(JSON.parse(text)).toMatchObject({
      error: { code: 'wandb_unreachable', message: expect.stringContaining('ECONNREFUSED') },
    })
  })

  test('no key: wrong usage, and nobody is asked', async () => {
    const wandb = await server()
    const { end, text } = await told([], { WANDB_BASE_URL: wandb.url })
    expect(end).toBeInstanceOf(UsageError)
    expect(end).toMatchObject({
      code: 'missing_wandb_key',
      message: expect.stringContaining('WANDB_API_KEY'),
    })
    expect(text).toContain('YOUR-ENTITY/gpt_batch_api')
    expect(wandb.seen).toEqual([])
  })

  test('with --json as one object', async () => {
    const wandb = await server()
    const { end, text } = await told(['--project', 'empty', '--json'], access(wandb))
    expect(end).toMatchObject({ code: 'wandb_no_runs' })
    expect(JSON.parse(text)).toEqual({
      error: { code: 'wandb_no_runs', message: expect.stringContaining('me/empty') },
      steps: expect.arrayContaining([expect.stringContaining('/me/empty')]),
    })
  })

  test('a server that keeps silent is left at a signal, without a word', async () => {
    const wandb = await server({ faults: { NightshiftProject: 'hang' } })
    const stop = new AbortController()
    const asked = told(['--entity', 'me'], access(wandb), {
      signal: stop.signal,
      fetch: (input, init) => {
        queueMicrotask(() => stop.abort())
        return fetch(input, init)
      },
    })
    expect(await asked).toMatchObject({ end: { code: 'aborted' }, text: '' })
  })

  test('a server that answers again after a lost answer has one view, not two', async () => {
    const wandb = await server()
    let lost = true
    const { end } = await told([], access(wandb), {
      fetch: async (input, init) => {
        const response = await fetch(input, init)
        if (!String(init?.body).includes('NightshiftUpsertView') || !lost) return response
        lost = false
        throw new TypeError('fetch failed')
      },
    })
    expect(end).toBe(3)
    expect((await told([], access(wandb))).text).toMatch(/^view Nightshift replaced/)
    expect(wandb.views).toHaveLength(1)
  })
})

describe('as a program', { timeout: 60_000 }, () => {
  test('it ends with 0, and with 1 and one line on standard error after the steps', async () => {
    const wandb = await server()
    const run = (...more: string[]) =>
      runProgram('src/cli/main.ts', ['wandb', 'workspace', '--project', ...more], access(wandb))
    const done = await run('jobs')
    expect([done.code, done.stderr]).toEqual([0, ''])
    expect(done.stdout).toMatch(/^view Nightshift saved in me\/jobs/)
    const refused = await run('empty')
    expect([refused.code, refused.stderr]).toEqual([
      1,
      expect.stringMatching(/^error: [^\n]*no runs yet[^\n]*\n$/),
    ])
    expect(refused.stdout).toContain(TITLE)
  })
})

describe('wrong usage', () => {
  test.each([
    [['--name', ''], /^--name is/],
    [['--name', 'a\nb'], /^--name is/],
    [['--entity', 'a/b'], /^--entity is "a\/b", but must be the name of a user or a team/],
    [['--project', ''], /^--project is "", but must be the name of a project/],
    [['--from', 'view'], /^--from is "view", but must be entity\/project\/view/],
    [['--form', 'a/b/c'], /^there is no flag --form; did you mean --from\?/],
    [['--api-key', 'x'], /environment variable/],
    [['task'], /one word too many/],
    [['--print=maybe'], /must be true or false/],
  ])('%j is one clear error', async (argv, message) => {
    const wandb = await server()
    const { end, text } = await told(argv, access(wandb))
    expect(end).toBeInstanceOf(UsageError)
    expect(end).toMatchObject({ message: expect.stringMatching(message) })
    expect(text).toBe('')
    expect(wandb.seen).toEqual([])
  })

  test('its help fits a terminal', async () => {
    const { end, lines } = await told(['--help'], {})
    expect(end).toBe(0)
    expect(tooWide(lines, 80)).toEqual([])
  })
})
