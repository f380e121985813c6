import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdtemp, readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { expect, onTestFinished, test, vi } from 'vitest'
import { createEmulator } from '../../src/emulator/index.ts'
import { LockError, StateError } from '../../src/errors.ts'

const IDENTITY = '../../src/util/process-identity.ts'

/** The emulator on a system that tells nothing of a process but its pid; modules of its own, so that only it is there. */
async function emulatorWithoutProc() {
  vi.resetModules()
  vi.doMock(IDENTITY, { spy: true })
  onTestFinished(() => {
    vi.doUnmock(IDENTITY)
    vi.resetModules()
  })
  const { currentProcess } = await import('../../src/util/process-identity.ts')
  vi.mocked(currentProcess).mockReturnValue({ host: hostname(), pid: process.pid })
  const { createEmulator } = await import('../../src/emulator/index.ts')
  const { LockError } = await import('../../src/errors.ts')
  return { createEmulator, LockError }
}

async function newDir(): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'emulator-'))
  onTestFinished(() => rm(dir, { recursive: true, force: true }))
  return dir
}

const lockOf = (dir: string) => join(dir, 'emulator.lock')

test('a data folder is for one emulator at a time', async () => {
  const dataDir = await newDir()
  const first = createEmulator({ dataDir })
  expect(() => createEmulator({ dataDir })).toThrow(LockError)
  expect(() => createEmulator({ dataDir })).toThrow(
    `${dataDir} is in use by an emulator of process ${process.pid}`,
  )
  expect((await first.fetch('http://e/v1/batches')).status).toBe(200)
  await first.close()
  expect(existsSync(lockOf(dataDir))).toBe(false)
  await createEmulator({ dataDir }).close()
})

test('an emulator that cannot start leaves its folder free', async () => {
  const dataDir = await newDir()
  await createEmulator({ dataDir }).close()
  const record = join(dataDir, 'files', 'file-x.json')
  await writeFile(record, 'x')
  expect(() => createEmulator({ dataDir })).toThrow(StateError)
  await rm(record)
  await createEmulator({ dataDir }).close()
})

test('the folder of another process is free as soon as that one is killed', async () => {
  const dataDir = await newDir()
  const entry = new URL('../../src/emulator/index.ts', import.meta.url).href
  const program = `
    const { createEmulator } = await import(${JSON.stringify(entry)})
    createEmulator({ dataDir: process.argv[1] })
    console.log('open')
    setInterval(() => {}, 1000)`
  const child = spawn(process.execPath, ['--input-type=module', '--eval', program, dataDir], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  onTestFinished(() => void child.kill('SIGKILL'))
  await once(createInterface(child.stdout), 'line')
  expect(() => createEmulator({ dataDir })).toThrow(`process ${child.pid}`)
  child.kill('SIGKILL')
  await once(child, 'exit')
  const second = createEmulator({ dataDir })
  expect(await readFile(lockOf(dataDir), 'utf8')).toContain(`"pid":${process.pid}`)
  await second.close()
  expect((await readdir(dataDir)).sort()).toEqual(['batches', 'content', 'files'])
})

test.each([
  ['another machine', { epoch: 'e', host: 'elsewhere', bootId: 'b', pid: 1, processStart: '1' }],
  ['nobody knows whom', {}],
])('a lock of %s counts until it was not renewed for long', async (_who, holder) => {
  const dataDir = await newDir()
  await writeFile(lockOf(dataDir), JSON.stringify(holder))
  expect(() => createEmulator({ dataDir })).toThrow(LockError)
  const longAgo = new Date(Date.now() - 60_000)
  await utimes(lockOf(dataDir), longAgo, longAgo)
  await createEmulator({ dataDir }).close()
})

test('where nothing but its pid is known of a process, its folder is free when no process has that', async () => {
  const dataDir = await newDir()
  const host = hostname()
  const { createEmulator, LockError } = await emulatorWithoutProc()
  const child = spawn(process.execPath, ['--version'], { stdio: 'ignore' })
  const { pid } = child
  await once(child, 'exit')
  const holders = [
    { host, pid: process.pid },
    { host: 'elsewhere', pid },
    { host, pid, bootId: 'linux' },
  ]
  for (const holder of holders) {
    await writeFile(lockOf(dataDir), JSON.stringify({ epoch: 'e', ...holder }))
    expect(() => createEmulator({ dataDir })).toThrow(LockError)
  }
  await writeFile(lockOf(dataDir), JSON.stringify({ epoch: 'e', host, pid }))
  await createEmulator({ dataDir }).close()
})
