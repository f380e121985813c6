import { join } from 'node:path'
import { expect, test } from 'vitest'
import { REPLY_CACHE_FILE } from '../../src/state/reply-cache.ts'
import { loadSqlite } from '../../src/util/sqlite.ts'
import { outputOf, startCorpusTopics, untilLedgerGrew } from '../support/corpus-run.ts'
import { startEmulator } from '../support/emulator-process.ts'
import { temporaryFolder } from '../support/folder.ts'

const SENTENCES = 100

const sum = (numbers: Readonly<Record<string, number>>): number =>
  Object.values(numbers).reduce((total, number) => total + number, 0)

test('tasks share a cache while they run, though one of them is killed; what they paid for is paid for once', {
  timeout: 120_000,
}, async () => {
  await using emulator = await startEmulator()
  await using folder = await temporaryFolder()
  const cache = join(folder.path, 'cache')
  const dirOf = (name: string) => join(folder.path, name)
  const options = ['--sentences', `${SENTENCES}`, '--max-batch-requests', '20', '--cache', cache]
  const start = (name: string) => startCorpusTopics(dirOf(name), emulator, options)
  const asked = async () => {
    const { inBatches, directly } = await emulator.report()
    return sum(inBatches) + sum(directly)
  }

  const [killed, whole] = [start('killed'), start('whole')]
  await killed.says('requests')
  await untilLedgerGrew(dirOf('killed'), 8)
  killed.kill('SIGKILL')
  expect(await killed.ended).toMatchObject({ signal: 'SIGKILL' })
  expect(await whole.ended).toMatchObject({ code: 0 })
  expect(await start('killed').ended).toMatchObject({ code: 0 })
  const before = await asked()

  const third = await start('third').ended
  expect(third, third.stderr).toMatchObject({ code: 0 })
  expect(await asked()).toBe(before)
  for (const name of ['killed', 'whole', 'third']) expect((await outputOf(dirOf(name))).size).toBe(SENTENCES)
  const database = new (loadSqlite().DatabaseSync)(join(cache, REPLY_CACHE_FILE))
  expect(database.prepare('PRAGMA integrity_check').get()).toEqual({ integrity_check: 'ok' })
  database.close()
})
