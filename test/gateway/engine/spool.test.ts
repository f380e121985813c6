import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Spool, spooledLines, temporarySpool } from '../../../src/gateway/engine/spool.ts'

let dir = ''
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'nightshift-spool-'))
})
afterAll(() => rmSync(dir, { recursive: true, force: true }))

async function* linesOf(...lines: readonly string[]): AsyncGenerator<string> {
  yield* lines
}

async function read(path: string): Promise<string[]> {
  const lines: string[] = []
  for await (const line of spooledLines(path)) lines.push(line)
  return lines
}

test('what was written is read again, line by line, blank ones left out', async () => {
  const spool = new Spool(join(dir, 'one'))
  const file = await spool.write(linesOf('a', '', 'ü'.repeat(300_000), 'b'))
  expect(file).toMatchObject({ lines: 4, bytes: 2 + 1 + 600_001 + 2 })
  expect(await read(file.path)).toEqual(['a', 'ü'.repeat(300_000), 'b'])
  await spool.close()
  expect(readdirSync(dir)).not.toContain('one')
})

test('a folder that could not be made ready is made ready by the next try', async () => {
  let tries = 0
  const spool = new Spool(join(dir, 'two'), async () => {
    if (++tries === 1) throw new Error('the disk is away')
  })
  await expect(spool.write(linesOf('a'))).rejects.toThrow('the disk is away')
  expect(await read((await spool.write(linesOf('b'))).path)).toEqual(['b'])
})

test('a folder for temporary files that cannot be tidied is used all the same', async () => {
  const spool = temporarySpool(join(dir, 'not there yet'), 'rep_1')
  expect(await read((await spool.write(linesOf('a'))).path)).toEqual(['a'])
})
