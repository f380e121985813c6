import { hash } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { StoredKey, Tenant } from '../../../src/gateway/domain/tenant.ts'
import { Gate } from '../../../src/gateway/http/access/access.ts'
import { type Bucket, draw } from '../../../src/gateway/http/access/token-bucket.ts'
import { silentLog } from '../../../src/gateway/log.ts'
import type { Access } from '../../../src/gateway/settings.ts'
import { Secret } from '../../../src/util/secret.ts'
import { VirtualClock } from '../../support/virtual-clock.ts'

describe('calls a minute', () => {
  test('are never more than the limit in any minute after the first, and never fewer than it when asked for evenly', () => {
    const gaps = fc.array(fc.nat(5000), { minLength: 1, maxLength: 300 })
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 100 }), gaps, (perMinute, pauses) => {
        let now = 0
        let bucket: Bucket | undefined
        const allowed: number[] = []
        for (const pause of pauses) {
          now += pause
          const drawn = draw(bucket, perMinute, now)
          bucket = drawn.bucket
          if (drawn.allowed) allowed.push(now)
          else expect(draw(bucket, perMinute, now + drawn.waitMs).allowed).toBe(true)
        }
        // A minute's worth may be there at the beginning, and another one comes while a minute passes.
        for (const at of allowed) {
          const within = allowed.filter((one) => one >= at && one < at + 60_000)
          expect(within.length).toBeLessThanOrEqual(2 * perMinute)
        }
        expect(allowed.length).toBeLessThanOrEqual(perMinute + Math.ceil((now * perMinute) / 60_000))
      }),
    )
  })

  test('begin anew with another limit', () => {
    const empty = draw(draw(undefined, 1, 0).bucket, 1, 0)
    expect(empty.allowed).toBe(false)
    expect(draw(empty.bucket, 2, 0)).toMatchObject({ allowed: true, remaining: 1 })
  })
})

const keyOf = (text: string, over: Partial<StoredKey> = {}): StoredKey => ({
  id: 'key_1',
  tenant: 'alice',
  name: '',
  hash: hash('sha256', text, 'base64url'),
  createdAt: 0,
  revokedAt: undefined,
  ...over,
})

const tenantOf = (name: string, over: Partial<Tenant> = {}): Tenant => ({
  name,
  maxNanoUsd: undefined,
  callsPerMinute: undefined,
  spentNanoUsd: 0,
  reservedNanoUsd: 0,
  ...over,
})

function open(access: Access = { kind: 'keys', key: new Secret('own-key') }) {
  const clock = new VirtualClock(0)
  const source = {
    list: [keyOf('alices-key')],
    all: [tenantOf('alice', { callsPerMinute: 2 })],
    reads: 0,
    isAway: false,
  }
  const store = {
    keys: async () => {
      source.reads++
      if (source.isAway) throw new Error('the store is away')
      return source.list
    },
    tenants: async () => source.all,
  }
  const gate = new Gate({ access, source: store, clock, log: silentLog })
  const enter = (headers: Readonly<Record<string, string>>) => gate.enter((name) => headers[name])
  return { clock, source, gate, enter, bearer: (key: string) => enter({ authorization: `Bearer ${key}` }) }
}

describe('a key', () => {
  test("of the environment is the operator's, one of the store its tenant's", async () => {
    const { bearer } = open()
    expect(await bearer('own-key')).toMatchObject({ tenant: 'default', isOperator: true })
    expect(await bearer('alices-key')).toMatchObject({
      tenant: 'alice',
      isOperator: false,
      limits: { callsPerMinute: 2 },
    })
  })

  test.each([
    [{}, 'missing_api_key'],
    [{ authorization: '' }, 'invalid_api_key'],
    [{ authorization: 'own-key' }, 'invalid_api_key'],
    [{ authorization: 'Basic own-key' }, 'invalid_api_key'],
    [{ authorization: 'Bearer ' }, 'invalid_api_key'],
    [{ authorization: 'Bearer own-key2' }, 'invalid_api_key'],
    [{ authorization: 'Bearer own' }, 'invalid_api_key'],
    [{ authorization: 'Bearer undefined' }, 'invalid_api_key'],
    [{ 'x-api-key': 'own-key' }, 'missing_api_key'],
  ])('%o lets nobody in', async (headers, code) => {
    const refusal = await open()
      .enter(headers)
      .catch((error: unknown) => error)
    expect(refusal).toMatchObject({ status: 401, code })
    expect(JSON.stringify(refusal)).not.toContain('own-key')
  })

  test('is needed even where the environment has none', async () => {
    const { enter, bearer } = open({ kind: 'keys', key: undefined })
    await expect(enter({})).rejects.toMatchObject({ status: 401 })
    await expect(bearer('')).rejects.toMatchObject({ status: 401 })
    expect(await bearer('alices-key')).toMatchObject({ tenant: 'alice' })
  })

  test('that was revoked is refused within seconds, one that was added is known within one', async () => {
    const { clock, source, bearer } = open()
    await bearer('alices-key')
    source.list = [keyOf('alices-key', { revokedAt: 1 }), keyOf('bobs-key', { tenant: 'bob' })]
    expect(await bearer('alices-key')).toMatchObject({ tenant: 'alice' })
    clock.advance(600)
    expect(await bearer('bobs-key')).toMatchObject({ tenant: 'bob', limits: undefined })
    clock.advance(3000)
    await expect(bearer('alices-key')).rejects.toMatchObject({ status: 401 })
  })

  test('is looked up in memory: a thousand calls at once read the store once', async () => {
    const { source, bearer } = open()
    await Promise.all(Array.from({ length: 1000 }, () => bearer('alices-key')))
    expect(source.reads).toBe(1)
  })

  test('goes on for a minute when the store cannot be read, and not for longer', async () => {
    const { clock, source, bearer } = open()
    await bearer('alices-key')
    source.isAway = true
    clock.advance(30_000)
    expect(await bearer('alices-key')).toMatchObject({ tenant: 'alice' })
    clock.advance(31_000)
    await expect(bearer('alices-key')).rejects.toThrow('away')
  })
})

test('the third call of a minute is told when to come back, and others are not kept from theirs', async () => {
  const { clock, gate, bearer } = open()
  const alice = await bearer('alices-key')
  expect(gate.count(alice)).toMatchObject({
    'x-ratelimit-limit-requests': '2',
    'x-ratelimit-remaining-requests': '1',
  })
  gate.count(alice)
  const refusal = catching(() => gate.count(alice))
  expect(refusal).toMatchObject({
    status: 429,
    code: 'rate_limit_exceeded',
    headers: { 'retry-after': '30' },
  })
  expect(gate.count(await bearer('own-key'))).toEqual({})
  clock.advance(30_000)
  expect(catching(() => gate.count(alice))).toMatchObject({ 'x-ratelimit-remaining-requests': '0' })
})

describe('without a key', () => {
  test.each([
    [{ host: 'localhost:9487' }],
    [{ host: '127.0.0.1:9487', origin: 'http://localhost:3000' }],
    [{ host: '[::1]:9487' }],
    [{ host: 'gateway.localhost' }],
    [{ host: 'localhost', authorization: 'Bearer whatever' }],
    [{ host: 'localhost', origin: 'http://localhost:3000', 'sec-fetch-site': 'same-site' }],
    [{ host: 'localhost', 'sec-fetch-site': 'none' }],
    [{}],
  ])('on loopback, %o is let in', async (headers) => {
    expect(await open({ kind: 'open', why: 'loopback' }).enter(headers)).toMatchObject({ tenant: 'default' })
  })

  test.each([
    [{ host: 'evil.example' }],
    [{ host: 'localhost.evil.example:9487' }],
    [{ host: '127.0.0.1.evil.example' }],
    [{ host: 'localhost:9487', origin: 'https://evil.example' }],
    [{ host: 'localhost:9487', origin: 'null' }],
    [{ host: 'localhost:9487', 'sec-fetch-site': 'cross-site' }],
    [{ host: 'localhost:9487', origin: 'http://localhost.evil.example' }],
  ])('on loopback, the web page of %o is not', async (headers) => {
    await expect(open({ kind: 'open', why: 'loopback' }).enter(headers)).rejects.toMatchObject({
      status: 403,
      code: 'not_this_machine',
    })
  })

  test('on a trusted network anybody is', async () => {
    const { enter } = open({ kind: 'open', why: 'trusted' })
    expect(await enter({ host: 'gateway.corp', origin: 'https://app.corp' })).toMatchObject({
      isOperator: true,
    })
  })
})

function catching(act: () => unknown): unknown {
  try {
    return act()
  } catch (error) {
    return error
  }
}
