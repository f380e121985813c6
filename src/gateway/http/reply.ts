import type { HttpBindings } from '@hono/node-server'
import type { Context } from 'hono'

/** Hono's environment here: with a socket there are node's own request and response; without one, none. */
export interface AppEnv {
  readonly Bindings: Partial<HttpBindings>
}
export type Call = Context<AppEnv>
export type ReplyHeaders = Readonly<Record<string, string>>

export const JSON_TYPE = 'application/json'

/** An answer as it goes out. */
export interface Reply {
  readonly status: number
  readonly headers: ReplyHeaders
  readonly body: string | ReadableStream<Uint8Array> | null
}

export const jsonReply = (status: number, body: string, headers: ReplyHeaders = {}): Reply => ({
  status,
  body,
  headers: { 'content-type': JSON_TYPE, ...headers },
})

/** Reads a header of the call: from node's own, which is quicker, where there is a socket. */
export type HeaderReader = (name: string) => string | undefined

export function headersOf(call: Call): HeaderReader {
  const own = call.env?.incoming?.headers
  if (!own) return (name) => call.req.raw.headers.get(name) ?? undefined
  return (name) => {
    const value = own[name]
    return typeof value === 'string' ? value : value?.join(', ')
  }
}
