import { rmSync, statSync, writeFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { accept, reject } from '../../src/batch/verdict.ts'
import { stateFileSchema } from '../../src/requester/state-file.ts'
import { TaskManager } from '../../src/task/task-manager.ts'
import type { TaskResponse } from '../../src/task/task-types.ts'
import { ask, harness, names, readTaskFile, taskLines } from '../support/task-harness.ts'

class Many extends TaskManager {
  override createParams() {
    return { seed: 7 }
  }

  *generateRequests() {
    for (const key of names(300)) yield { key, body: ask(key) }
  }

  processResponse({ key }: TaskResponse) {
    return key === 'k-299' ? reject('the last') : accept(key)
  }
}

const stateOf = (dir: string) => stateFileSchema.parse(JSON.parse(readTaskFile(dir, '_state.json')))
const ledgerEnd = (dir: string) => taskLines<{ seq: number }>(dir, '_ledger.jsonl').at(-1)?.seq
const path = (dir: string) => `${dir}/task_state.json`

describe('the state file', () => {
  test('says at the end of a run what the ledger says, and stays small', async () => {
    const { options, dir } = harness()
    const summary = await new Many(options()).run()
    expect(stateOf(dir)).toMatchObject({
      version: 1,
      seq: ledgerEnd(dir),
      task: { className: 'Many', endpoint: '/v1/chat/completions', schema: '' },
      params: { seed: 7 },
      requests: { requests: 300, succeeded: 299, failed: 1, pending: 0 },
      spending: { sentRequests: 300, costNanoUsd: Math.round(summary.cost * 1e9) },
      tally: { batches: 1, retries: 0 },
      batches: [],
    })
    expect(readTaskFile(dir, '_state.json').length).toBeLessThan(3_000)
    expect(statSync(path(dir)).mode & 0o777).toBe(0o600)
  })

  test('lists batches that are under way, and holds no key, body or answer', async () => {
    const { options, dir } = harness({ answer: () => 'confidential answer' })
    const stop = new AbortController()
    const onEvent = (event: { kind: string; remoteId?: string }) => {
      if (event.kind === 'batch-changed' && event.remoteId) stop.abort()
    }
    const secret = { OPENAI_API_KEY: 'sk-very-secret-key' }
    await new Many(options({ env: secret, stop: stop.signal, reporters: [{ onEvent }] })).run()
    expect(stateOf(dir).batches).toMatchObject([
      {
        file: 1,
        phase: 'remote',
        endpoint: '/v1/chat/completions',
        model: 'gpt-5-mini',
        requests: 300,
        live: 300,
      },
    ])
    const files = readTaskFile(dir, '_state.json') + readTaskFile(dir, '_ledger.jsonl')
    expect(files).not.toContain('sk-very-secret-key')
    expect(files).not.toContain('confidential')
    expect(readTaskFile(dir, '_state.json')).not.toContain('k-17')
  })

  test('that was deleted is made again from the ledger', async () => {
    const { options, dir } = harness()
    await new Many(options()).run()
    const before = stateOf(dir)
    rmSync(path(dir))
    expect(await new Many(options()).run()).toMatchObject({
      complete: true,
      succeeded: 299,
      failed: 1,
      added: 0,
    })
    const { savedAt: _, ...rest } = before
    expect(stateOf(dir)).toMatchObject(rest)
  })

  test.each([
    ['is no JSON', '{"version":1,', 'state_invalid'],
    ['lacks what it must have', '{"version":1}', 'state_invalid'],
    ['is of a newer version', '{"version":99}', 'newer_version'],
  ])('that %s stops the run, names the file, and is left as it is', async (_, content, code) => {
    const { options, dir, seen } = harness()
    await new Many(options({ maxSessionRequests: 0 })).run()
    writeFileSync(path(dir), content)
    const run = new Many(options()).run()
    await expect(run).rejects.toMatchObject({ code, message: expect.stringContaining(path(dir)) })
    expect(readTaskFile(dir, '_state.json')).toBe(content)
    expect(seen).toEqual([])
  })

  test('from further on than the ledger stops the run and changes nothing', async () => {
    const { options, dir } = harness()
    await new Many(options({ maxSessionRequests: 0 })).run()
    const further = { ...stateOf(dir), seq: 1_000 }
    writeFileSync(path(dir), JSON.stringify(further))
    const ledger = readTaskFile(dir, '_ledger.jsonl')
    await expect(new Many(options()).run()).rejects.toMatchObject({ name: 'StateError' })
    expect(readTaskFile(dir, '_ledger.jsonl')).toBe(ledger)
    expect(readTaskFile(dir, '_state.json')).toBe(JSON.stringify(further))
  })

  test('without a ledger beside it stops the run', async () => {
    const { options, dir, seen } = harness()
    await new Many(options({ maxSessionRequests: 0 })).run()
    rmSync(`${dir}/task_ledger.jsonl`)
    await expect(new Many(options()).run()).rejects.toMatchObject({ name: 'StateError' })
    expect(seen).toEqual([])
  })
})
