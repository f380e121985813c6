import { execFile } from 'node:child_process'
import { access, cp, mkdir, readFile, rename, symlink, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { promisify } from 'node:util'
import { validate } from 'dockerfile-utils'
import { describe, expect, test } from 'vitest'
import { gatewayTable, variableOf } from '../src/util/gateway-options.ts'
import {
  execForm,
  type Instruction,
  isIgnored,
  type Stage,
  stagesOf,
  variablesOf,
} from './support/dockerfile.ts'
import { temporaryFolder } from './support/folder.ts'
import { freePort, startEmulator } from './support/gateway-process.ts'
import { startNode } from './support/program.ts'

const ROOT = join(import.meta.dirname, '..')
const read = (name: string): Promise<string> => readFile(join(ROOT, name), 'utf8')
const run = promisify(execFile)

const dockerfile = await read('Dockerfile')
const dockerignore = await read('.dockerignore')
const stages = stagesOf(dockerfile)
const last = stages.at(-1)?.instructions ?? []
const only = (name: string): Instruction => {
  const [found, ...others] = last.filter((instruction) => instruction.name === name)
  if (!found || others.length > 0) throw new Error(`the last stage has not one ${name}`)
  return found
}

describe('Dockerfile', () => {
  test('passes the linter, which finds what is wrong', () => {
    expect(validate(dockerfile)).toEqual([])
    expect(validate(dockerfile.replace('EXPOSE 9487', 'EXPOSE all'))).not.toEqual([])
    expect(validate(dockerfile.replace('WORKDIR', 'WORKDIRR'))).not.toEqual([])
  })

  test('copies what is there, and lets in nothing else', async () => {
    const copied = stages.flatMap(({ instructions }) =>
      instructions
        .filter(({ name, flags }) => name === 'COPY' && !flags.has('from'))
        .flatMap(({ words }) => words.slice(0, -1).map((word) => word.replace(/^\.\//, ''))),
    )
    expect(copied.length).toBeGreaterThan(4)
    for (const path of copied) {
      await access(join(ROOT, path))
      expect([path, isIgnored(dockerignore, path)]).toEqual([path, false])
    }
    for (const path of [
      '.git/config',
      '.env',
      'node_modules/pg/package.json',
      'gateway-data/gateway.db',
      'tasks/a',
      'test',
    ])
      expect([path, isIgnored(dockerignore, path)]).toEqual([path, true])
  })

  test('runs as a user of no rights, reachable from outside, with its data in a volume', () => {
    const variables = variablesOf(only('ENV'))
    expect(only('USER').text).toBe('node')
    expect(variables.get('NIGHTSHIFT_HOST')).toBe('0.0.0.0')
    expect(only('EXPOSE').text).toBe(variables.get('NIGHTSHIFT_PORT'))
    expect(only('VOLUME').text).toBe(variables.get('NIGHTSHIFT_DATA_DIR'))
    const known = ['NODE_ENV', ...Object.keys(gatewayTable).map(variableOf)]
    expect(known).toEqual(expect.arrayContaining([...variables.keys()]))
  })

  test('what it builds runs: it stops without keys, serves, is found healthy, and ends in order', {
    timeout: 300_000,
  }, async () => {
    await using folder = await temporaryFolder()
    await using emulator = await startEmulator()
    const image = await build(folder.path)
    const port = String(await freePort())

    const keyless = await image.start({})
    expect(keyless).toMatchObject({ code: 2, stdout: '' })
    expect(keyless.stderr).toMatch(
      /^error: a key is missing: set OPENAI_API_KEY [^\n]+ BATCH_SERVER_API_KEY [^\n]+\n$/,
    )

    // On loopback, for the machine that tests are run on.
    const variables = { NIGHTSHIFT_HOST: '127.0.0.1', NIGHTSHIFT_PORT: port }
    const keys = { OPENAI_API_KEY: 'sk-test', BATCH_SERVER_API_KEY: 'own-key', OPENAI_BASE_URL: emulator.url }
    const server = image.startServer({ ...variables, ...keys })
    expect(await server.prints('\n')).toBe(
      `Nightshift gateway at http://127.0.0.1:${port}/v1 (callers need a key; data in ${image.at('/data')}; stop it with Ctrl+C)\n`,
    )
    expect(await image.health(variables)).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('"status":"ok"'),
    })
    server.kill('SIGTERM')
    expect(await server.ended).toMatchObject({ code: 0, signal: null })
    expect(await image.health(variables)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('no gateway answers'),
    })
    await access(join(image.at('/data'), 'gateway.db'))
  })
})

/** The image as folders: the steps of the Dockerfile, with `/app` and `/data` below a folder of each stage. */
async function build(folder: string) {
  const places = new Map<string, string>()
  for (const [index, stage] of stages.entries()) {
    const root = join(folder, `stage${index}`)
    places.set(stage.name, root)
    await buildStage(stage, root, places)
  }
  const root = join(folder, `stage${stages.length - 1}`)
  const at = (path: string): string => join(root, path)
  const variables = Object.fromEntries(variablesOf(only('ENV')))
  const env = { ...variables, NIGHTSHIFT_DATA_DIR: at(variables.NIGHTSHIFT_DATA_DIR ?? '') }
  const start = (form: Instruction, given: Readonly<Record<string, string>>) => {
    const [, ...args] = execForm(form).map((word) => (word.startsWith('/') ? at(word) : word))
    return startNode(args, { ...env, ...given })
  }
  return {
    at,
    startServer: (given: Readonly<Record<string, string>>) => start(only('ENTRYPOINT'), given),
    start: (given: Readonly<Record<string, string>>) => start(only('ENTRYPOINT'), given).ended,
    health: (given: Readonly<Record<string, string>>) => start(only('HEALTHCHECK'), given).ended,
  }
}

async function buildStage(
  { instructions }: Stage,
  root: string,
  places: ReadonlyMap<string, string>,
): Promise<void> {
  let here = root
  await mkdir(root)
  for (const instruction of instructions) {
    const { name, words, flags } = instruction
    if (name === 'WORKDIR') {
      here = join(root, words[0] ?? '')
      await mkdir(here, { recursive: true })
    }
    const stage = flags.get('from')
    if (name === 'COPY' && stage === undefined) await copy(words, root, here)
    // What one stage hands on it does not need any more.
    if (name === 'COPY' && stage !== undefined)
      await rename(join(places.get(stage) ?? '', words[0] ?? ''), join(root, words[1] ?? ''))
    if (name === 'RUN') await runStep(instruction, root, here)
  }
}

async function copy(words: readonly string[], root: string, here: string): Promise<void> {
  const goal = words.at(-1) ?? ''
  const target = goal.startsWith('/') ? join(root, goal) : join(here, goal)
  for (const source of words.slice(0, -1))
    await cp(join(ROOT, source), goal.endsWith('/') ? join(target, basename(source)) : target, {
      recursive: true,
    })
}

async function runStep({ text }: Instruction, root: string, here: string): Promise<void> {
  // The packages to build with are those that these tests run with: of the same lock file.
  if (text.startsWith('npm ci') && !text.includes('--omit=dev'))
    return symlink(join(ROOT, 'node_modules'), join(here, 'node_modules'))
  const tools = join(root, '.tools')
  await mkdir(tools, { recursive: true })
  // The user of the image is not one of this machine.
  await writeFile(join(tools, 'chown'), '#!/bin/sh\n', { mode: 0o755 })
  const local = text
    .replaceAll(/(^|\s)\/(app|data)\b/g, `$1${root}/$2`)
    .replace('npm ci', 'npm ci --prefer-offline')
  await run('sh', ['-ec', local], {
    cwd: here,
    env: { ...process.env, PATH: `${tools}:${process.env.PATH}` },
  })
}

describe('compose.yaml', async () => {
  const compose = await read('compose.yaml')

  test('passes the linter, which finds what is wrong', { timeout: 60_000 }, async () => {
    await using folder = await temporaryFolder()
    const lint = async (text: string) => {
      const path = join(folder.path, 'compose.yaml')
      await writeFile(path, text)
      const { code, stdout, stderr } = await startNode(
        [join(ROOT, 'node_modules/dclint/bin/dclint.cjs'), '--max-warnings', '0', path],
        {},
      ).ended
      return { code, text: stdout + stderr }
    }
    expect(await lint(compose)).toMatchObject({ code: 0 })
    expect(await lint(compose.replace('cap_drop', 'cap_dropp'))).toMatchObject({
      code: 1,
      text: expect.stringContaining('must NOT have additional properties'),
    })
  })

  test('sets what the gateway and PostgreSQL know, at the ports and paths of the image', () => {
    const set = [...compose.matchAll(/^ {6}([A-Z_]+): /gm)].map(([, name]) => name ?? '')
    const keys = ['OPENAI_API_KEY', 'BATCH_SERVER_API_KEY', 'OPENAI_BASE_URL']
    const known = [
      ...keys,
      'POSTGRES_DB',
      'POSTGRES_USER',
      'POSTGRES_PASSWORD',
      // Of the driver of PostgreSQL.
      'PGPASSWORD',
      ...Object.keys(gatewayTable).map(variableOf),
    ]
    expect(set.length).toBeGreaterThan(8)
    expect(known).toEqual(expect.arrayContaining(set))
    expect(compose.match(/:9487'$/gm)).toHaveLength(2)
    expect(compose).toContain(`gateway-data:${only('VOLUME').text}`)
  })
})
