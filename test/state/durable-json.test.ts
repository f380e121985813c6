import { readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { DurableJson, type DurableJsonOptions, readDurableJson } from '../../src/state/durable-json.ts'
import { type FileSystem, nodeFileSystem } from '../../src/state/file-system.ts'
import { FaultyFs, PowerLossFs } from '../support/power-loss-fs.ts'
import { temporaryFolder } from '../support/task-harness.ts'

const schema = z.object({ version: z.literal(2), counts: z.object({ done: z.int() }) })
const state = (done: number) => ({ version: 2 as const, counts: { done } })
const optionsFor = (fs: FileSystem, path = '/t/state.json') => ({ fs, path, schema, version: 2 })

const holding = (text: string) => new PowerLossFs(new Map([['/t/state.json', Buffer.from(text)]]))

describe('a durable JSON file', () => {
  test('is really written to disk, for the owner only, without litter', async () => {
    const directory = temporaryFolder()
    const path = join(directory, 'state.json')
    const file = await DurableJson.open(optionsFor(nodeFileSystem, path))
    expect(file.data).toBeUndefined()
    await file.write(state(1))
    expect(JSON.parse(await readFile(path, 'utf8'))).toEqual(state(1))
    expect((await stat(path)).mode & 0o777).toBe(0o600)
    await writeFile(`${path}.tmp-12-0123456789abcdef`, 'half')
    const again = await DurableJson.open(optionsFor(nodeFileSystem, path))
    expect(again.data).toEqual(state(1))
    expect(await readdir(directory)).toHaveLength(2)
    await again.write(state(2))
    expect(await readdir(directory)).toEqual(['state.json'])
  })

  test('writes in the order of the calls', async () => {
    const fs = new PowerLossFs()
    const file = await DurableJson.open(optionsFor(fs))
    await Promise.all([1, 2, 3].map((done) => file.write(state(done))))
    expect(file.data).toEqual(state(3))
    expect(await readDurableJson(optionsFor(fs))).toEqual(state(3))
  })

  test.each([
    ['disk_full', { op: 'append', nth: 1, code: 'ENOSPC', written: 0.5 }],
    ['fsync_failed', { op: 'sync', nth: 1, code: 'EIO' }],
    ['write_failed', { op: 'rename', nth: 1, code: 'EACCES' }],
  ] as const)('%s: keeps the old data in memory and on disk', async (code, fault) => {
    const disk = holding(JSON.stringify(state(1)))
    const fs = new FaultyFs(disk)
    const file = await DurableJson.open(optionsFor(fs))
    fs.arm(fault)
    await expect(file.write(state(2))).rejects.toMatchObject({ name: 'StateError', code })
    expect(file.data).toEqual(state(1))
    expect([...disk.disk.keys()]).toEqual(['/t/state.json'])
    await file.write(state(3))
    expect(await readDurableJson(optionsFor(disk))).toEqual(state(3))
  })

  test.each([
    ['state_invalid', '{"version": 2,\n "counts": {"done": }}', /line 2/],
    ['state_invalid', '{"version": 2,', /line 1/],
    ['state_invalid', '', /line 1/],
    ['state_invalid', '{"version":2,"counts":{"done":"many"}}', /counts\.done/],
    ['state_invalid', '[]', /the whole/],
    ['newer_version', '{"version":3,"counts":{}}', /version 3, which needs a newer Nightshift/],
    ['newer_version', '{"version":3,"nightshift":"9.1.0"}', /needs Nightshift 9\.1\.0 or later; this is \d/],
    ['newer_version', '{"version":3,"nightshift":9}', /needs a newer Nightshift/],
  ])('%s: %j is refused, named and left as it is', async (code, text, place) => {
    const fs = holding(text)
    const opening = DurableJson.open(optionsFor(fs))
    await expect(opening).rejects.toMatchObject({
      name: 'StateError',
      code,
      message: expect.stringMatching(place),
    })
    await expect(opening).rejects.toThrow('/t/state.json')
    expect(fs.ops).toBe(0)
  })

  test('an older version is brought forward', async () => {
    const fs = holding('{"version":1,"done":7}')
    const options: DurableJsonOptions<z.infer<typeof schema>> = {
      ...optionsFor(fs),
      migrate: ({ done }) => ({ version: 2, counts: { done } }),
    }
    expect((await DurableJson.open(options)).data).toEqual(state(7))
    expect(fs.ops).toBe(0)
  })
})
