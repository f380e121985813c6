import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { errorText, UsageError } from '../errors.ts'
import { openGateway } from '../gateway/gateway.ts'
import type { Access, StorePlace } from '../gateway/settings.ts'
import { openStore } from '../gateway/store/open-store.ts'
import { assertNever } from '../util/exhaustive.ts'
import type { GatewayOptions, ResolvedGatewayOptions } from '../util/gateway-options.ts'
import { type GatewayConfig, resolveGatewayOptions } from '../util/gateway-variables.ts'
import { environmentWith } from '../util/options.ts'
import { Secret } from '../util/secret.ts'
import type { CommandIo } from './command-io.ts'
import { decideAccess, isLoopback } from './gateway-access.ts'
import { type GatewayLog, openGatewayLog } from './gateway-log.ts'
import {
  bareHost,
  gatewaySettings,
  hasStore,
  missingKey,
  storePlace,
  storeSettings,
} from './gateway-settings.ts'

/**
 * `nightshift gateway`: serves until the signal is aborted, then stops in order and resolves with the exit code, 0.
 * Prints one line with its URL when it is ready. Throws `UsageError` for options that cannot be, and what keeps it from
 * serving: LockError, StoreError.
 */
export async function serveGateway(options: GatewayOptions, io: CommandIo): Promise<number> {
  const config = resolveGatewayOptions(options, environmentWith({}, io.env))
  const log = openGatewayLog({ level: config.options.logLevel, secrets: secretsOf(config) })
  const flush = (): void => log.flush()
  // A second signal ends the process in the middle of whatever it does.
  process.once('exit', flush)
  try {
    return await serve(config, io, log)
  } finally {
    process.off('exit', flush)
    flush()
  }
}

/** Texts that no log shows. */
function secretsOf({ secrets, options }: GatewayConfig): readonly (Secret | undefined)[] {
  const { upstreamKey, callerKey, webhookSecret } = secrets
  return [upstreamKey, callerKey, webhookSecret, ...passwords(options.postgres)]
}

/** The password of a URL, as it is written there and as it is meant. */
function passwords(url: string | undefined): Secret[] {
  const written = (url === undefined ? null : URL.parse(url))?.password ?? ''
  if (written === '') return []
  // Unlike `decodeURIComponent` it takes a lone % for what it is, as drivers do.
  const meant = new URLSearchParams(`p=${written.replaceAll('+', '%2B')}`).get('p') ?? ''
  return [written, meant].map((text) => new Secret(text))
}

async function serve(config: GatewayConfig, io: CommandIo, log: GatewayLog): Promise<number> {
  const { options } = config
  const { place, warnings } = storePlace(config)
  const settingsFor = (access: Access) => gatewaySettings({ config, place, access, fetch: io.fetch })
  // What is wrong with the options is told before anything is opened or made.
  mustHaveKeys(config, place)
  mustNotCallItself(options)
  const tls = readTls(options)
  const access = await accessOf(config, place, io)
  for (const message of [...config.warnings, ...warnings]) log.warn('option', { message })
  const gateway = await openGateway(settingsFor(access), { clock: io.clock, log })
  try {
    const { url } = await gateway.listen({ host: bareHost(options.host), port: options.port, tls })
    io.stdout(
      `Nightshift gateway at ${url}/v1 (${accessText(access)}; ${placeText(place)}; stop it with Ctrl+C)`,
    )
    log.info('started', { url, store: place.kind, access: access.kind })
    if (!io.signal.aborted) await once(io.signal, 'abort')
    log.info('stopping')
  } finally {
    await gateway.close()
  }
  log.info('stopped')
  return 0
}

/** Says of both keys at once what is missing, to who starts it for the first time. Throws `UsageError`. */
function mustHaveKeys({ secrets, options }: GatewayConfig, place: StorePlace): void {
  if (secrets.upstreamKey) return
  const mayHaveKeys = secrets.callerKey !== undefined || options.noAuth || hasStore(place)
  throw missingKey(mayHaveKeys || isLoopback(options.host) ? [] : ['BATCH_SERVER_API_KEY'])
}

async function accessOf(config: GatewayConfig, place: StorePlace, io: CommandIo): Promise<Access> {
  const { options, secrets } = config
  const { host, noAuth, iTrustThisNetwork } = options
  const key = secrets.callerKey
  const hasStoredKeys = !key && !noAuth && (await hasKeys(place, io))
  return decideAccess({ host, key, hasStoredKeys, noAuth, iTrustThisNetwork })
}

/** Whether the store has keys that hold. A folder that has no store yet is not made for that. */
async function hasKeys(place: StorePlace, { clock }: CommandIo): Promise<boolean> {
  if (!hasStore(place)) return false
  const store = await openStore(storeSettings(place, { serve: false }), clock)
  try {
    return (await store.keys()).some(({ revokedAt }) => revokedAt === undefined)
  } finally {
    await store.close()
  }
}

/** A shell in which clients are pointed at the gateway is no place to start it from: it would ask itself, for ever. */
function mustNotCallItself({ upstream, host, port }: ResolvedGatewayOptions): void {
  const url = upstream === undefined ? null : URL.parse(upstream)
  if (!url || port === 0) return
  const isHere = isLoopback(url.hostname) || url.hostname === bareHost(host)
  const upstreamPort = Number(url.port || (url.protocol === 'https:' ? 443 : 80))
  if (!isHere || upstreamPort !== port) return
  const message = `the server that does the work is ${upstream} (--upstream, OPENAI_BASE_URL), which is this gateway itself: unset it for OpenAI's, or give another`
  throw new UsageError('own_upstream', message)
}

function readTls({ tlsCert, tlsKey }: ResolvedGatewayOptions) {
  if (tlsCert === undefined || tlsKey === undefined) return undefined
  return { cert: pem('--tls-cert', tlsCert), key: pem('--tls-key', tlsKey) }
}

function pem(flag: string, path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    throw new UsageError('bad_certificate', `${flag}: ${path} cannot be read: ${errorText(error)}`, {
      cause: error,
    })
  }
}

function accessText(access: Access): string {
  if (access.kind === 'keys') return 'callers need a key'
  switch (access.why) {
    case 'loopback':
      return 'no key is asked for: any program on this machine may call'
    case 'trusted':
      return 'NO KEY IS ASKED FOR: whoever reaches this port may call'
    default:
      return assertNever(access.why)
  }
}

function placeText(place: StorePlace): string {
  switch (place.kind) {
    case 'sqlite':
      return `data in ${place.dataDir}`
    case 'postgres':
      return 'data in PostgreSQL'
    default:
      return assertNever(place)
  }
}
