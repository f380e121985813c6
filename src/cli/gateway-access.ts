import { BlockList, isIP } from 'node:net'
import { UsageError } from '../errors.ts'
import type { Access } from '../gateway/settings.ts'
import type { Secret } from '../util/secret.ts'

/** What says who may call. */
export interface AccessFacts {
  readonly host: string
  /** The one key of the environment. */
  readonly key: Secret | undefined
  /** The store has keys that hold, see `nightshift gateway keys`. */
  readonly hasStoredKeys: boolean
  readonly noAuth: boolean
  readonly iTrustThisNetwork: boolean
}

/**
 * Decides who may call: those who have a key, where there is any; else, on loopback alone, anybody. Throws `UsageError`:
 * `no_caller_key` for another address without a key, `key_and_no_auth` for flags that contradict the environment.
 */
export function decideAccess({ host, key, hasStoredKeys, noAuth, iTrustThisNetwork }: AccessFacts): Access {
  if (noAuth && key) throw keyAndNoAuth()
  if (!noAuth && (key || hasStoredKeys)) return { kind: 'keys', key }
  if (isLoopback(host)) return { kind: 'open', why: 'loopback' }
  if (noAuth && iTrustThisNetwork) return { kind: 'open', why: 'trusted' }
  throw noCallerKey(host, noAuth)
}

const LOOPBACK = new BlockList()
LOOPBACK.addSubnet('127.0.0.0', 8, 'ipv4')
LOOPBACK.addAddress('::1', 'ipv6')

/** Whether only this machine can reach what listens there. Names other than `localhost` may mean anything. */
export function isLoopback(host: string): boolean {
  const address = host.replace(/^\[(.*)\]$/, '$1').toLowerCase()
  if (address === 'localhost') return true
  const family = isIP(address)
  return family !== 0 && LOOPBACK.check(address, family === 6 ? 'ipv6' : 'ipv4')
}

const keyAndNoAuth = (): UsageError =>
  new UsageError(
    'key_and_no_auth',
    '--no-auth asks for no key, yet BATCH_SERVER_API_KEY (or API_KEY) is set: leave one of them out',
  )

function noCallerKey(host: string, noAuth: boolean): UsageError {
  const wanted = noAuth
    ? 'say --i-trust-this-network as well, if it is to ask for no key'
    : 'set BATCH_SERVER_API_KEY to a long random text that callers use as their API key (or make keys by nightshift gateway keys add, or ask for none by --no-auth --i-trust-this-network)'
  return new UsageError(
    'no_caller_key',
    `on ${host} others than this machine can reach the gateway, and spend your money: ${wanted}`,
  )
}
