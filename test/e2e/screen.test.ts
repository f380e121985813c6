import { describe, expect, test } from 'vitest'
import { startEmulator } from '../support/emulator-process.ts'
import { temporaryFolder } from '../support/folder.ts'
import { startProgram } from '../support/program.ts'
import { openTerminal } from '../support/tmux.ts'

const SENTENCES = 40
const CONCURRENCY = 4
/** All calls are direct: held by the server, they keep the run where it is for as long as a test looks. */
const DIRECT = `--sentences ${SENTENCES} --force-direct --direct-concurrency ${CONCURRENCY}`

const command = (taskDir: string, flags: string, program = 'demos/corpus-topics.ts'): string =>
  `${process.execPath} ${program} --task-dir ${taskDir} ${flags}; echo "exit $?"`

/** The cursor goes up again, to draw some rows anew. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: it is about them
const DRAWING = /\u001b\[\d+A/

/** Rows that only the live display has. */
const isOfDisplay = (row: string): boolean =>
  /[█▓▒░]|^((corpus-topics|noisy) {2}\d|generation |requests |batches |tokens |cost |time left |direct )/.test(
    row,
  )

/** The live display on a screen: from its title on, to the end. */
function displayOf(rows: readonly string[]): readonly string[] {
  const first = rows.findLastIndex((row) => row.startsWith('corpus-topics '))
  return first < 0 ? [] : rows.slice(first)
}

const hasEnded = (code: number) => (rows: readonly string[]) => rows.some((row) => row === `exit ${code}`)

describe.concurrent('on a real terminal', { timeout: 90_000 }, () => {
  test('80 x 24: the display is whole while the run lasts, and nothing of it stays', async () => {
    await using folder = await temporaryFolder()
    await using terminal = await openTerminal([80, 24])
    await terminal.enter(command(folder.path, '--emulator --sentences 1500 --max-batch-requests 300'))
    const rows = await terminal.until((shown) =>
      displayOf(shown).some((row) => / #\d+ in_progress /.test(row)),
    )
    const display = displayOf(rows)
    expect(display.join('\n')).toMatch(/^corpus-topics {2}\d+s {2}\S.*\n/)
    for (const label of [
      'generation ',
      'requests ',
      ' {12}[\\d,k.]+ succeeded',
      'batches ',
      ' +#\\d+ [a-z_]+ +\\d+s',
      'cost ',
    ])
      expect(display.filter((row) => new RegExp(`^${label}`).test(row)).length, label).toBeGreaterThan(0)
    // The row above is empty, and has the cursor.
    expect(rows[rows.length - display.length - 1]).toBe('')
    await terminal.until(hasEnded(0))
    const all = await terminal.history()
    expect(all.filter(isOfDisplay)).toEqual([])
    expect(all.join('\n')).toMatch(/run finished after \S+, complete: .*[\s\S]*corpus-topics: complete\n/)
    expect((await terminal.screen()).slice(-2)).toEqual(['exit 0', '$'])
    expect(await terminal.cursor()).toMatchObject({ column: 2, isShown: true })
  })

  test('40 x 10: fewer and shorter rows, and Ctrl+C leaves the terminal clean', async () => {
    await using emulator = await startEmulator()
    await using folder = await temporaryFolder()
    await using terminal = await openTerminal([40, 10], emulator.env)
    const held = emulator.hold(CONCURRENCY)
    await terminal.enter(command(folder.path, DIRECT))
    await held
    const rows = await terminal.until((shown) =>
      displayOf(shown).some((row) => / direct calls, .* on the wire/.test(row)),
    )
    expect(displayOf(rows).length).toBeLessThanOrEqual(7)
    expect(displayOf(rows)).toContainEqual(expect.stringMatching(/^[▒░]+ {3}0% {2}0\/40$/))
    await terminal.press('C-c')
    await terminal.until((shown) =>
      shown.some((row) => row.startsWith('corpus-topics') && row.endsWith('stopping')),
    )
    emulator.release()
    await terminal.until(hasEnded(130))
    const all = await terminal.history()
    expect(all.filter(isOfDisplay)).toEqual([])
    expect(all.join('')).toContain('SIGINT: finishing what is in hand')
    expect(all.join('\n')).not.toContain('^C')
    expect((await terminal.screen()).slice(-2)).toEqual(['exit 130', '$'])
    expect(await terminal.cursor()).toMatchObject({ column: 2, isShown: true })
  })

  test('another size, a suspension and an impatient user leave nothing behind', async () => {
    await using emulator = await startEmulator()
    await using folder = await temporaryFolder()
    await using terminal = await openTerminal([80, 24], emulator.env)
    const held = emulator.hold(CONCURRENCY)
    // With rows above to spare: what a narrower screen breaks in two would else be scrolled out of reach by tmux.
    await terminal.enter(`seq 60; ${command(folder.path, DIRECT)}`)
    await held
    const isWide = (shown: readonly string[]) => displayOf(shown).some((row) => row.startsWith('direct '))
    const isNarrow = (shown: readonly string[]) =>
      displayOf(shown).length > 1 &&
      !isWide(shown) &&
      shown.every((row) => row.length < 40 || !isOfDisplay(row))
    await terminal.until(isWide)
    await terminal.resize(40, 10)
    await terminal.until((shown) => isNarrow(shown) && displayOf(shown).length <= 7)
    await terminal.resize(15, 24)
    await terminal.until((shown) => /^0% 0\/40 \d+s$/.test(shown.at(-1) ?? ''))
    await terminal.resize(100, 30)
    await terminal.until(isWide)
    const titleAt = (shown: readonly string[]) => shown.length - displayOf(shown).length
    const before = titleAt(await terminal.screen())
    await terminal.press('Enter')
    await terminal.until((shown) => isWide(shown) && titleAt(shown) === before + 1)

    await terminal.press('C-z')
    const stopped = await terminal.until((shown) => shown.at(-1) === '$')
    expect(stopped.filter(isOfDisplay)).toEqual([])
    expect(stopped.join('\n')).toContain('Stopped')
    await terminal.enter('fg')
    await terminal.until(isWide)

    emulator.release()
    // Of the line that was typed, the shell has only done the program: it was suspended in between.
    await terminal.until((shown) => shown.at(-1) === '$' && displayOf(shown).length === 0)
    const all = await terminal.history()
    expect(all.filter(isOfDisplay)).toEqual([])
    expect(all.join('\n')).toContain('corpus-topics: complete\n')
    expect(await terminal.cursor()).toMatchObject({ column: 2, isShown: true })
  })

  test('Ctrl+Z does nothing where no shell could go on with the run', async () => {
    await using emulator = await startEmulator()
    await using folder = await temporaryFolder()
    await using terminal = await openTerminal([80, 24], emulator.env)
    const held = emulator.hold(CONCURRENCY)
    await terminal.enter(`exec ${command(folder.path, DIRECT)}`)
    await held
    const seconds = (shown: readonly string[]): number =>
      Number(/^corpus-topics {2}(?:(\d+)s)/.exec(displayOf(shown)[0] ?? '')?.[1] ?? -1)
    const before = seconds(await terminal.until((shown) => seconds(shown) >= 0))
    await terminal.press('C-z')
    await terminal.until((shown) => seconds(shown) >= before + 2)
  })

  test.each([
    ['prints', 'print', 0, /part 40, rest\n/],
    ['ends the process', 'exit', 7, /\nexit 7\n/],
    ['throws where nobody catches it', 'throw', 1, /Error: nobody catches this\n/],
    [
      'fails with control characters',
      'fail',
      1,
      /error: processResponse failed .*told \\u001b\[2J\\u001b\[31min/s,
    ],
  ])('a hook that %s spoils nothing', async (_, deed, code, told) => {
    await using folder = await temporaryFolder()
    await using terminal = await openTerminal([80, 24])
    const flags = `--emulator --force-direct --deed ${deed}`
    await terminal.enter(command(folder.path, flags, 'test/support/noisy-program.ts'))
    await terminal.until(hasEnded(code))
    expect(await terminal.written()).toMatch(DRAWING)
    const all = await terminal.history()
    expect(all.filter(isOfDisplay)).toEqual([])
    expect(all.join('\n')).toMatch(told)
    if (deed === 'print')
      for (let answer = 1; answer <= 40; answer++)
        expect(all).toEqual(expect.arrayContaining([`answer ${answer}`, `part ${answer}, rest`]))
  })

  test.each([
    ['a terminal that cannot move its cursor', { TERM: 'dumb' }, ''],
    ['continuous integration', { CI: 'true' }, ''],
    ['--log plain', {}, '--log plain'],
  ])('%s gets lines, and no display', async (_, env, flags) => {
    await using folder = await temporaryFolder()
    await using terminal = await openTerminal([200, 50], env)
    await terminal.enter(command(folder.path, `--emulator --sentences 30 --force-direct ${flags}`))
    await terminal.until(hasEnded(0))
    expect(await terminal.written()).not.toMatch(DRAWING)
    expect((await terminal.history()).join('\n')).toMatch(/\d\d:\d\d:\d\d run finished after /)
  })
})

describe.concurrent('for programs, with --log json', { timeout: 60_000 }, () => {
  const lines = (text: string): unknown[] =>
    text
      .trimEnd()
      .split('\n')
      .map((line): unknown => JSON.parse(line))

  test('standard error has one object for each event, and nothing else', async () => {
    await using emulator = await startEmulator()
    await using folder = await temporaryFolder()
    const held = emulator.hold(CONCURRENCY)
    const flags = ['--task-dir', folder.path, '--log', 'json', ...DIRECT.split(' ')]
    const program = startProgram('demos/corpus-topics.ts', flags, emulator.env)
    await held
    program.kill('SIGINT')
    await program.says('SIGINT: finishing')
    emulator.release()
    const { code, stderr } = await program.ended
    expect(code, stderr).toBe(130)
    const told = lines(stderr)
    const time = expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
    for (const one of told) expect(one).toMatchObject({ time, kind: expect.any(String) })
    expect(told).toContainEqual({ time, kind: 'note', message: expect.stringMatching(/^SIGINT: /) })
    const started = { time, kind: 'run-started', task: 'corpus-topics', counts: expect.any(Object) }
    expect(told).toContainEqual(expect.objectContaining(started))
    expect(told).toContainEqual(expect.objectContaining({ kind: 'run-finished', outcome: 'interrupted' }))
  })

  test('an error is one object, too', async () => {
    const flags = ['--task-dir', '/dev/null/tasks', '--log', 'json']
    const env = { OPENAI_API_KEY: 'sk-test', OPENAI_BASE_URL: 'http://127.0.0.1:9/v1' }
    const { code, stderr } = await startProgram('demos/corpus-topics.ts', flags, env).ended
    expect(code).toBe(1)
    const why = { kind: 'run-failed', message: expect.stringContaining('/dev/null/tasks') }
    expect(lines(stderr)).toEqual([expect.objectContaining(why)])
  })
})
