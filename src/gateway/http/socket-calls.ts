import type { IncomingMessage, ServerResponse } from 'node:http'
import { ENDPOINTS } from '../../openai/wire.ts'
import type { Desk } from './desk.ts'
import type { Inference } from './inference/inference.ts'
import { SocketCall } from './socket-call.ts'

/** Serves a call that comes by a socket. False: it is not one of those. */
export type SocketHandler = (incoming: IncomingMessage, outgoing: ServerResponse) => boolean

/** Serves the calls that are made by the thousand and held for long; all others are the app's. */
export function socketCalls(desk: Desk, inference: Inference): SocketHandler {
  const endpoints = new Map(
    ENDPOINTS.flatMap((endpoint) => [
      [endpoint, endpoint] as const,
      [endpoint.slice('/v1'.length), endpoint] as const,
    ]),
  )
  return (incoming, outgoing) => {
    const { method, url: route = '' } = incoming
    const endpoint = endpoints.get(route)
    if (method !== 'POST' || !endpoint) return false
    const call = new SocketCall(incoming, outgoing)
    const serve = async () => inference.serve(call, endpoint, await desk.enter(call.header, true))
    void desk.answer({ method, route }, serve).then((reply) => call.send(reply))
    return true
  }
}
