import { once } from 'node:events'
import { createServer } from 'node:http'
import { describe, expect, test } from 'vitest'
import { accept } from '../../src/batch/verdict.ts'
import { TaskManager } from '../../src/task/task-manager.ts'
import { runProgram, startProgram } from '../support/program.ts'
import { ask, harness, NAME } from '../support/task-harness.ts'

const MAIN = 'src/cli/main.ts'

class One extends TaskManager {
  *generateRequests() {
    yield { key: 'only', body: ask('?') }
  }

  processResponse() {
    return accept('!')
  }
}

async function finished(): Promise<string> {
  const rig = harness()
  await new One(rig.options()).run()
  return rig.dir
}

describe('the program nightshift', { timeout: 60_000 }, () => {
  test('names every command in its help', async () => {
    const { code, stdout, stderr } = await runProgram(MAIN, ['--help'])
    expect([code, stderr]).toEqual([0, ''])
    for (const name of ['status', 'explain', 'batches', 'files', 'gateway', 'emulate', 'wandb', 'lint'])
      expect(stdout).toMatch(new RegExp(`\\n  ${name} +\\w`))
    expect(stdout.split('\n').filter((line) => line.length > 95)).toEqual([])
  })

  test.concurrent.each(['status', 'explain', 'batches', 'files', 'gateway', 'wandb'])(
    'has a help for %s',
    async (name) => {
      const { code, stdout, stderr } = await runProgram(MAIN, [name, '--help'])
      expect([code, stderr]).toEqual([0, ''])
      expect(stdout).toContain(`nightshift ${name} `)
      expect(stdout.split('\n').filter((line) => line.length > 80)).toEqual([])
    },
  )

  test('ends with 0, 1 and 2, and one line on standard error', async () => {
    const dir = await finished()
    const ended = async (...args: string[]) => {
      const { code, stdout, stderr } = await runProgram(MAIN, [...args, '--task-dir', dir])
      expect(stderr).toMatch(code === 0 ? /^$/ : /^error: [^\n]+\n$/)
      return { code, text: stdout + stderr }
    }
    expect(await ended('status', NAME)).toMatchObject({
      code: 0,
      text: expect.stringContaining('not running'),
    })
    expect(await ended('explain', NAME, 'only')).toMatchObject({ code: 0 })
    expect(await ended('explain', NAME, 'onyl')).toMatchObject({
      code: 1,
      text: expect.stringContaining('did you mean "only"?'),
    })
    expect(await ended('status', 'another')).toMatchObject({
      code: 1,
      text: expect.stringContaining('there is no task "another"'),
    })
    expect(await ended('files', 'list', NAME)).toMatchObject({
      code: 2,
      text: expect.stringContaining('OPENAI_API_KEY'),
    })
    expect(await ended('status')).toMatchObject({ code: 2, text: expect.stringContaining('TASK is missing') })
  })

  test.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const)('ends at once at %s, even while a server keeps silent', async (signal, exitCode) => {
    const dir = await finished()
    const asked = Promise.withResolvers<void>()
    const server = createServer(() => asked.resolve()).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const address = server.address()
    const port = typeof address === 'object' ? address?.port : 0
    const env = { OPENAI_API_KEY: 'sk-test', OPENAI_BASE_URL: `http://127.0.0.1:${port}/v1` }
    const program = startProgram(MAIN, ['batches', 'list', NAME, '--task-dir', dir], env)
    await asked.promise
    program.kill(signal)
    expect(await program.ended).toEqual({ code: exitCode, signal: null, stdout: '', stderr: '' })
    server.closeAllConnections()
    server.close()
  })
})
