import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { cp, mkdir, open, readdir, readFile, rename, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { DatabaseSync } from 'node:sqlite'
import fc from 'fast-check'
import { afterEach, describe, expect, onTestFinished, test, vi } from 'vitest'
import { type NewReply, REPLY_CACHE_FILE, ReplyCache, replyKey } from '../../src/state/reply-cache.ts'
import { inTransaction, loadSqlite, withoutSqliteWarning } from '../../src/util/sqlite.ts'
import { temporaryFolder } from '../support/folder.ts'
import { VirtualClock } from '../support/virtual-clock.ts'

const ENDPOINT = '/v1/chat/completions'
const START = Date.UTC(2026, 0, 1)

const keyOf = (body: string): string => replyKey(ENDPOINT, body)
const reply = (request: string, body: string): NewReply => ({
  key: keyOf(request),
  model: 'gpt-5-mini',
  body,
})

async function emptyFolder(): Promise<string> {
  const folder = await temporaryFolder()
  onTestFinished(() => folder[Symbol.asyncDispose]())
  return folder.path
}

/** A cache whose troubles are collected, and which waits for nobody. */
async function openCache(directory: string, clock = new VirtualClock(START)) {
  const troubles: string[] = []
  const onTrouble = (message: string) => troubles.push(message)
  const cache = await ReplyCache.open({ directory, clock, onTrouble, lockWaitMs: 0 })
  onTestFinished(() => cache.close())
  return { cache, troubles, clock }
}

const bodyIn = (cache: ReplyCache, request: string): string | undefined =>
  cache.lookup([keyOf(request)]).get(keyOf(request))?.body

/** The file as another program sees it. */
function openRaw(directory: string) {
  const { DatabaseSync } = loadSqlite()
  const database = new DatabaseSync(join(directory, REPLY_CACHE_FILE))
  onTestFinished(() => {
    if (database.isOpen) database.close()
  })
  return database
}

describe('a key', () => {
  test('is a hash of endpoint and body', () => {
    // As `sha256sum` has it.
    expect(keyOf('{"model":"gpt-5-mini"}')).toBe(
      '088858f2dddd6b0b88958286581042ca123ea45ec2e3f8eccfd34be5d0db2f71',
    )
  })

  test('is another for another endpoint, body, or count', () => {
    const asked = [
      keyOf('{}'),
      replyKey('/v1/responses', '{}'),
      keyOf('{ }'),
      replyKey(ENDPOINT, '{}', 2),
      replyKey(ENDPOINT, '{}', 3),
    ]
    expect(new Set(asked).size).toBe(asked.length)
    expect(replyKey(ENDPOINT, '{}', 1)).toBe(asked[0])
  })
})

describe('one process', () => {
  test('finds what it kept, in this run and the next, and nothing else', async () => {
    const directory = await emptyFolder()
    const { cache, clock } = await openCache(directory)
    cache.put([reply('a', '{"text":"A"}'), reply('b', '{"text":"B"}')])
    const expected = new Map([
      [keyOf('a'), { model: 'gpt-5-mini', body: '{"text":"A"}', at: START }],
      [keyOf('b'), { model: 'gpt-5-mini', body: '{"text":"B"}', at: START }],
    ])
    const asked = ['b', 'a', 'c', 'a'].map(keyOf)
    expect(cache.lookup(asked)).toEqual(expected)
    cache.close()
    cache.close()

    clock.advance(1000)
    const next = await openCache(directory, clock)
    expect(next.cache.lookup(asked)).toEqual(expected)
    next.cache.put([reply('a', '{"text":"newer"}')])
    expect(next.cache.lookup(asked).get(keyOf('a'))).toMatchObject({
      body: '{"text":"newer"}',
      at: START + 1000,
    })
    expect(next.cache.lookup([])).toEqual(new Map())
    expect(next.troubles).toEqual([])
  })

  test('gives every text back as it was', async () => {
    const { cache } = await openCache(await emptyFolder())
    const text = fc.oneof(fc.json(), fc.string({ unit: 'binary' }), fc.constant('x'.repeat(100_000)))
    fc.assert(
      fc.property(fc.dictionary(fc.string(), text), (bodies) => {
        const entries = Object.entries(bodies)
        cache.put(entries.map(([request, body]) => reply(request, body)))
        const found = cache.lookup(entries.map(([request]) => keyOf(request)))
        for (const [request, body] of entries) expect(found.get(keyOf(request))?.body).toBe(body)
        expect(found.size).toBe(entries.length)
      }),
      { numRuns: 50 },
    )
  })

  test('makes its folders and files for their owner alone', async () => {
    const directory = join(await emptyFolder(), 'shared', 'cache')
    const { cache } = await openCache(directory)
    cache.put([reply('a', '{}')])
    const modeOf = async (path: string) => ((await stat(path)).mode & 0o777).toString(8)
    expect(await modeOf(directory)).toBe('700')
    const files = await readdir(directory)
    expect(files.sort()).toEqual([REPLY_CACHE_FILE, `${REPLY_CACHE_FILE}-shm`, `${REPLY_CACHE_FILE}-wal`])
    for (const file of files) expect(await modeOf(join(directory, file))).toBe('600')
    cache.close()
    expect(await readdir(directory)).toEqual([REPLY_CACHE_FILE])
  })

  test('can be moved', async () => {
    const home = await emptyFolder()
    const { cache } = await openCache(join(home, 'here'))
    cache.put([reply('a', '{"text":"A"}')])
    cache.close()
    await rename(join(home, 'here'), join(home, 'there'))
    const moved = await openCache(join(home, 'there'))
    expect(bodyIn(moved.cache, 'a')).toBe('{"text":"A"}')
  })

  test('a name that looks like an address is a folder like any other', async () => {
    const home = await emptyFolder()
    const before = process.cwd()
    process.chdir(home)
    onTestFinished(() => process.chdir(before))
    await openCache('file:cache?mode=memory')
    expect(await readdir(join(home, 'file:cache?mode=memory'))).toContain(REPLY_CACHE_FILE)
  })

  test('an empty file, as a kill may leave, is begun anew', async () => {
    const directory = await emptyFolder()
    await writeFile(join(directory, REPLY_CACHE_FILE), '')
    const { cache } = await openCache(directory)
    cache.put([reply('a', '{}')])
    expect(bodyIn(cache, 'a')).toBe('{}')
  })
})

describe('a file that cannot be used is refused, and stays as it is', () => {
  const refusal = async (directory: string) => {
    const path = join(directory, REPLY_CACHE_FILE)
    const before = await readFile(path)
    const error: unknown = await openCache(directory).catch((error: unknown) => error)
    expect((await readFile(path)).equals(before)).toBe(true)
    expect(await readdir(directory)).toEqual([REPLY_CACHE_FILE])
    return error
  }
  const invalid = (directory: string, why: string) => ({
    name: 'StateError',
    code: 'cache_invalid',
    message: expect.stringMatching(
      new RegExp(`^${join(directory, REPLY_CACHE_FILE)} is damaged.*${why}.*delete it.*--cache`, 's'),
    ),
  })

  test('no database', async () => {
    const directory = await emptyFolder()
    await writeFile(join(directory, REPLY_CACHE_FILE), 'these are my notes, and I want to keep them')
    expect(await refusal(directory)).toMatchObject(invalid(directory, 'not a database'))
  })

  test("another program's database", async () => {
    const directory = await emptyFolder()
    const other = openRaw(directory)
    other.exec('CREATE TABLE replies (key TEXT, body TEXT)')
    other.close()
    expect(await refusal(directory)).toMatchObject(invalid(directory, 'another program'))
  })

  test('one without its tables', async () => {
    const directory = await emptyFolder()
    const { cache } = await openCache(directory)
    cache.close()
    const raw = openRaw(directory)
    raw.exec('DROP TABLE replies')
    raw.close()
    expect(await refusal(directory)).toMatchObject(invalid(directory, 'no such table'))
  })

  test('one of a newer release, which says what it needs', async () => {
    const directory = await emptyFolder()
    const { cache } = await openCache(directory)
    cache.close()
    const raw = openRaw(directory)
    raw.exec("UPDATE about SET needs = '9.1.0'; DROP TABLE replies; PRAGMA user_version = 2")
    raw.close()
    expect(await refusal(directory)).toMatchObject({
      code: 'newer_version',
      message: expect.stringContaining(
        `${join(directory, REPLY_CACHE_FILE)} needs Nightshift 9.1.0 or later`,
      ),
    })
  })

  test('a folder in its place, and a file in the place of its folder', async () => {
    const home = await emptyFolder()
    await mkdir(join(home, 'a', REPLY_CACHE_FILE), { recursive: true })
    await writeFile(join(home, 'b'), '')
    for (const name of ['a', 'b', 'b/c']) {
      await expect(openCache(join(home, name))).rejects.toMatchObject({
        name: 'StateError',
        code: 'cache_unusable',
        message: expect.stringContaining(join(home, name, REPLY_CACHE_FILE)),
      })
    }
  })
})

describe('damage that shows later', () => {
  test('in the structure: nothing is taken from it, and keeping is given up with a word', async () => {
    const directory = await emptyFolder()
    const path = join(directory, REPLY_CACHE_FILE)
    const filled = await openCache(directory)
    const many = Array.from({ length: 2_000 }, (_, at) => reply(`${at}`, `{"text":"${'x'.repeat(200)}"}`))
    filled.cache.put(many)
    filled.cache.close()
    const file = await open(path, 'r+')
    const { size } = await file.stat()
    // All but the pages with the schema.
    await file.write(Buffer.alloc(size - 8 * 4096, 0xff), 0, size - 8 * 4096, 8 * 4096)
    await file.close()
    const { cache, troubles } = await openCache(directory)
    expect(() => cache.lookup(many.map(({ key }) => key))).toThrow(
      expect.objectContaining({ code: 'cache_invalid', message: expect.stringContaining(path) }),
    )
    cache.put(many)
    expect(troubles).toEqual([expect.stringContaining('malformed')])
  })

  test('in a reply alone', async () => {
    const directory = await emptyFolder()
    const { cache } = await openCache(directory)
    cache.put([reply('a', '{"text":"hot"}'), reply('b', '{}')])
    openRaw(directory).exec(`UPDATE replies SET body = replace(body, 'hot', 'not')`)
    expect(bodyIn(cache, 'b')).toBe('{}')
    expect(() => bodyIn(cache, 'a')).toThrow(
      expect.objectContaining({ code: 'cache_invalid', message: expect.stringContaining('checksum') }),
    )
  })
})

const children: ChildProcess[] = []
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL')
})

const source = (file: string): string => JSON.stringify(new URL(`../../src/${file}`, import.meta.url).href)

/**
 * Another process, and what it prints. `program` uses `openCache`, `clock`, `reply`, `say` and `told`, which resolves
 * when this process tells it to go on.
 */
function otherProcess(directory: string, program: string, shell = 'exec "$@"') {
  const text = `
    const { ReplyCache, replyKey } = await import(${source('state/reply-cache.ts')})
    const { once } = await import('node:events')
    const say = (what) => console.log(JSON.stringify(what))
    const told = async () => { await once(process.stdin, 'data'); process.stdin.pause() }
    const clock = { ms: 0, now: () => clock.ms }
    const openCache = () => ReplyCache.open({
      directory: ${JSON.stringify(directory)}, clock, onTrouble: (trouble) => say({ trouble }),
    })
    const reply = (request, body) => ({ key: replyKey('${ENDPOINT}', request), model: 'gpt-5-mini', body })
    ${program}`
  const command = [process.execPath, '--input-type=module', '-e', text]
  const child = spawn('bash', ['-c', shell, 'bash', ...command], { stdio: 'pipe' })
  children.push(child)
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  let complaints = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    complaints += text
  })
  const ended = once(child, 'close').then(([code, signal]) => ({ code, signal, complaints }))
  const next = async (): Promise<unknown> => {
    const { value } = await lines.next()
    if (value === undefined) throw new Error(`the other process ended: ${complaints}`)
    return JSON.parse(value)
  }
  return { child, ended, next, tell: () => child.stdin.write('go on') }
}

describe('several processes', () => {
  test('may all begin at once, and keep replies side by side', { timeout: 60_000 }, async () => {
    const directory = await emptyFolder()
    const names = ['a', 'b', 'c', 'd', 'e', 'f']
    const fills = (name: string) => `
      say('ready')
      await told()
      const cache = await openCache()
      for (let at = 0; at < 200; at++)
        cache.put([reply('${name}' + at, '{"of":"${name}"}'), reply('both' + at, '{"of":"${name}"}')])
      cache.close()`
    const processes = names.map((name) => otherProcess(directory, fills(name)))
    for (const { next } of processes) expect(await next()).toBe('ready')
    for (const { tell } of processes) tell()
    for (const { ended } of processes) expect(await ended).toEqual({ code: 0, signal: null, complaints: '' })
    const { cache, troubles } = await openCache(directory)
    const own = names.flatMap((name) => Array.from({ length: 200 }, (_, at) => keyOf(`${name}${at}`)))
    const shared = Array.from({ length: 200 }, (_, at) => keyOf(`both${at}`))
    expect(cache.lookup([...own, ...shared]).size).toBe(1400)
    expect(troubles).toEqual([])
  })

  test('see at once what another has kept', async () => {
    const directory = await emptyFolder()
    const { cache } = await openCache(directory)
    expect(bodyIn(cache, 'a')).toBeUndefined()
    const other = otherProcess(
      directory,
      `const cache = await openCache(); cache.put([reply('a', '"A"')]); say('kept'); await told()`,
    )
    expect(await other.next()).toBe('kept')
    expect(bodyIn(cache, 'a')).toBe('"A"')
  })

  test('kill -9 at any time leaves a whole file, with whole groups only', { timeout: 60_000 }, async () => {
    const directory = await emptyFolder()
    const fills = `
      const cache = await openCache()
      for (let group = 0; ; group++) {
        cache.put(Array.from({ length: 50 }, (_, at) => reply(group + '/' + at, JSON.stringify('x'.repeat(500)))))
        say(group)
      }`
    for (const kills of [1, 5, 17]) {
      const other = otherProcess(directory, fills)
      let told = -1
      while (told < kills) told = Number(await other.next())
      other.child.kill('SIGKILL')
      await other.ended
      const { cache } = await openCache(directory)
      const inGroup = (group: number) =>
        cache.lookup(Array.from({ length: 50 }, (_, at) => keyOf(`${group}/${at}`))).size
      for (let group = 0; group <= told; group++) expect(inGroup(group)).toBe(50)
      expect([0, 50]).toContain(inGroup(told + 1))
      cache.close()
      expect(openRaw(directory).prepare('PRAGMA integrity_check').get()).toEqual({ integrity_check: 'ok' })
    }
  })

  test('a copy taken with the files beside it, while it is written to, can be used', async () => {
    const home = await emptyFolder()
    const directory = join(home, 'cache')
    const { cache } = await openCache(directory)
    cache.put([reply('a', '"A"')])
    await cp(directory, join(home, 'copy'), { recursive: true })
    const copy = await openCache(join(home, 'copy'))
    expect(bodyIn(copy.cache, 'a')).toBe('"A"')
  })
})

describe('trouble', () => {
  test('a writer that is stuck: told once, lookups go on, and keeping too when it is gone', async () => {
    const directory = await emptyFolder()
    const { cache, troubles, clock } = await openCache(directory)
    cache.put([reply('a', '"A"')])
    const stuck = openRaw(directory)
    stuck.exec('BEGIN IMMEDIATE')
    cache.put([reply('b', '"B"')])
    cache.put([reply('c', '"C"')])
    expect(troubles).toEqual([
      expect.stringContaining(`${join(directory, REPLY_CACHE_FILE)} (database is locked)`),
    ])
    expect(bodyIn(cache, 'a')).toBe('"A"')

    clock.advance(30_000)
    cache.put([reply('d', '"D"')])
    expect(troubles).toHaveLength(1)
    stuck.exec('ROLLBACK')
    // Not yet: whoever is stuck must not be waited for at every answer.
    cache.put([reply('e', '"E"')])
    clock.advance(30_000)
    cache.put([reply('f', '"F"')])
    const kept = ['a', 'b', 'c', 'd', 'e', 'f'].filter((request) => bodyIn(cache, request) !== undefined)
    expect(kept).toEqual(['a', 'f'])

    stuck.exec('BEGIN IMMEDIATE')
    cache.put([reply('g', '"G"')])
    expect(troubles).toHaveLength(2)
  })

  test('a clock that is set back lengthens no pause', async () => {
    const directory = await emptyFolder()
    const { cache, clock } = await openCache(directory)
    const stuck = openRaw(directory)
    stuck.exec('BEGIN IMMEDIATE')
    cache.put([reply('a', '"A"')])
    stuck.exec('ROLLBACK')
    clock.jump(-86_400_000)
    cache.put([reply('a', '"A"')])
    expect(bodyIn(cache, 'a')).toBe('"A"')
  })

  test('a file that is locked for readers too: nothing is found, and that is told once', async () => {
    const directory = await emptyFolder()
    const first = await openCache(directory)
    first.cache.put([reply('a', '"A"')])
    first.cache.close()
    // Only without a write-ahead log can a writer keep readers out, and whoever reads keeps it from being begun.
    const greedy = openRaw(directory)
    greedy.exec('PRAGMA journal_mode = DELETE; BEGIN; SELECT * FROM replies')
    const { cache, troubles, clock } = await openCache(directory)
    expect(bodyIn(cache, 'a')).toBe('"A"')
    greedy.exec('COMMIT; BEGIN EXCLUSIVE')
    expect(bodyIn(cache, 'a')).toBeUndefined()
    expect(bodyIn(cache, 'a')).toBeUndefined()
    expect(troubles).toEqual([expect.stringContaining('could not be read (database is locked)')])
    await expect(openCache(directory)).rejects.toMatchObject({ code: 'cache_unusable' })
    greedy.exec('COMMIT')
    clock.advance(30_000)
    expect(bodyIn(cache, 'a')).toBe('"A"')
  })

  test('a disk that takes no more: the process goes on, and the file stays whole', {
    timeout: 60_000,
  }, async () => {
    const directory = await emptyFolder()
    const { cache } = await openCache(directory)
    cache.put([reply('a', '"A"')])
    const other = otherProcess(
      directory,
      `const cache = await openCache()
       cache.put([reply('large', JSON.stringify('x'.repeat(3_000_000)))])
       clock.ms = 30_000
       cache.put([reply('small', '{}')])
       say(['a', 'large', 'small'].map((request) => cache.lookup([reply(request).key]).size))`,
      // No file of that process may grow beyond 1 MiB.
      'ulimit -f 1024; exec "$@"',
    )
    expect(await other.next()).toEqual({ trouble: expect.stringContaining('could not be kept') })
    expect(await other.next()).toEqual([1, 0, 1])
    expect(await other.ended).toMatchObject({ code: 0 })
    expect(bodyIn(cache, 'large')).toBeUndefined()
    expect(bodyIn(cache, 'a')).toBe('"A"')
    cache.put([reply('b', '"B"')])
    expect(bodyIn(cache, 'b')).toBe('"B"')
  })
})

describe('a transaction', () => {
  const words = (database: DatabaseSync) => database.prepare('SELECT word FROM words').all()
  const newDatabase = () => {
    const database = new (loadSqlite().DatabaseSync)(':memory:')
    database.exec("CREATE TABLE words (word TEXT UNIQUE); INSERT INTO words VALUES ('old')")
    return database
  }

  test('that fails is undone, and the next one is free to begin', () => {
    const database = newDatabase()
    const fails = () =>
      inTransaction(database, () => {
        database.exec("INSERT INTO words VALUES ('new')")
        throw new RangeError('no more')
      })
    expect(fails).toThrow('no more')
    expect(words(database)).toEqual([{ word: 'old' }])
    inTransaction(database, () => database.exec("INSERT INTO words VALUES ('new')"))
    expect(words(database)).toHaveLength(2)
  })

  test('that SQLite itself has undone fails for its own reason', () => {
    const database = newDatabase()
    const fails = () =>
      inTransaction(database, () => database.exec("INSERT OR ROLLBACK INTO words VALUES ('old')"))
    expect(fails).toThrow('UNIQUE constraint failed')
  })
})

describe('loading SQLite', () => {
  test('happens only when a cache is opened', async () => {
    const program = `
      import ${source('state/reply-cache.ts')}
      console.log(process.moduleLoadList.includes('NativeModule sqlite'))`
    const child = spawn(process.execPath, ['--input-type=module', '-e', program])
    children.push(child)
    const [text] = await once(child.stdout.setEncoding('utf8'), 'data')
    expect(text).toBe('false\n')
  })

  test('swallows the warning that it is experimental, and no other', () => {
    const emitted = vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
    onTestFinished(() => emitted.mockRestore())
    const before = process.emitWarning
    const loaded = withoutSqliteWarning(() => {
      process.emitWarning(
        'SQLite is an experimental feature and might change at any time',
        'ExperimentalWarning',
      )
      process.emitWarning('Permission is an experimental feature', 'ExperimentalWarning')
      process.emitWarning('SQLite is an experimental feature', 'DeprecationWarning')
      return 'the module'
    })
    expect(loaded).toBe('the module')
    expect(emitted.mock.calls).toEqual([
      ['Permission is an experimental feature', 'ExperimentalWarning'],
      ['SQLite is an experimental feature', 'DeprecationWarning'],
    ])
    expect(process.emitWarning).toBe(before)
    expect(() =>
      withoutSqliteWarning(() => {
        throw new RangeError('no such module')
      }),
    ).toThrow('no such module')
    expect(process.emitWarning).toBe(before)
  })
})
