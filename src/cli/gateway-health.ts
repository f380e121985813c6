import { request as requestHttp } from 'node:http'
import { request as requestHttps } from 'node:https'
import { text } from 'node:stream/consumers'
import { errorText, NightshiftError, UsageError } from '../errors.ts'
import type { GatewayOptions } from '../util/gateway-options.ts'
import { resolveGatewayOptions } from '../util/gateway-variables.ts'
import { environmentWith } from '../util/options.ts'
import type { CommandIo } from './command-io.ts'
import { bareHost } from './gateway-settings.ts'

const PATIENCE_MS = 5000

/**
 * `nightshift gateway health`: asks the gateway that these options and variables describe, on this machine, and prints
 * what it says. Exit code 0 when it serves, 1 when it does not. Throws NightshiftError `not_serving` when nobody answers,
 * and `UsageError` `no_port` for port 0, which may be any.
 */
export async function gatewayHealth(given: GatewayOptions, io: CommandIo): Promise<number> {
  const { options } = resolveGatewayOptions(given, environmentWith({}, io.env))
  if (options.port === 0) throw noPort()
  const isTls = options.tlsCert !== undefined
  const place = { host: reachableHost(options.host), port: options.port, path: '/healthz' }
  try {
    const { status, body } = await ask(isTls, place, io.signal)
    io.stdout(body)
    return status === 200 ? 0 : 1
  } catch (error) {
    const message = `no gateway answers at ${place.host}:${place.port}: ${errorText(error)}`
    throw new NightshiftError('not_serving', message, { cause: error, retryable: true })
  }
}

const noPort = (): UsageError =>
  new UsageError(
    'no_port',
    '--port is 0, which is any that was free: give the one that the gateway said it has',
  )

/** What listens on all addresses of a machine is reached by its loopback one. */
function reachableHost(host: string): string {
  const bare = bareHost(host)
  if (bare === '0.0.0.0') return '127.0.0.1'
  return bare === '::' ? '::1' : bare
}

interface Place {
  readonly host: string
  readonly port: number
  readonly path: string
}

function ask(
  isTls: boolean,
  place: Place,
  signal: AbortSignal,
): Promise<{ readonly status: number; readonly body: string }> {
  const { promise, resolve, reject } = Promise.withResolvers<{ status: number; body: string }>()
  const ending = AbortSignal.any([signal, AbortSignal.timeout(PATIENCE_MS)])
  // Its certificate is for its public name, and it is asked on this machine, for nothing secret.
  const call = isTls
    ? requestHttps({ ...place, signal: ending, rejectUnauthorized: false })
    : requestHttp({ ...place, signal: ending })
  call.on('error', reject)
  call.on('response', (response) => {
    text(response).then((body) => resolve({ status: response.statusCode ?? 0, body }), reject)
  })
  call.end()
  return promise
}
