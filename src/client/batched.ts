import type { APIPromise } from 'openai'
import type { Clock } from '../util/clock.ts'
import { ask, type ReplyCheck } from './ask.ts'
import { type AskAgain, type WaitOptions, waitFor } from './wait.ts'

/** What a request came to so far: the whole answer, or word that it is on its way. `hasCompleted` tells which. */
export type Batched<Answer> = Answer | Pending<Answer>

/** What every answer has beside what the server said. */
export class Completed {
  readonly hasCompleted = true
  /** By which the gateway knows the request: `GET /v1/requests/{id}` tells more of it. */
  readonly requestId: string | undefined
  /** Of the server that answered, as the `openai` package has it. */
  declare readonly _request_id?: string | null

  constructor(requestId: string | undefined) {
    this.requestId = requestId
  }

  /** The answer is here: resolves at once with itself, so that a caller need not know. */
  async wait(_options: WaitOptions = {}): Promise<this> {
    return this
  }
}

/** A request that is on record at the gateway and has no answer yet. The same call, made again, finds it. */
export class Pending<Answer> {
  readonly hasCompleted = false
  /** By which the gateway knows the request: `GET /v1/requests/{id}` tells more of it. */
  readonly requestId: string
  /** When it makes sense to ask again, in milliseconds from when this was said. */
  readonly retryAfterMs: number
  readonly #wait: (options: WaitOptions) => Promise<Answer>

  constructor(requestId: string, retryAfterMs: number, wait: (options: WaitOptions) => Promise<Answer>) {
    this.requestId = requestId
    this.retryAfterMs = retryAfterMs
    this.#wait = wait
  }

  /**
   * Resolves with the answer, asking for it as often as the gateway wants it asked for. Rejects with the request's own
   * error when it failed, with the signal's reason, or with `wait_timeout`; after the last two the same call, made
   * again, finds the request where it is.
   */
  wait(options: WaitOptions = {}): Promise<Answer> {
    return this.#wait(options)
  }
}

export interface CallPlan<Body extends object, Reply extends object, Answer> {
  readonly body: Body
  readonly send: (body: Body, options: SendOptions) => APIPromise<Reply>
  readonly check: ReplyCheck
  /** Makes of a reply what its caller gets. */
  readonly complete: (reply: Reply, requestId: string | undefined) => Answer
  readonly clock: Clock
}

/** What differs when a request is sent again; empty for the first time. */
export interface SendOptions {
  readonly signal?: AbortSignal | null
  readonly timeout?: number
  readonly maxRetries?: number
}

/** Sends a request and says what it came to so far. */
export async function batched<Body extends object, Reply extends object, Answer>(
  plan: CallPlan<Body, Reply, Answer>,
): Promise<Batched<Answer>> {
  const { send, check, complete, clock } = plan
  const body = snapshot(plan.body)
  const first = await ask(send(body, {}), check)
  if (first.kind === 'answered') return complete(first.reply, first.requestId)
  const { requestId, retryAfterMs } = first
  // Trouble is borne by the wait, which can be ended at any time; a retry within the package cannot be seen.
  const again: AskAgain<Reply> = ({ signal, timeoutMs }) =>
    ask(send(body, { maxRetries: 0, timeout: timeoutMs, signal: signal ?? null }), check)
  return new Pending(requestId, retryAfterMs, async (options) => {
    const { reply, requestId: id } = await waitFor({ requestId, retryAfterMs, again, clock }, options)
    return complete(reply, id)
  })
}

/** A reply with what every answer has. The reply's own properties stay as they are. */
export function completed<Reply extends object>(
  reply: Reply,
  requestId: string | undefined,
): Completed & Reply {
  const answer = Object.assign(new Completed(requestId), reply)
  // Hidden by the package, and so passed over.
  const hidden = Object.getOwnPropertyDescriptor(reply, '_request_id')
  if (hidden) Object.defineProperty(answer, '_request_id', hidden)
  return answer
}

/** A body as it is now: what its owner changes of it later must not change what is asked for. */
function snapshot<Body extends object>(body: Body): Body {
  return JSON.parse(JSON.stringify(body))
}
