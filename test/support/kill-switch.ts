import { setTimeout as sleep } from 'node:timers/promises'
import type { z } from 'zod'
import type { orderSchema } from './emulator-messages.ts'

export type KillOrder = Extract<z.output<typeof orderSchema>, { do: 'kill' }>
type Next = () => Promise<Response>

const ID = /\/(file-|batch_)[^/]+/g

/** Method and path, without what differs from one object to the next. */
export const callOf = (request: Request): string =>
  `${request.method} ${new URL(request.url).pathname.replaceAll(ID, '/:id')}`

/** Sends a signal to a program at one moment of its calls, as its server sees them. */
export class KillSwitch {
  #order: KillOrder | undefined
  #seen = 0

  /** Takes the place of an order that was not carried out. */
  arm(order: KillOrder): void {
    this.#order = order
    this.#seen = 0
  }

  /** Nobody is to be killed any more. */
  disarm(): void {
    this.#order = undefined
  }

  /** Serves a request by `next`, or breaks its connection at the moment that was ordered. */
  async pass(request: Request, next: Next): Promise<Response> {
    const order = this.#order
    if (!order || !isMeant(order.at.request, callOf(request)) || ++this.#seen !== order.at.nth) return next()
    this.#order = undefined
    return strike(order, request, next)
  }
}

const isMeant = (wanted: string, call: string): boolean =>
  wanted.endsWith('$') ? `${call}$` === wanted : call.startsWith(wanted)

async function strike(order: KillOrder, request: Request, next: Next): Promise<Response> {
  switch (order.at.when) {
    case 'before':
      return dying(order)
    case 'late':
      return actLate(order, request, next)
    case 'after':
      await next()
      return dying(order)
    case 'in-upload':
      await receiveHalf(request)
      return dying(order)
    case 'in-reply':
      return broken(order, await next())
    default:
      return order.at.when satisfies never
  }
}

const kill = ({ pid, signal }: KillOrder): void => void process.kill(pid, signal)

/** The connection breaks; what the server did stays done. */
function dying(order: KillOrder): never {
  kill(order)
  throw new Error('the caller is being killed')
}

/** The request is through, the caller is gone, and only then the server acts. */
async function actLate(order: KillOrder, request: Request, next: Next): Promise<Response> {
  await request.clone().arrayBuffer()
  kill(order)
  await sleep(order.at.lateMs)
  return next()
}

async function receiveHalf(request: Request): Promise<void> {
  const half = Number(request.headers.get('content-length') ?? 0) / 2
  let received = 0
  for await (const chunk of request.body ?? []) {
    received += chunk.length
    if (received >= half) return
  }
}

/** The first half of a reply's body; what asks for the rest asks after that half was sent. */
async function broken(order: KillOrder, reply: Response): Promise<Response> {
  const bytes = new Uint8Array(await reply.arrayBuffer())
  let pulls = 0
  const body = new ReadableStream<Uint8Array>(
    {
      pull: (controller) => {
        if (pulls++ === 0) return controller.enqueue(bytes.subarray(0, Math.ceil(bytes.length / 2)))
        kill(order)
        controller.close()
      },
    },
    { highWaterMark: 0 },
  )
  return new Response(body, { status: reply.status, headers: reply.headers })
}
