import type { Endpoint } from '../../../openai/wire.ts'
import type { Clock } from '../../../util/clock.ts'
import { assertNever } from '../../../util/exhaustive.ts'
import type { StoredAnswer } from '../../domain/request.ts'
import type { GatewaySettings } from '../../settings.ts'
import type { Asked, ClientLine } from '../asked.ts'
import type { Entrance } from '../desk.ts'
import { comeBack, HttpError } from '../http-error.ts'
import type { Reply } from '../reply.ts'
import { holdMs } from '../waiting/hold.ts'
import type { Release, Releases } from '../waiting/releases.ts'
import type { Waiter, Wake } from '../waiting/waiter.ts'
import type { WaitingRoom } from '../waiting/waiting-room.ts'
import {
  answerHeaders,
  answerReply,
  closingReply,
  type Form,
  isSuccess,
  ownHeaders,
  pendingReply,
  queuedReply,
} from './answer-reply.ts'
import { eventReply, waitingReply } from './event-stream.ts'
import type { Taken, Taking } from './taking.ts'

export interface InferenceParts {
  readonly taking: Taking
  readonly settings: Pick<GatewaySettings, 'maxHoldMs' | 'heartbeatMs'>
  readonly room: WaitingRoom
  readonly releases: Releases
  readonly answers: (ids: readonly string[]) => Promise<ReadonlyMap<string, StoredAnswer>>
  readonly clock: Clock
}

/** Signs of life come no more often, however little patience a client has. */
const MIN_BEAT_MS = 250

/** The endpoints whose requests are batched: each call is put on record, and then answered as its caller waits. */
export class Inference {
  readonly #parts: InferenceParts

  constructor(parts: InferenceParts) {
    this.#parts = parts
  }

  async serve(call: Asked, endpoint: Endpoint, entrance: Entrance): Promise<Reply> {
    const { taking, clock } = this.#parts
    const taken = await taking.take(call, endpoint, entrance)
    const { accepted, wishes, waiter, form, line } = taken
    if (accepted.kind === 'cached' || (accepted.kind === 'joined' && accepted.isDone))
      return this.#stored(taken)
    if (waiter) {
      line.dropHeaders()
      return form.isStreamed && wishes.mode === 'sync'
        ? this.#stream(taken, waiter)
        : this.#hold(taken, waiter)
    }
    if (wishes.mode === 'async') return queued(taken)
    return pendingReply(accepted.id, form, { nowMs: clock.now(), returns: false })
  }

  /** The answer is there. */
  async #stored({ accepted, form, line, waiter }: Taken): Promise<Reply> {
    const { room, releases, answers } = this.#parts
    const { id, kind } = accepted
    if (waiter) room.forget(waiter)
    try {
      const answer = (await answers([id])).get(id)
      if (!answer) throw forgotten()
      return kind === 'cached' ? giveReply(answer, form, true) : this.#give(answer, form, line)
    } catch (error) {
      if (kind !== 'cached') await releases.tell(id, 'letGo')
      throw error
    }
  }

  /** Gives an answer, which counts as delivered when all of it went out; until then whoever asks again gets it. */
  #give(answer: StoredAnswer, form: Form, line: ClientLine): Reply {
    this.#confirm(answer.id, line)
    return giveReply(answer, form, false)
  }

  #confirm(id: string, line: ClientLine): void {
    let isTold = false
    // Said a second time it would let go of whoever has come for the same answer since.
    const tellOnce = (release: Release): void => {
      if (!isTold) void this.#parts.releases.tell(id, release)
      isTold = true
    }
    line.onSent(() => tellOnce('delivered'))
    line.onGone(() => tellOnce('letGo'))
    if (line.isGone) tellOnce('letGo')
  }

  /** Waits with nothing said until there is an answer, or the client's patience ends. */
  async #hold(taken: Taken, waiter: Waiter): Promise<Reply> {
    const { clock, settings, room } = this.#parts
    const { form, at, wishes } = taken
    const wake = await waiter.next(at + holdMs(wishes, settings.maxHoldMs))
    if (wake.kind !== 'time') return this.#atEnd(wake, taken, waiter)
    await room.leave(waiter)
    if (wishes.mode === 'async') return queued(taken)
    return pendingReply(waiter.id, form, { nowMs: clock.now(), returns: true })
  }

  /** Waits a moment for an answer with a status of its own; then a stream begins, which shows that it lives. */
  async #stream(taken: Taken, waiter: Waiter): Promise<Reply> {
    const { clock, settings, room } = this.#parts
    const { form, line, wishes } = taken
    const beatMs = Math.max(MIN_BEAT_MS, Math.min(settings.heartbeatMs, holdMs(wishes, settings.maxHoldMs)))
    const next = () => waiter.next(clock.now() + beatMs)
    const wake = await next()
    if (wake.kind !== 'time') return this.#atEnd(wake, taken, waiter)
    return waitingReply({
      form,
      headers: ownHeaders(waiter.id),
      next,
      onAnswer: () => {
        room.forget(waiter)
        this.#confirm(waiter.id, line)
      },
      onEnd: () => room.leave(waiter),
    })
  }

  async #atEnd(
    wake: Exclude<Wake, { readonly kind: 'time' }>,
    { form, line }: Taken,
    waiter: Waiter,
  ): Promise<Reply> {
    const { room } = this.#parts
    switch (wake.kind) {
      case 'answer':
        room.forget(waiter)
        return this.#give(wake.answer, form, line)
      case 'gone':
        await room.leave(waiter)
        return goneReply(waiter.id)
      case 'closing':
        await room.leave(waiter)
        return closingReply(waiter.id, form)
      default:
        return assertNever(wake)
    }
  }
}

/** Nobody reads it: it tells the log and the metrics who ended the call. 499 is nginx's word for that. */
const goneReply = (id: string): Reply => ({ status: 499, headers: ownHeaders(id), body: null })

function giveReply(answer: StoredAnswer, form: Form, isCached: boolean): Reply {
  if (form.isStreamed && isSuccess(answer)) return eventReply(answer, form, answerHeaders(answer, isCached))
  return answerReply(answer, form, isCached)
}

/** It was too old, and is gone since a moment ago: the same call makes a new request. */
const forgotten = (): HttpError =>
  new HttpError(503, 'answer_forgotten', 'Send the request again.', { headers: comeBack(1) })

const queued = ({ accepted: { id }, form, requestsPath }: Taken): Reply =>
  queuedReply(id, `${requestsPath}/${id}`, form)
