import type { IncomingMessage, ServerResponse } from 'node:http'
import { errorText } from '../../errors.ts'
import { ENDPOINTS } from '../../openai/wire.ts'
import type { Log } from '../log.ts'
import type { Desk } from './desk.ts'
import type { Inference } from './inference/inference.ts'
import { SocketCall } from './socket-call.ts'

/** Serves a call that comes by a socket. False: it is not one of those. */
export type SocketHandler = (incoming: IncomingMessage, outgoing: ServerResponse) => boolean

export interface SocketCallsParts {
  readonly desk: Pick<Desk, 'answer'>
  readonly inference: Pick<Inference, 'serve'>
  readonly log: Log
}

/** Serves the calls that are made by the thousand and held for long; all others are the app's. */
export function socketCalls({ desk, inference, log }: SocketCallsParts): SocketHandler {
  const endpoints = new Map(
    ENDPOINTS.flatMap((endpoint) => [
      [endpoint, endpoint] as const,
      [endpoint.slice('/v1'.length), endpoint] as const,
    ]),
  )
  return (incoming, outgoing) => {
    const { method, url = '' } = incoming
    const [route = ''] = url.split('?', 1)
    const endpoint = endpoints.get(route)
    if (method !== 'POST' || !endpoint) return false
    const call = new SocketCall(incoming, outgoing, route)
    desk
      .answer({ method, route }, async (enter) =>
        inference.serve(call, endpoint, await enter(call.header, true)),
      )
      .then((reply) => call.send(reply))
      .catch((error: unknown) => {
        log.error('answer_not_sent', { route, error: errorText(error) })
        outgoing.destroy()
      })
    return true
  }
}
