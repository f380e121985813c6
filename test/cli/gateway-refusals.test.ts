import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { loadSqlite } from '../../src/util/sqlite.ts'
import { temporaryFolder } from '../support/folder.ts'
import { gatewayCommand } from '../support/gateway-command.ts'

const KEY = { OPENAI_API_KEY: 'sk-x' }

describe('nightshift gateway does not start, says why in one line, and leaves nothing behind:', () => {
  test.each([
    [[], {}, 2, 'set OPENAI_API_KEY to the key of the server that does the work'],
    [['--host', '0.0.0.0'], KEY, 2, 'set BATCH_SERVER_API_KEY'],
    [['--host', '::'], {}, 2, 'and BATCH_SERVER_API_KEY'],
    [['--host', '0.0.0.0', '--no-auth'], KEY, 2, '--i-trust-this-network'],
    [['--no-auth'], { ...KEY, API_KEY: 'k' }, 2, '--no-auth asks for no key, yet'],
    [['--port', '70000'], {}, 2, '--port is 70000, but must be a whole number from 0 to 65535'],
    [['--windowms', '5'], {}, 2, 'did you mean --window-ms?'],
    [['--api-key', 'sk-secret'], {}, 2, 'a key on the command line can be seen by others'],
    [['serve'], {}, 2, '"serve" is one word too many'],
    [[], { CLIENT_SERVING_MODE: 'turbo' }, 2, 'CLIENT_SERVING_MODE is "turbo"'],
    [[], { OPENAI_API_KEY: 'sk-secret\nsk-second' }, 2, 'OPENAI_API_KEY is no key'],
    [['--tls-cert', 'a.pem', '--tls-key', 'b.pem'], KEY, 2, '--tls-cert: a.pem cannot be read'],
    [[], { ...KEY, OPENAI_BASE_URL: 'http://localhost:9487/v1' }, 2, 'which is this gateway itself'],
    [['--postgres', 'postgres://127.0.0.1:1/x'], KEY, 3, 'cannot be reached'],
    [['health', '--port', '0'], {}, 2, '--port is 0, which is any'],
  ] as const)('%j with %j', async (args, env, code, message) => {
    await using folder = await temporaryFolder()
    const ended = await gatewayCommand(args, { NIGHTSHIFT_DATA_DIR: join(folder.path, 'data'), ...env })
    expect(ended).toMatchObject({ code, stdout: '', stderr: expect.stringMatching(/^error: [^\n]+\n$/) })
    expect(ended.stderr).toContain(message)
    expect(ended.stderr).not.toContain('sk-secret')
    expect(await readdir(folder.path)).toEqual([])
  })
})

test('data of a newer release are left as they are', async () => {
  await using folder = await temporaryFolder()
  const env = { ...KEY, NIGHTSHIFT_DATA_DIR: folder.path }
  expect(await gatewayCommand(['keys', 'add', 'acme'], env)).toMatchObject({ code: 0 })
  const database = new (loadSqlite().DatabaseSync)(join(folder.path, 'gateway.db'))
  database.exec("insert into schema_versions (version, needs) values (999, '99.0.0')")
  database.close()
  expect(await gatewayCommand(['--port', '0'], env)).toMatchObject({
    code: 1,
    stdout: '',
    stderr: expect.stringMatching(/^error: [^\n]+ 99\.0\.0[^\n]+\n$/),
  })
})
