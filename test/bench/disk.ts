import { open, rm, statfs } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { median } from './figures.ts'
import { newFolder } from './processes.ts'

/** Numbers of file systems in memory, tmpfs and ramfs, as Linux gives them. */
const IN_MEMORY: ReadonlySet<number> = new Set([0x01_02_19_94, 0x85_84_58_f6])
const WRITES = 50
const PAGE = Buffer.alloc(4096, 'x')

/** Where data are put, and how long a page takes there until it is durable. Throws for a place that is in memory. */
export async function noteOnDisk(): Promise<string> {
  await using folder = await newFolder()
  return `data below ${dirname(folder.path)}, on a disk where a sync takes ${(await syncMs(folder.path)).toFixed(1)} ms`
}

async function syncMs(folder: string): Promise<number> {
  if (IN_MEMORY.has((await statfs(folder)).type))
    throw new Error(`${folder} is in memory, where nothing is made durable: set TMPDIR to a folder on a disk`)
  const path = join(folder, 'sync-test')
  const file = await open(path, 'w')
  try {
    const times: number[] = []
    for (let count = 0; count < WRITES; count++) {
      const startedAt = performance.now()
      await file.write(PAGE)
      await file.datasync()
      times.push(performance.now() - startedAt)
    }
    return median(times)
  } finally {
    await file.close()
    await rm(path)
  }
}
