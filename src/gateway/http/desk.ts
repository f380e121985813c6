import { errorText } from '../../errors.ts'
import type { Clock } from '../../util/clock.ts'
import type { Log, LogFields } from '../log.ts'
import { StoreError } from '../store/store-error.ts'
import type { Caller, Gate } from './access/access.ts'
import type { Phase } from './health.ts'
import { comeBack, errorReply, HttpError, toHttpError } from './http-error.ts'
import type { Metrics } from './metrics/metrics.ts'
import type { HeaderReader, Reply, ReplyHeaders } from './reply.ts'
import type { RequestIds } from './request-id.ts'

export interface DeskParts {
  readonly phase: () => Phase
  readonly gate: Gate
  readonly ids: RequestIds
  readonly metrics: Metrics
  readonly clock: Clock
  readonly log: Log
}

/** Who calls, and what is known of the call before its body is read. */
export interface Entrance {
  readonly caller: Caller
  /** That the answer has, whatever it is. */
  readonly headers: ReplyHeaders
}

export interface AnsweredCall {
  readonly method: string
  /** The pattern of its path. */
  readonly route: string
  /** Made again and again by what watches the gateway: only what goes wrong with it is logged. */
  readonly isProbe?: boolean
}

/** Lets a call in; see `Desk`. */
export type Enter = (header: HeaderReader, isCounted: boolean) => Promise<Entrance>

const STOPPING_SECONDS = 2
const FIRST_ERROR = 400

/** Where every call comes in and every answer goes out. */
export class Desk {
  readonly #parts: DeskParts

  constructor(parts: DeskParts) {
    this.#parts = parts
  }

  /**
   * Answers a call, whatever becomes of it, and says so in the log; never with its body, or a key. Never throws.
   * `serve` is given what lets in who may call, while calls are served; `isCounted`: it is one of the calls that a tenant
   * may make in a minute. That throws `HttpError`.
   */
  async answer(call: AnsweredCall, serve: (enter: Enter) => Promise<Reply>): Promise<Reply> {
    const { clock, metrics, ids } = this.#parts
    const startedAt = clock.now()
    let tenant: string | undefined
    const enter: Enter = async (header, isCounted) => {
      const entrance = await this.#enter(header, isCounted)
      tenant = entrance.caller.tenant
      return entrance
    }
    const reply = await this.#reply(call.route, () => serve(enter))
    const id = reply.headers['x-request-id'] ?? ids.next(startedAt)
    metrics.answered(call.route, reply.status)
    this.#log(call, reply, { id, tenant, ms: clock.now() - startedAt })
    return { ...reply, headers: { ...reply.headers, 'x-request-id': id } }
  }

  #log({ method, route, isProbe }: AnsweredCall, { status, headers }: Reply, facts: LogFields): void {
    if (isProbe && status < FIRST_ERROR) return
    const request = headers['x-nightshift-request-id']
    this.#parts.log.info('call', { method, route, status, request, ...facts })
  }

  async #enter(header: HeaderReader, isCounted: boolean): Promise<Entrance> {
    const { gate } = this.#parts
    const phase = this.#parts.phase()
    if (phase !== 'ready')
      throw new HttpError(503, `gateway_${phase}`, `The gateway is ${phase}. Send the request again.`, {
        headers: comeBack(STOPPING_SECONDS),
      })
    const caller = await gate.enter(header)
    return { caller, headers: isCounted ? gate.count(caller) : {} }
  }

  #reply(route: string, serve: () => Promise<Reply>): Promise<Reply> {
    return serve().catch((error: unknown) => {
      const { log, metrics } = this.#parts
      if (error instanceof StoreError) metrics.storeError(error.code)
      const told = toHttpError(error)
      if (told.code === 'internal_error') log.error('call_failed', { route, error: errorText(error) })
      return errorReply(told)
    })
  }
}
