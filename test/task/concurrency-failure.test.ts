import { expect, test } from 'vitest'
import { accept } from '../../src/batch/verdict.ts'
import { TaskManager } from '../../src/task/task-manager.ts'
import { ask, harness } from '../support/task-harness.ts'

test('a hook that fails last, with others beside it, ends the run instead of leaving it waiting', async () => {
  class FailsLast extends TaskManager {
    *generateRequests() {
      for (const key of ['a', 'b', 'c', 'd', 'e']) yield { key, body: ask(key) }
    }

    async processResponse({ key }: { key: string }) {
      for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve))
      if (key === 'e') throw new Error('no')
      return accept({ key })
    }
  }
  const { options } = harness()
  const run = new FailsLast({ ...options(), processConcurrency: 4, forceDirect: true }).run()
  await expect(run).rejects.toThrow('processResponse failed for key "e": no')
})

test('a body that was changed between runs may still be yielded twice', async () => {
  let text = 'first'
  class Twice extends TaskManager {
    *generateRequests() {
      yield { key: 'x', body: ask(text) }
      yield { key: 'x', body: ask(text) }
    }

    processResponse() {
      return accept()
    }
  }
  const { options } = harness()
  await new Twice(options()).run()
  text = 'second'
  expect(await new Twice(options()).run()).toMatchObject({ complete: true, requests: 1 })
})
