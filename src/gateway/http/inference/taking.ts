import { NightshiftError } from '../../../errors.ts'
import type { Endpoint } from '../../../openai/wire.ts'
import type { Clock } from '../../../util/clock.ts'
import { prepareBody } from '../../body/prepare-body.ts'
import type { RefusedModels } from '../../body/unbatchable.ts'
import type { Acceptance, Arrival } from '../../domain/arrival.ts'
import type { Arrived } from '../../engine/engine.ts'
import type { GatewaySettings } from '../../settings.ts'
import type { Asked, ClientLine } from '../asked.ts'
import type { BodyBudget } from '../body-budget.ts'
import { BodyReading, checkBodyHeaders, type ReadLimits } from '../body-reading.ts'
import { type CallWishes, readWishes } from '../call-wishes.ts'
import type { Entrance } from '../desk.ts'
import { refused } from '../http-error.ts'
import type { Remembered } from '../remembered.ts'
import type { RequestIds } from '../request-id.ts'
import type { Releases } from '../waiting/releases.ts'
import type { Waiter } from '../waiting/waiter.ts'
import type { WaitingRoom } from '../waiting/waiting-room.ts'
import { checkWebhook, type WebhookRules } from '../webhook-url.ts'
import type { Form } from './answer-reply.ts'
import { makeArrival, type RouteAdvice } from './make-arrival.ts'
import { type Accepted, acceptedOf } from './refusals.ts'

/** Puts calls on record, many at once. */
export interface Intake {
  /** `isWanted`: the caller is still there. Once it is not, nothing is put on record (`unwanted`). */
  accept(arrival: Arrival, isWanted: () => boolean): Promise<Acceptance>
}

export interface TakingParts {
  readonly settings: Pick<GatewaySettings, 'mode' | 'cacheMs' | 'claimMs' | 'maxBodyBytes' | 'maxBatchBytes'>
  readonly ids: RequestIds
  readonly webhooks: WebhookRules
  readonly intake: Intake
  readonly room: WaitingRoom
  readonly releases: Releases
  /** It is not known what became of a call: what it went with may be held for nobody. */
  readonly onDoubt: () => void
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

const MODELS_FRESH_MS = 5000

/** Reads calls and puts them on record. */
export class Taking {
  readonly #parts: TakingParts

  constructor(parts: TakingParts) {
    this.#parts = parts
  }

  /** Throws `HttpError` and `StoreError`, and then nothing is stored. */
  async take(call: Asked, endpoint: Endpoint, { caller, headers }: Entrance): Promise<Taken> {
    const { settings, webhooks, ids, bodies, replica, advice, clock, onAccepted } = this.#parts
    const { maxBodyBytes: maxBytes, maxBatchBytes: maxLineBytes } = settings
    const at = clock.now()
    const wishes = readWishes(call.header, { nowMs: at, mode: settings.mode, cacheMs: settings.cacheMs })
    if (wishes.webhook !== undefined) checkWebhook(wishes.webhook, webhooks)
    using share = bodies.open()
    const id = ids.next(at)
    const refusedModels = await this.#refusedModels()
    // The bytes are gone as soon as they are read: many bodies wait at once to be put on record.
    const prepared = prepareBody(endpoint, await readBytes(call, { maxBytes, share }), {
      id,
      refusedModels,
      maxLineBytes,
    })
    if (prepared.kind === 'refused') throw refused(prepared)
    const holder = waits(wishes) ? replica : undefined
    const facts = {
      id,
      tenant: caller.tenant,
      prepared,
      wishes,
      holder,
      claimMs: settings.claimMs,
      nowMs: at,
    }
    const arrival = makeArrival(facts, advice)
    const { accepted, waiter } = await this.#accept(arrival, call)
    onAccepted(accepted.kind, clock.now() - at)
    const { isStreamed, includeUsage } = prepared
    const form = {
      endpoint,
      isStreamed,
      includeUsage,
      headers: {
        ...headers,
        ...(accepted.kind === 'new' && { 'x-nightshift-route': accepted.route ?? arrival.route }),
        ...(wishes.applied !== undefined && { 'preference-applied': wishes.applied }),
      },
    }
    return { accepted, form, wishes, at, line: call, waiter, requestsPath: requestsPath(call) }
  }

  #refusedModels(): RefusedModels | Promise<RefusedModels> {
    const { refusedModels } = this.#parts
    return refusedModels.fresh(MODELS_FRESH_MS) ?? refusedModels.get(MODELS_FRESH_MS)
  }

  /** The waiter is there before the request: the notice of its answer cannot come too early. */
  async #accept(
    arrival: Arrival,
    line: ClientLine,
  ): Promise<{ readonly accepted: Accepted; readonly waiter: Waiter | undefined }> {
    const { room, intake, releases, onDoubt } = this.#parts
    const early = arrival.holder === undefined ? undefined : room.enter(arrival.id)
    try {
      if (releases.isBehind) await releases.catchUp()
      const accepted = acceptedOf(await intake.accept(arrival, () => !line.isGone))
      if (isNews(accepted, arrival)) this.#parts.arrived(arrival)
      return { accepted, waiter: early && this.#seated(early, accepted, line) }
    } catch (error) {
      if (early) room.forget(early)
      // It may be on record after all, and would be held for nobody.
      if (NightshiftError.is(error) && error.code === 'in_doubt') {
        releases.owe(arrival.id, 'letGo')
        onDoubt()
      }
      throw error
    }
  }

  /** The waiter of the request that the call came to, which hears when its caller goes away. Nobody waits for the cache. */
  #seated(early: Waiter, accepted: Accepted, line: ClientLine): Waiter | undefined {
    const { room } = this.#parts
    if (accepted.kind !== 'new') room.forget(early)
    if (accepted.kind === 'cached') return undefined
    const waiter = accepted.kind === 'new' ? early : room.enter(accepted.id)
    if (accepted.kind === 'joined' && !accepted.isDone) room.look(accepted.id)
    const leave = (): void => waiter.end({ kind: 'gone' })
    line.onGone(leave)
    if (line.isGone) leave()
    return waiter
  }
}

async function readBytes(call: Asked, limits: ReadLimits): Promise<Uint8Array> {
  checkBodyHeaders(call.header, limits.maxBytes)
  const reading = new BodyReading(limits)
  await call.read(reading)
  return reading.bytes()
}

/** A call is held in `sync`, and before the 202 of `async` for as long as its caller asks for. */
const waits = ({ mode, waitMs }: CallWishes): boolean =>
  mode === 'sync' || (mode === 'async' && waitMs !== undefined)

/** It is new, or may go by a faster way than before. */
const isNews = (accepted: Accepted, { route, deadlineAt }: Arrival): boolean =>
  accepted.kind === 'new' ||
  (accepted.kind === 'joined' && !accepted.isDone && (route !== 'batch' || deadlineAt !== undefined))

const requestsPath = ({ path }: Asked): string => `${path.startsWith('/v1/') ? '/v1' : ''}/requests`
