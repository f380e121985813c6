/**
 * The gateway as a library: ordinary OpenAI calls in, half-price batches out.
 *
 *     const gateway = await openGateway(settings)
 *     const { url } = await gateway.listen({ port: 9487 })
 *
 * @module
 */

export { Secret } from '../util/secret.ts'
export type { Mode } from './domain/request.ts'
export { type Gateway, type GatewayDependencies, openGateway } from './gateway.ts'
export type { Listener, ListenOptions } from './http/listen.ts'
export type { Log, LogFields } from './log.ts'
export type { Access, GatewaySettings, StorePlace, Upstream } from './settings.ts'
