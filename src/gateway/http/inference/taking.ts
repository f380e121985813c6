import { NightshiftError } from '../../../errors.ts'
import type { Endpoint } from '../../../openai/wire.ts'
import type { Clock } from '../../../util/clock.ts'
import { prepareBody, type PreparedBody } from '../../body/prepare-body.ts'
import type { RefusedModels } from '../../body/unbatchable.ts'
import type { Acceptance, Arrival } from '../../domain/arrival.ts'
import type { Arrived } from '../../engine/engine.ts'
import type { GatewaySettings } from '../../settings.ts'
import type { Caller } from '../access/access.ts'
import type { BodyBudget } from '../body-budget.ts'
import { type CallWishes, readWishes } from '../call-wishes.ts'
import { type ClientLine, lineOf } from '../client-line.ts'
import { refused } from '../http-error.ts'
import { readBytes } from '../read-body.ts'
import type { Remembered } from '../remembered.ts'
import type { Call, HeaderReader, ReplyHeaders } from '../reply.ts'
import { newRequestId } from '../request-id.ts'
import type { Releases } from '../waiting/releases.ts'
import type { Waiter } from '../waiting/waiter.ts'
import type { WaitingRoom } from '../waiting/waiting-room.ts'
import { checkWebhook, type WebhookRules } from '../webhook-url.ts'
import type { Form } from './answer-reply.ts'
import { makeArrival, type RouteAdvice } from './make-arrival.ts'
import { type Accepted, acceptedOf } from './refusals.ts'

/** Puts calls on record, many at once. */
export interface Intake {
  accept(arrival: Arrival): Promise<Acceptance>
}

export interface TakingParts {
  readonly settings: Pick<GatewaySettings, 'mode' | 'cacheMs' | 'claimMs' | 'maxBodyBytes' | 'maxBatchBytes'>
  readonly webhooks: WebhookRules
  readonly intake: Intake
  readonly room: WaitingRoom
  readonly releases: Releases
  readonly bodies: BodyBudget
  readonly refusedModels: Remembered<RefusedModels>
  readonly advice: RouteAdvice
  /** A request was put on record, or is wanted sooner. */
  readonly arrived: (request: Arrived) => void
  /** So long it took until a call was on record. */
  readonly onAccepted: (kind: string, ms: number) => void
  readonly replica: string
  readonly clock: Clock
}

/** A call that is on record, and all that is still needed of it: its body is gone by now. */
export interface Taken {
  readonly accepted: Accepted
  readonly form: Form
  readonly wishes: CallWishes
  /** When it came in. */
  readonly at: number
  readonly line: ClientLine
  /** Of whoever waits. */
  readonly waiter: Waiter | undefined
  /** Where requests are asked for, under the prefix that the call came by. */
  readonly requestsPath: string
}

/** Who calls, and what is known of the call before its body is read. */
export interface Entrance {
  readonly caller: Caller
  readonly header: HeaderReader
  /** That the answer has, whatever it is. */
  readonly headers: ReplyHeaders
}

const MODELS_FRESH_MS = 5000

/** Reads calls and puts them on record. */
export class Taking {
  readonly #parts: TakingParts

  constructor(parts: TakingParts) {
    this.#parts = parts
  }

  /** Throws `HttpError` and `StoreError`, and then nothing is stored. */
  async take(call: Call, endpoint: Endpoint, { caller, header, headers }: Entrance): Promise<Taken> {
    const { settings, webhooks, clock, onAccepted } = this.#parts
    const at = clock.now()
    const wishes = readWishes(header, { nowMs: at, mode: settings.mode, cacheMs: settings.cacheMs })
    if (wishes.webhook !== undefined) checkWebhook(wishes.webhook, webhooks)
    const line = lineOf(call)
    const { taken, prepared } = await this.#read(call, header, async (body) => {
      const id = newRequestId(at)
      const prepared = await this.#prepare(endpoint, body, id)
      const arrival = this.#arrival(prepared, { id, caller, wishes, at })
      return { taken: await this.#accept(arrival, line), prepared: formFacts(prepared) }
    })
    const { accepted, waiter, route } = taken
    onAccepted(accepted.kind, clock.now() - at)
    const form = { endpoint, ...prepared, headers: { ...headers, ...route, ...appliedHeader(wishes) } }
    return { accepted, form, wishes, at, line, waiter, requestsPath: requestsPath(call) }
  }
}
