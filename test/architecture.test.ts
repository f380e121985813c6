import { readdirSync, readFileSync } from 'node:fs'
import { join, sep } from 'node:path'
import { describe, expect, test } from 'vitest'
import { architectureProblems } from './support/import-rules.ts'
import { moduleReferences } from './support/module-scanner.ts'

const SRC = join(import.meta.dirname, '..', 'src')

const readSources = (): Map<string, string> =>
  new Map(
    readdirSync(SRC, { recursive: true, encoding: 'utf8' })
      .filter((path) => path.endsWith('.ts'))
      .map((path) => [path.split(sep).join('/'), readFileSync(join(SRC, path), 'utf8')]),
  )

/** Problems of a small source tree, without the files that are only there to be imported. */
const problemsOf = (files: Readonly<Record<string, string>>): string[] =>
  architectureProblems(new Map(Object.entries(files)))

test('src keeps to the import table', () => {
  const sources = readSources()
  expect(sources.size).toBeGreaterThan(10)
  expect(architectureProblems(sources)).toEqual([])
})

describe('the import rules', () => {
  test.each([
    ['util may not import batch', { 'util/a.ts': "import '../batch/b.ts'", 'batch/b.ts': '' }],
    [
      'state may not import batch',
      { 'state/a.ts': "import type { B } from '../batch/b.ts'", 'batch/b.ts': '' },
    ],
    [
      'progress may not import openai',
      { 'progress/a.ts': "export * from '../openai/b.ts'", 'openai/b.ts': '' },
    ],
    ['task may not import openai', { 'task/a.ts': "await import('../openai/b.ts')", 'openai/b.ts': '' }],
    ['emulator may not import cli', { 'emulator/index.ts': "import '../cli/b.ts'", 'cli/b.ts': '' }],
    ['emulator may not import openai', { 'emulator/a.ts': "import '../openai/b.ts'", 'openai/b.ts': '' }],
    ['tokens may not import openai', { 'tokens/a.ts': "import '../openai/wire.ts'", 'openai/wire.ts': '' }],
    ['util may not import openai', { 'util/a.ts': "import '../openai/wire.ts'", 'openai/wire.ts': '' }],
    [
      'gateway may not import requester',
      { 'gateway/a.ts': "import '../requester/b.ts'", 'requester/b.ts': '' },
    ],
    ['index may not import state', { 'index.ts': "export { b } from './state/b.ts'", 'state/b.ts': '' }],
    ['nothing may import an index', { 'cli/a.ts': "import '../index.ts'", 'index.ts': '' }],
    ['nothing may import an index', { 'cli/a.ts': "import '../emulator/index.ts'", 'emulator/index.ts': '' }],
    ['is a barrel', { 'batch/index.ts': '' }],
    ['is in no known part of src', { 'misc/a.ts': '' }],
    ['which is no file of src', { 'batch/a.ts': "import './gone.ts'" }],
    ['which is no file of src', { 'batch/a.ts': "import '../../test/a.ts'" }],
    ['which is no file of src', { 'batch/a.ts': "import './b'", 'batch/b.ts': '' }],
    ['whose name is computed', { 'batch/a.ts': 'const load = (name: string) => import(name)' }],
    ['whose name is computed', { 'batch/a.ts': `import(\`./\${name}.ts\`)` }],
    ['imports the package itself', { 'cli/a.ts': "import { runTask } from 'nightshift'" }],
    ['only openai and client may', { 'requester/a.ts': "import type OpenAI from 'openai'" }],
    ['only openai and client may', { 'emulator/a.ts': "const sdk = await import('openai/resources/files')" }],
    ['the wire may import only its types', { 'openai/wire.ts': "import { APIError } from 'openai'" }],
    ['the wire may import only its types', { 'openai/wire.ts': "import { type APIError } from 'openai'" }],
    ['uses process.exit; only cli may', { 'task/a.ts': 'process.exit(1)' }],
    ['uses process.exitCode; only cli may', { 'task/a.ts': 'process.exitCode = 1' }],
    ['uses process.on; only cli may', { 'state/a.ts': "process.on('SIGINT', stop)" }],
    ['uses process.once; only cli may', { 'state/a.ts': "globalThis.process.once('SIGINT', stop)" }],
    ['uses process.argv; only cli may', { 'util/options.ts': 'const [, script] = process.argv' }],
    ['only util/options.ts may', { 'cli/a.ts': "process.env['HOME']" }],
    ['only util/options.ts may', { 'state/a.ts': `const where = \`\${process.env.HOME ?? '}'}/tasks\`` }],
    ['only util/options.ts may', { 'state/a.ts': "process['env']" }],
    ['takes process apart', { 'state/a.ts': 'const { env } = process\n' }],
    ['imports node:process', { 'state/a.ts': "import { env } from 'node:process'" }],
  ])('%s: %o', (problem, files) => {
    const problems = problemsOf(files)
    expect(problems).toHaveLength(1)
    expect(problems[0]).toContain(problem)
  })

  test.each([
    [{ 'batch/a.ts': "import type { Endpoint } from '../openai/wire.ts'", 'openai/wire.ts': '' }],
    [{ 'state/a.ts': "import '../openai/wire.ts'", 'openai/wire.ts': '' }],
    [{ 'openai/a.ts': "import OpenAI from 'openai'" }],
    [{ 'openai/wire.ts': "import type { A } from 'openai/resources/a'\nimport { z } from 'zod'" }],
    [{ 'client/index.ts': "export { A } from './a.ts'", 'client/a.ts': "import OpenAI from 'openai'" }],
    [{ 'cli/a.ts': "import '../gateway/b.ts'; process.exit(process.argv.length)", 'gateway/b.ts': '' }],
    [{ 'util/options.ts': 'export const read = (env = process.env) => env' }],
    [{ 'state/lock.ts': 'export const alive = (pid: number) => process.kill(pid, 0)' }],
    [{ 'task/a.ts': "// process.exit(1)\n/* process.env */ const text = 'process.argv'" }],
    [{ 'task/a.ts': 'child.process.on(x)' }],
    [{ 'task/a.ts': 'const process = (reply: string) => reply' }],
  ])('allow %o', (files) => {
    expect(problemsOf(files)).toEqual([])
  })

  test('find cycles, those of type-only imports too, and each once', () => {
    const files = {
      'batch/a.ts': "import type { B } from './b.ts'",
      'batch/b.ts': "export type { C } from './c.ts'",
      'batch/c.ts': "type A = import('./a.ts').A",
      'batch/d.ts': "import './a.ts'",
      'batch/e.ts': "import './e.ts'",
    }
    expect(problemsOf(files)).toEqual([
      'import cycle: batch/a.ts -> batch/b.ts -> batch/c.ts -> batch/a.ts',
      'import cycle: batch/e.ts -> batch/e.ts',
    ])
  })
})

describe('the scanner', () => {
  const specifiers = (source: string) => moduleReferences(source).map(({ specifier }) => specifier)

  test('finds every form', () => {
    const source = [
      "import 'a'",
      "import b from 'b'",
      "import type { C } from 'c'",
      "import d, { type D, from } from 'd'",
      "import * as e from 'e'; import f from 'f'",
      "import {\n  g, // from 'no'\n  type G,\n} from 'g'",
      "export * from 'h'; export * as i from 'i'",
      "export type { J } from 'j'",
      "export { k as default }\nexport { l } from 'l'",
      "import m = require('m')",
      "type N = typeof import('n')",
      "const o = await import('o', { with: { type: 'json' } })",
      "import type from 'p'",
      "export type * from 'q'",
    ].join('\n')
    expect(specifiers(source)).toEqual('abcdefghijlmnopq'.split(''))
    const types = moduleReferences(source).filter(({ typeOnly }) => typeOnly)
    expect(types.map(({ specifier }) => specifier)).toEqual(['c', 'j', 'q'])
  })

  test('is not misled by text that looks like an import', () => {
    const source = [
      "// import 'a'",
      "/* export * from 'b' */",
      'const text = "import \'c\'"',
      `const quoted = 'it\\'s' + \`import 'd' \${\`export * from 'e' \${{ a: '}' }.a}\`} import 'f'\``,
      "const pattern = /import 'g'[/'\"`]/.test(text)",
      'const ratio = total / count / 2',
      "const own = { import: 1, from: 'h' }; own.import; import.meta.url; loader.require('i')",
      "export { own }; const from = 'j'",
      "export const value = 1; export default function require2() { return 'k' }",
      'class A { constructor(a: string) { super(a) } toString() { return this.a } }',
      "import last from 'last'",
    ].join('\n')
    expect(specifiers(source)).toEqual(['last'])
    expect(moduleReferences(source)[0]?.line).toBe(11)
  })

  test('stops at text it cannot follow', () => {
    expect(() => moduleReferences("const a = 'open")).toThrow('line 1: a string does not end')
    expect(() => moduleReferences(`const a = \`open \${b}`)).toThrow('a template literal does not end')
  })
})
