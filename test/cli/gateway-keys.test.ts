import { hash } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { gateway } from '../../src/cli/gateway.ts'
import { openStore } from '../../src/gateway/store/open-store.ts'
import { systemClock } from '../../src/util/clock.ts'
import { temporaryFolder } from '../support/folder.ts'

/** `nightshift gateway keys` on a folder of its own. */
async function rig() {
  const folder = await temporaryFolder()
  const keys = async (...argv: readonly string[]) => {
    const lines: string[] = []
    const code = await gateway(['keys', ...argv], {
      stdout: (line) => void lines.push(line),
      signal: new AbortController().signal,
      columns: 80,
      clock: systemClock,
      env: { NIGHTSHIFT_DATA_DIR: folder.path, PORT: 'none of its business' },
    })
    return { code, lines, text: lines.join('\n'), json: (): unknown => JSON.parse(lines.join('\n')) }
  }
  const server = () => openStore({ kind: 'sqlite', dataDir: folder.path, serve: true }, systemClock)
  return { ...folder, keys, server, [Symbol.asyncDispose]: folder[Symbol.asyncDispose] }
}

describe('nightshift gateway keys', () => {
  test('a new key is shown once, and only its digest is kept', async () => {
    await using place = await rig()
    const { lines, code } = await place.keys('add', 'acme', '--name', 'nightly job')
    const [key = ''] = lines
    expect(code).toBe(0)
    expect(key).toMatch(/^ns_[\w-]{43}$/)
    expect(lines.slice(1).join(' ')).toMatch(/tenant acme, id key_[0-9a-f]{12}, for gateways .* Keep it/)
    expect(lines.slice(1).join(' ')).toContain(place.path)

    const listed = await place.keys('list')
    expect(listed.text).toMatch(/^acme: \$0\.00 spent\n {2}key_[0-9a-f]{12} "nightly job", made .*Z$/)
    expect(listed.text).not.toContain(key)
    await using server = await withClose(place.server())
    expect(await server.keys()).toMatchObject([
      { tenant: 'acme', name: 'nightly job', hash: hash('sha256', key, 'base64url'), revokedAt: undefined },
    ])
    for (const file of ['gateway.db', 'gateway.db-wal'])
      expect(await readFile(join(place.path, file), 'latin1')).not.toContain(key.slice(3))
  })

  test('works beside a server, which sees what it does', async () => {
    await using place = await rig()
    await using server = await withClose(place.server())
    const added: unknown = (await place.keys('add', 'acme', '--json')).json()
    expect(added).toEqual({
      id: expect.stringMatching(/^key_/),
      tenant: 'acme',
      name: '',
      key: expect.stringMatching(/^ns_/),
    })
    const [key] = await server.keys()
    expect((await place.keys('revoke', key?.id ?? '')).text).toContain('is revoked')
    expect((await server.keys())[0]?.revokedAt).toBeTypeOf('number')
    expect((await place.keys('revoke', key?.id ?? '')).text).toContain('was revoked before')
    await expect(place.keys('revoke', 'key_nothing')).rejects.toThrow('there is no key "key_nothing"')
  })

  test('limits are the tenant’s: they stay until they are given anew', async () => {
    await using place = await rig()
    await place.keys('add', 'acme', '--max-spend', '2.5', '--calls-per-minute', '60')
    await place.keys('add', 'acme', '--max-spend', '5')
    await place.keys('add', 'other')
    expect((await place.keys('list', '--json')).json()).toMatchObject({
      tenants: [
        { name: 'acme', maxSpendUsd: 5, callsPerMinute: 60, spentUsd: 0, reservedUsd: 0 },
        { name: 'other', maxSpendUsd: null, callsPerMinute: null },
      ],
      keys: [{ tenant: 'acme' }, { tenant: 'acme' }, { tenant: 'other', name: '', revokedAt: null }],
    })
    expect((await place.keys('list')).lines[0]).toBe('acme: $0.00 spent, $5.00 at most, 60 calls a minute')
  })

  test('limits are changed, and dropped, without another key', async () => {
    await using place = await rig()
    await place.keys('add', 'acme', '--max-spend', '2', '--calls-per-minute', '60')
    expect((await place.keys('limit', 'acme', '--max-spend', '7.5')).lines).toEqual([
      'acme: $0.00 spent, $7.50 at most, 60 calls a minute',
    ])
    const dropped = await place.keys('limit', 'acme', '--no-limits', '--calls-per-minute', '5', '--json')
    expect(dropped.json()).toEqual({
      name: 'acme',
      maxSpendUsd: null,
      callsPerMinute: 5,
      spentUsd: 0,
      reservedUsd: 0,
    })
    // Who has the key of the environment is a tenant, too.
    await place.keys('limit', 'default', '--max-spend', '3')
    expect((await place.keys('list', '--json')).json()).toMatchObject({
      tenants: [{ name: 'acme' }, { name: 'default', maxSpendUsd: 3, callsPerMinute: null }],
      keys: [{ tenant: 'acme' }],
    })
    await expect(place.keys('limit', 'acne', '--no-limits')).rejects.toThrow(
      'there is no tenant "acne"; did you mean acme?',
    )
  })

  test('where there are no data, only a new key makes them', async () => {
    await using place = await rig()
    await expect(place.keys('list')).rejects.toThrow(`the folder ${place.path} has no data of a gateway`)
    await expect(place.keys('revoke', 'key_1')).rejects.toThrow('--data-dir')
    expect(await readdir(place.path)).toEqual([])
  })

  test('an empty list says how to make a key', async () => {
    await using place = await rig()
    await using _ = await withClose(place.server())
    expect((await place.keys('list')).text).toContain('nightshift gateway keys add TENANT')
  })

  test.each([
    [['add'], 'TENANT is missing: nightshift gateway keys add TENANT'],
    [['add', 'a b'], 'the tenant is "a b"'],
    [['add', 'acme', '--max-spend', '-1'], '--max-spend is -1'],
    [['add', 'acme', '--calls-per-minute', '0'], '--calls-per-minute is 0'],
    [['limit', 'acme'], 'nothing is to be changed: give --max-spend'],
    [['revoke'], 'ID is missing'],
    [['remove', 'x'], 'add or limit or list or revoke'],
    [['list', '--postgres', 'mysql://db'], '--postgres is "mysql://db"'],
  ])('%j is refused', async (argv, message) => {
    await using place = await rig()
    await expect(place.keys(...argv)).rejects.toThrow(message)
  })

  test.each([[['--help']], [['add', '--help']], [['list', '-h']]])('%j prints the help', async (argv) => {
    await using place = await rig()
    const { text, code } = await place.keys(...argv)
    expect([code, text]).toEqual([0, expect.stringContaining('nightshift gateway keys add TENANT')])
    expect(text.split('\n').filter((line) => line.length > 80)).toEqual([])
  })
})

async function withClose<Store extends { close(): Promise<void> }>(opening: Promise<Store>) {
  const store = await opening
  return Object.assign(store, { [Symbol.asyncDispose]: () => store.close() })
}
