import { afterEach, expect, test, vi } from 'vitest'
import { runTask } from '../../src/cli/run-task.ts'
import type { Reporter } from '../../src/progress/reporter.ts'
import { TaskManager } from '../../src/task/task-manager.ts'
import { ask, temporaryFolder } from '../support/task-harness.ts'

class Three extends TaskManager {
  *generateRequests() {
    for (const key of ['a', 'b', 'c']) yield { key, body: ask(key) }
  }

  processResponse(): never {
    throw new Error('a dry run has no replies')
  }
}

afterEach(() => {
  vi.restoreAllMocks()
  process.exitCode = undefined
})

test('reporters of a program are told beside the terminal, and closed', async () => {
  const written: string[] = []
  for (const stream of [process.stdout, process.stderr])
    vi.spyOn(stream, 'write').mockImplementation((text) => written.push(`${text}`) > 0)
  const told: string[] = []
  const reporter: Reporter = {
    onEvent: ({ kind }) => void told.push(kind),
    close: async () => void told.push('closed'),
  }
  const argv = ['--emulator', '--dry-run', '--log', 'json', '--task-dir', temporaryFolder()]
  const summary = await runTask(Three, { name: 'three', argv, reporters: [reporter] })
  expect(summary).toMatchObject({ outcome: 'dry-run' })
  expect(told).toEqual(['run-started', 'closed'])
  expect(written.join('')).toContain('"kind":"run-started"')
})
