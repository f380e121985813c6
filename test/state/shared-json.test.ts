import { renameSync } from 'node:fs'
import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { type FileSystem, nodeFileSystem } from '../../src/state/file-system.ts'
import { SharedJson, type SharedJsonOptions } from '../../src/state/shared-json.ts'
import { TaskLock } from '../../src/state/task-lock.ts'
import { temporaryFolder } from '../support/folder.ts'
import { FaultyFs, systemError } from '../support/power-loss-fs.ts'
import { VirtualClock } from '../support/virtual-clock.ts'

const schema = z.object({ version: z.literal(1), sum: z.int() })
type Sum = z.infer<typeof schema>
const empty: Sum = { version: 1, sum: 0 }
const clock = new VirtualClock()

const shared = (path: string, extra: Partial<SharedJsonOptions<Sum>> = {}) =>
  new SharedJson<Sum>({ fs: nodeFileSystem, path, schema, version: 1, empty, clock, ...extra })
const adding = (by: number) => (data: Sum) => ({ data: { ...data, sum: data.sum + by } })
/** A disk that finds out only when a file is closed that there is no room. */
const withoutClosing = (fs: FileSystem): FileSystem => ({
  ...fs,
  open: async (path, openMode) => {
    const file = await fs.open(path, openMode)
    const close = async () => {
      await file.close()
      throw systemError('EDQUOT', path)
    }
    return {
      read: (into, position) => file.read(into, position),
      append: (bytes) => file.append(bytes),
      truncate: (length) => file.truncate(length),
      sync: () => file.sync(),
      size: () => file.size(),
      close,
    }
  },
})
const mode = async (path: string) => (await stat(path)).mode & 0o777

describe('a shared JSON file', () => {
  test('is made with its folder by the first write, for the owner only, and leaves nothing else', async () => {
    await using folder = await temporaryFolder()
    const path = join(folder.path, 'state', 'nightshift', 'sum.json')
    const file = shared(path)
    expect(await file.read()).toBe(empty)
    expect(await readdir(folder.path)).toEqual([])
    expect(await file.update(adding(3))).toEqual({ data: { version: 1, sum: 3 } })
    expect(await mode(path)).toBe(0o600)
    expect(await mode(dirname(path))).toBe(0o700)
    expect(await mode(join(folder.path, 'state'))).toBe(0o700)
    expect(await readdir(dirname(path))).toEqual(['sum.json'])
    expect(await shared(path).read()).toEqual({ version: 1, sum: 3 })
  })

  test('gives back all that the change returned, and writes nothing that is as it was', async () => {
    await using folder = await temporaryFolder()
    const path = join(folder.path, 'sum.json')
    const looked = await shared(path).update((data) => ({ data, answer: data.sum }))
    expect(looked.answer).toBe(0)
    expect(await readdir(folder.path)).toEqual([])
  })

  test('loses no change of several who change it at once', async () => {
    await using folder = await temporaryFolder()
    const path = join(folder.path, 'sum.json')
    await Promise.all([1, 2, 4, 8].map((by) => shared(path, { waitMs: 600_000 }).update(adding(by))))
    expect((await shared(path).read()).sum).toBe(15)
    expect(await readdir(folder.path)).toEqual(['sum.json'])
  })

  test.each(['', '{"version":1,"sum":', '{"version":1,"sum":"many"}', '[]'])(
    'damaged (%j) is put aside, said, and begun anew',
    async (text) => {
      await using folder = await temporaryFolder()
      const path = join(folder.path, 'sum.json')
      await writeFile(path, text)
      const said: string[] = []
      const file = shared(path, { onDamaged: (message) => said.push(message) })
      expect(await file.read()).toBe(empty)
      await file.update(adding(2))
      expect((await file.read()).sum).toBe(2)
      const [aside = '', ...others] = (await readdir(folder.path)).filter((name) => name !== 'sum.json')
      expect(others).toEqual([])
      expect(aside).toContain('sum.json.damaged-')
      expect(await readFile(join(folder.path, aside), 'utf8')).toBe(text)
      expect(said).toHaveLength(1)
      expect(said[0]).toContain(join(folder.path, aside))
    },
  )

  test('of a newer version is left alone', async () => {
    await using folder = await temporaryFolder()
    const path = join(folder.path, 'sum.json')
    await writeFile(path, '{"version":2,"sums":[]}')
    await expect(shared(path).read()).rejects.toMatchObject({ code: 'newer_version' })
    await expect(shared(path).update(adding(1))).rejects.toMatchObject({ code: 'newer_version' })
    expect(await readFile(path, 'utf8')).toBe('{"version":2,"sums":[]}')
    expect(await readdir(folder.path)).toEqual(['sum.json'])
  })

  test('that another holds is waited for, and given up in the end', async () => {
    await using folder = await temporaryFolder()
    const path = join(folder.path, 'sum.json')
    const holder = await TaskLock.acquire({ directory: folder.path, name: 'sum.json', clock })
    const before = clock.now()
    const given = shared(path, { waitMs: 500 }).update(adding(1))
    await expect(given).rejects.toMatchObject({ code: 'locked', message: expect.stringContaining(path) })
    await expect(given).rejects.not.toThrow(/--lock-timeout/)
    expect(clock.now() - before).toBe(500)
    const waiting = shared(path, { waitMs: 600_000 }).update(adding(1))
    await holder.release()
    expect((await waiting).data.sum).toBe(1)
  })

  test('is not written when the lock was lost meanwhile', async () => {
    await using folder = await temporaryFolder()
    const path = join(folder.path, 'sum.json')
    const file = shared(path)
    await file.update(adding(1))
    const losing = file.update((data) => {
      renameSync(`${path}.lock`, `${path}.gone`)
      return adding(5)(data)
    })
    await expect(losing).rejects.toMatchObject({ code: 'lock_lost' })
    expect((await file.read()).sum).toBe(1)
  })

  test('keeps the old content, and the lock is free again, when writing fails', async () => {
    await using folder = await temporaryFolder()
    const path = join(folder.path, 'sum.json')
    const fs = new FaultyFs(nodeFileSystem)
    const file = shared(path, { fs })
    await file.update(adding(1))
    fs.arm({ op: 'append', nth: 1, code: 'ENOSPC', written: 0.5 })
    await expect(file.update(adding(1))).rejects.toMatchObject({ code: 'disk_full' })
    fs.arm({ op: 'rename', nth: 1, code: 'EACCES' })
    await expect(file.update(adding(1))).rejects.toMatchObject({ code: 'write_failed' })
    expect(await readdir(folder.path)).toEqual(['sum.json'])
    expect((await file.update(adding(1))).data.sum).toBe(2)
  })

  test('that cannot be closed, as on a network disk, was not written: an error of its own kind', async () => {
    await using folder = await temporaryFolder()
    const path = join(folder.path, 'sum.json')
    await shared(path).update(adding(1))
    const fs = withoutClosing(nodeFileSystem)
    await expect(shared(path, { fs }).update(adding(1))).rejects.toMatchObject({ code: 'disk_full' })
    expect((await shared(path).read()).sum).toBe(1)
    expect(await readdir(folder.path)).toEqual(['sum.json'])
  })

  test('removes what a killed writer left half done', async () => {
    await using folder = await temporaryFolder()
    const path = join(folder.path, 'sum.json')
    await writeFile(`${path}.tmp-12-0123456789abcdef`, '{"ver')
    await shared(path).update(adding(1))
    expect(await readdir(folder.path)).toEqual(['sum.json'])
  })

  test('below what is no folder is a write error that names it', async () => {
    await using folder = await temporaryFolder()
    await writeFile(join(folder.path, 'file'), '')
    const path = join(folder.path, 'file', 'sum.json')
    await expect(shared(path).update(adding(1))).rejects.toMatchObject({
      code: 'write_failed',
      message: expect.stringContaining(path),
    })
  })

  test('a folder in its place is a read error', async () => {
    await using folder = await temporaryFolder()
    await mkdir(join(folder.path, 'sum.json'))
    const reading = shared(join(folder.path, 'sum.json')).read()
    await expect(reading).rejects.toMatchObject({ code: 'read_failed' })
  })
})
