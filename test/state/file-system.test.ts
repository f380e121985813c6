import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { CommitLog } from '../../src/state/commit-log.ts'
import { type FileSystem, makeDurableDirectory, nodeFileSystem } from '../../src/state/file-system.ts'
import { systemCode } from '../../src/util/system-code.ts'
import { PowerLossFs } from '../support/power-loss-fs.ts'
import { folderOnDisk, temporaryFolder } from '../support/task-harness.ts'
import { VirtualClock } from '../support/virtual-clock.ts'

const places: [string, FileSystem, () => Promise<string>][] = [
  ['the real disk', nodeFileSystem, async () => folderOnDisk()],
  ['the simulated disk', new PowerLossFs(), async () => '/t'],
]

describe.each(places)('%s', (_, fs, makeHome) => {
  test('appends, reads by position, cuts and measures', async () => {
    const path = join(await makeHome(), 'a')
    const file = await fs.open(path, 'append')
    await file.append(Buffer.from('hello '))
    await file.append(Buffer.from('world'))
    await file.sync()
    const into = Buffer.alloc(20)
    expect([await file.read(into, 6), into.toString('utf8', 0, 5)]).toEqual([5, 'world'])
    expect(await file.read(into, 100)).toBe(0)
    await file.truncate(5)
    await file.append(Buffer.from('!'))
    expect([await file.size(), await fs.size(path), await fs.readText(path)]).toEqual([6, 6, 'hello!'])
    await file.close()
  })

  test('renames, lists, unlinks, and says what is missing', async () => {
    const home = await makeHome()
    await (await fs.open(join(home, 'b'), 'create')).close()
    await fs.rename(join(home, 'b'), join(home, 'c'))
    expect(await fs.list(home)).toContain('c')
    const code = (failing: Promise<unknown>) => failing.then(() => 'fine', systemCode)
    expect(await code(fs.open(join(home, 'c'), 'create'))).toBe('EEXIST')
    await fs.unlink(join(home, 'c'))
    await fs.syncDirectory(home)
    expect(await fs.size(join(home, 'c'))).toBeUndefined()
    expect(await code(fs.open(join(home, 'c'), 'read'))).toBe('ENOENT')
    expect(await code(fs.unlink(join(home, 'c')))).toBe('ENOENT')
    expect(await code(fs.readText(join(home, 'c')))).toBe('ENOENT')
  })
})

test('a commit log on the real disk survives being opened again, and its files are the owner’s alone', async () => {
  const directory = join(folderOnDisk(), 'deep', 'tasks')
  const open = () =>
    CommitLog.open({
      fs: nodeFileSystem,
      directory,
      name: 'task',
      guard: () => {},
      clock: new VirtualClock(),
    })
  const first = await open()
  for (const text of ['1\n', '2\n'])
    await first.commit({ steps: [text], appends: [{ file: '_a.jsonl', text }] })
  await first.close()
  await using second = await open()
  expect([second.seq, second.length('_a.jsonl')]).toEqual([2, 4])
  expect(await readFile(join(directory, 'task_a.jsonl'), 'utf8')).toBe('1\n2\n')
  for (const suffix of ['_a.jsonl', '_ledger.jsonl'])
    expect((await stat(join(directory, `task${suffix}`))).mode & 0o777).toBe(0o600)
})

test('directories are made with all their parents', async () => {
  const home = temporaryFolder()
  await makeDurableDirectory(nodeFileSystem, join(home, 'x', 'y'))
  await makeDurableDirectory(nodeFileSystem, join(home, 'x', 'y'))
  expect((await stat(join(home, 'x', 'y'))).isDirectory()).toBe(true)
})
