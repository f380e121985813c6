import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { lint } from '../../src/cli/lint.ts'
import { UsageError } from '../../src/errors.ts'
import { temporaryFolder } from '../support/task-harness.ts'

const request = (id: string, over: object = {}): string =>
  JSON.stringify({
    custom_id: id,
    method: 'POST',
    url: '/v1/embeddings',
    body: { model: 'e', input: ['x', 'y'] },
    ...over,
  })

/** A file with these lines, in a folder of its own. */
function file(lines: readonly string[], name = 'in.jsonl'): string {
  const path = join(temporaryFolder(), name)
  writeFileSync(path, lines.map((line) => `${line}\n`).join(''))
  return path
}

async function run(argv: readonly string[], signal = new AbortController().signal) {
  const printed: string[] = []
  const exitCode = await lint(argv, { stdout: (line) => printed.push(line), signal })
  return { exitCode, printed }
}

describe('nightshift lint', () => {
  test('of a sound file prints what it holds, and succeeds', async () => {
    const path = file([request('a'), request('b')])
    expect(await run([path])).toEqual({
      exitCode: 0,
      printed: [`${path}: 0 errors, 0 warnings; 2 requests, 192 B, 4 inputs, /v1/embeddings, e`],
    })
  })

  test('of a file with errors names each place, and fails', async () => {
    const path = file([request('a'), request('a', { method: 'GET' }), 'nonsense'])
    const { exitCode, printed } = await run([path])
    expect(exitCode).toBe(1)
    expect(printed.slice(0, -1).map((line) => line.split(': ').slice(0, 2).join(': '))).toEqual([
      `${path}:2: error bad_method`,
      `${path}:2: error duplicate_custom_id`,
      `${path}:3: error not_json`,
    ])
    expect(printed.at(-1)).toBe(
      `${path}: 3 errors, 0 warnings; 3 requests, 200 B, 4 inputs, /v1/embeddings, e`,
    )
  })

  test('of a file with warnings alone succeeds', async () => {
    const path = file([request('ä')])
    const { exitCode, printed } = await run([path])
    expect(exitCode).toBe(0)
    expect(printed[0]).toContain(`${path}:1: warning odd_custom_id`)
  })

  test('of a file with another name says so', async () => {
    const path = file([request('a')], 'in.txt')
    const { exitCode, printed } = await run([path])
    expect(exitCode).toBe(1)
    expect(printed[0]).toBe(
      `${path}: error bad_file_name: the name is "in.txt": the server only takes files that end in ".jsonl"`,
    )
  })

  test('shows as many findings as asked for, and counts the others', async () => {
    const path = file(['no', 'no', 'no', request('a', { method: 'GET' })])
    const { printed } = await run([path, '--max-findings', '2'])
    expect(printed).toHaveLength(4)
    expect(printed[2]).toBe('not shown: not_json 1, bad_method 1')
    expect((await run([path, '--max-findings', '0'])).printed).toHaveLength(2)
  })

  test('with --json prints one object', async () => {
    const path = file([request('a'), 'no', 'no'])
    const { exitCode, printed } = await run(['--json', '--max-findings=1', path])
    expect(exitCode).toBe(1)
    expect(printed).toHaveLength(1)
    expect(JSON.parse(printed[0] ?? '')).toEqual({
      file: path,
      ok: false,
      errors: 2,
      warnings: 0,
      requests: 3,
      bytes: 102,
      endpoint: '/v1/embeddings',
      models: { e: 1 },
      inputs: 2,
      counts: { not_json: 2 },
      findings: [
        { severity: 'error', code: 'not_json', line: 2, message: expect.stringContaining('not valid JSON') },
      ],
      omitted: { not_json: 1 },
    })
  })

  test('with --json says null where there is no line and no endpoint', async () => {
    const { printed } = await run(['--json', file([])])
    expect(JSON.parse(printed[0] ?? '')).toMatchObject({
      endpoint: null,
      findings: [{ code: 'empty_file', line: null }],
    })
  })

  test('prints its help', async () => {
    const { exitCode, printed } = await run(['--help'])
    expect(exitCode).toBe(0)
    expect(printed.join('\n')).toContain('--max-findings N')
  })

  test('ends when it is interrupted', async () => {
    expect(await run([file([request('a')])], AbortSignal.abort())).toEqual({ exitCode: 130, printed: [] })
  })

  test.each([
    [[], 'give one file'],
    [['a.jsonl', 'b.jsonl'], 'give one file'],
    [['--max-findings', 'all', 'a.jsonl'], "--max-findings is 'all'"],
    [['--colour', 'a.jsonl'], "Unknown option '--colour'. See nightshift lint --help"],
    [['/nowhere/in.jsonl'], 'cannot read /nowhere/in.jsonl: ENOENT'],
    [[import.meta.dirname], 'EISDIR'],
  ])('%j is a usage error', async (argv, message) => {
    const failed = run(argv)
    await expect(failed).rejects.toThrow(UsageError)
    await expect(failed).rejects.toThrow(message)
  })
})
