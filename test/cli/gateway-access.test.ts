import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type AccessFacts, decideAccess, isLoopback } from '../../src/cli/gateway-access.ts'
import { UsageError } from '../../src/errors.ts'
import { Secret } from '../../src/util/secret.ts'

const KEY = new Secret('a key')
const facts = (given: Partial<AccessFacts>): AccessFacts => ({
  host: '127.0.0.1',
  key: undefined,
  hasStoredKeys: false,
  noAuth: false,
  iTrustThisNetwork: false,
  ...given,
})
const decided = (given: Partial<AccessFacts>) => decideAccess(facts(given))

describe('who may call', () => {
  test('anybody on loopback, when there is no key', () => {
    expect(decided({})).toEqual({ kind: 'open', why: 'loopback' })
    expect(decided({ host: 'localhost', noAuth: true })).toEqual({ kind: 'open', why: 'loopback' })
  })

  test('who has a key, wherever there is one', () => {
    expect(decided({ key: KEY })).toEqual({ kind: 'keys', key: KEY })
    expect(decided({ host: '0.0.0.0', key: KEY })).toEqual({ kind: 'keys', key: KEY })
    expect(decided({ hasStoredKeys: true })).toEqual({ kind: 'keys', key: undefined })
    expect(decided({ host: '::', hasStoredKeys: true })).toEqual({ kind: 'keys', key: undefined })
  })

  test('nobody elsewhere without a key, unless both flags say so', () => {
    expect(() => decided({ host: '0.0.0.0' })).toThrow('set BATCH_SERVER_API_KEY')
    expect(() => decided({ host: '0.0.0.0', iTrustThisNetwork: true })).toThrow('set BATCH_SERVER_API_KEY')
    expect(() => decided({ host: '0.0.0.0', noAuth: true })).toThrow('--i-trust-this-network')
    expect(decided({ host: '0.0.0.0', noAuth: true, iTrustThisNetwork: true })).toEqual({
      kind: 'open',
      why: 'trusted',
    })
  })

  test('a key together with --no-auth is a contradiction', () => {
    expect(() => decided({ key: KEY, noAuth: true })).toThrow('leave one of them out')
  })

  test('it is open only on loopback, or by both flags, whatever else is said', () => {
    const any = fc.record({
      host: fc.constantFrom('127.0.0.1', '::1', 'localhost', '0.0.0.0', '::', '10.0.0.7', 'gateway.example'),
      key: fc.constantFrom(undefined, KEY),
      hasStoredKeys: fc.boolean(),
      noAuth: fc.boolean(),
      iTrustThisNetwork: fc.boolean(),
    })
    const outcome = (given: AccessFacts) => {
      try {
        return decideAccess(given).kind
      } catch (error) {
        if (error instanceof UsageError) return 'refused'
        throw error
      }
    }
    fc.assert(
      fc.property(any, (given) => {
        const isTrusted = given.noAuth && given.iTrustThisNetwork
        if (outcome(given) === 'open') {
          expect(isLoopback(given.host) || isTrusted).toBe(true)
          expect(given.key).toBeUndefined()
        }
        if (given.key && !given.noAuth) expect(outcome(given)).toBe('keys')
      }),
    )
  })
})

describe('loopback', () => {
  test.each([
    'localhost',
    'LOCALHOST',
    '127.0.0.1',
    '127.8.9.10',
    '::1',
    '[::1]',
    '0:0:0:0:0:0:0:1',
    '::ffff:127.0.0.1',
  ])('is %s', (host) => expect(isLoopback(host)).toBe(true))

  test.each([
    '0.0.0.0',
    '::',
    '128.0.0.1',
    '10.127.0.1',
    '127.0.0.1.example.com',
    'localhost.example.com',
    '::ffff:0.0.0.0',
    '127.1',
    '',
  ])('is not %s', (host) => expect(isLoopback(host)).toBe(false))
})
