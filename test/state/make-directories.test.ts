import { mkdir, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { makeDirectories } from '../../src/state/make-directories.ts'
import { temporaryFolder } from '../support/folder.ts'

test('makes what is missing and tells the topmost of it', async () => {
  await using folder = await temporaryFolder()
  const path = join(folder.path, 'a', 'b', 'c')
  expect(await makeDirectories(path, 0o700)).toBe(join(folder.path, 'a'))
  expect((await stat(path)).mode & 0o777).toBe(0o700)
  expect(await makeDirectories(path)).toBeUndefined()
  expect(await makeDirectories(join(path, 'd'))).toBe(join(path, 'd'))
})

test('goes well for two at one time', async () => {
  await using folder = await temporaryFolder()
  const path = join(folder.path, 'a', 'b', 'c')
  const made = await Promise.all(
    [makeDirectories(path), makeDirectories(path), mkdir(join(folder.path, 'a'))].map((one) =>
      one.catch(() => 'there'),
    ),
  )
  expect((await stat(path)).isDirectory()).toBe(true)
  expect(made).not.toEqual([undefined, undefined, undefined])
})

test('fails where a file is in the way, and where nothing can be made', async () => {
  await using folder = await temporaryFolder()
  const file = join(folder.path, 'file')
  await writeFile(file, '')
  await expect(makeDirectories(file)).rejects.toMatchObject({ code: 'EEXIST' })
  await expect(makeDirectories(join(file, 'a', 'b'))).rejects.toMatchObject({ code: 'ENOTDIR' })
  await expect(makeDirectories('/proc/no/folder')).rejects.toMatchObject({ code: 'ENOENT' })
})
