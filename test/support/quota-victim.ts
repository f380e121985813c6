/**
 * A task that takes room in a quota file, and is killed in the middle of writing it: `path task operation`. Of a write
 * half of the bytes get to the disk.
 */
import { QuotaFile } from '../../src/requester/quota-board.ts'
import { type FileSystem, nodeFileSystem, type OpenFile } from '../../src/state/file-system.ts'
import { systemClock } from '../../src/util/clock.ts'

const [path, task = '', operation] = process.argv.slice(2)

/** Nothing of this process happens after it. */
async function dieAt(name: string): Promise<void> {
  if (name !== operation) return
  process.kill(process.pid, 'SIGKILL')
  await new Promise(() => {})
}

const dyingFile = (file: OpenFile): OpenFile => ({
  read: (into, position) => file.read(into, position),
  append: async (bytes) => {
    await file.append(bytes.subarray(0, bytes.length / 2))
    await dieAt('append')
    await file.append(bytes.subarray(bytes.length / 2))
  },
  truncate: (length) => file.truncate(length),
  sync: () => dieAt('sync').then(() => file.sync()),
  size: () => file.size(),
  close: () => file.close(),
})

const fs: FileSystem = {
  ...nodeFileSystem,
  open: async (name, mode) => {
    await dieAt('open')
    return dyingFile(await nodeFileSystem.open(name, mode))
  },
  rename: (from, to) => dieAt('rename').then(() => nodeFileSystem.rename(from, to)),
  syncDirectory: (name) => dieAt('syncDirectory').then(() => nodeFileSystem.syncDirectory(name)),
}

await new QuotaFile({ path, clock: systemClock, waitMs: 60_000, task, fs }).reserve(
  `${task}-1`,
  'gpt-5-mini',
  10,
)
