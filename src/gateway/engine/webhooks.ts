import { errorText } from '../../errors.ts'
import type { Clock } from '../../util/clock.ts'
import type { Secret } from '../../util/secret.ts'
import type { StoredAnswer } from '../domain/request.ts'
import type { Log } from '../log.ts'
import type { DueWebhook, GatewayStore } from '../store/store.ts'
import { BackgroundLoop } from './calls/background-loop.ts'
import { untilStored } from './calls/until-stored.ts'
import type { StoreTime } from './store-time.ts'
import { webhookBody, webhookId } from './webhooks-message.ts'
import type { WebhookPost } from './webhooks-post.ts'
import { Receivers } from './webhooks-receivers.ts'
import { planAfterWebhook, type WebhookEnd } from './webhooks-retry.ts'
import { webhookHeaders } from './webhooks-signature.ts'

export interface WebhookOptions {
  readonly store: Pick<GatewayStore, 'dueWebhooks' | 'webhookTried' | 'answers' | 'onDone'>
  readonly time: StoreTime
  readonly clock: Clock
  readonly log: Log
  /** Undefined: none are sent, and those that were asked for while there was one are given up. */
  readonly secret: Secret | undefined
  readonly post: WebhookPost
}

/** At once: a receiver that hangs must not keep the others from theirs. */
const AT_ONCE = 32
/** Longer than one try takes. */
const LEASE_MS = 60_000
/** What others left behind is found so often. */
const SWEEP_MS = 30_000

/**
 * Tells those who asked for it that their requests are done. At least once: a webhook is tried until its receiver says
 * 2xx, and who is told twice knows that by its id.
 */
export class WebhookSender {
  readonly #options: WebhookOptions
  readonly #receivers = new Receivers()
  readonly #loop: BackgroundLoop
  readonly #active = new Set<Promise<void>>()
  readonly #cut = new AbortController()
  #unsubscribe: () => void = () => undefined
  /** When those are due that this process tried, and that no sweep will find in time: by the store's clock. */
  readonly #nextAt = new Map<string, number>()

  constructor(options: WebhookOptions) {
    this.#options = options
    const { clock, log } = options
    this.#loop = new BackgroundLoop({ name: 'webhooks', clock, log, step: () => this.#sendDue(), gapMs: 100 })
  }

  start(): void {
    const { store, secret } = this.#options
    if (secret) this.#unsubscribe = store.onDone(() => this.wake())
    this.#loop.start()
  }

  /** Some may be due. Costs little however often it is called. */
  wake(): void {
    this.#loop.wake()
  }

  /** Begins no more; those under way are broken off, and tried again by whoever comes next. */
  async close(): Promise<void> {
    this.#unsubscribe()
    await this.#loop.close()
    this.#cut.abort()
    await Promise.all(this.#active)
  }

  /** Gives the milliseconds until the next one may be due. */
  async #sendDue(): Promise<number> {
    const { store } = this.#options
    for (;;) {
      const places = AT_ONCE - this.#active.size
      if (places <= 0) return SWEEP_MS
      const due = await store.dueWebhooks(places, LEASE_MS)
      for (const one of due) this.#begin(one)
      if (due.length < places) return this.#untilNextMs()
    }
  }

  #untilNextMs(): number {
    const now = this.#options.time.now()
    let nextMs = SWEEP_MS
    for (const [request, at] of this.#nextAt) {
      if (at <= now) this.#nextAt.delete(request)
      else nextMs = Math.min(nextMs, at - now)
    }
    return nextMs
  }

  #begin(due: DueWebhook): void {
    this.#nextAt.delete(due.request)
    const done = this.#send(due)
      .catch((error: unknown) => {
        // Its lease runs out, and it is tried again.
        this.#options.log.error('webhook_failed', { request: due.request, reason: errorText(error) })
      })
      .finally(() => {
        this.#active.delete(done)
        this.wake()
      })
    this.#active.add(done)
  }

  async #send(due: DueWebhook): Promise<void> {
    const { store, secret, log } = this.#options
    const { request, url, tries } = due
    const answer = (await store.answers([request])).get(request)
    if (!answer || !secret) {
      log.warn('webhook_given_up', {
        request,
        why: answer ? 'there is no webhook secret any more' : 'it has no answer',
      })
      return this.#tried(request, undefined)
    }
    const tried = { request, url, tries: tries + 1 }
    const isLast = planAfterWebhook(AWAY, tried.tries).kind === 'given-up'
    const end = isLast || this.#mayCall(url) ? await this.#post(url, secret, answer) : AWAY
    if (!this.#cut.signal.aborted || end.kind === 'answered') await this.#conclude(tried, end)
  }

  #mayCall(url: string): boolean {
    return this.#receivers.mayCall(new URL(url).host, this.#options.clock.now())
  }

  async #post(url: string, secret: Secret, answer: StoredAnswer): Promise<WebhookEnd> {
    const { clock, post } = this.#options
    const id = webhookId(answer.id)
    const timestamp = Math.floor(clock.now() / 1000)
    const body = webhookBody(answer)
    const headers = webhookHeaders(secret.reveal(), { id, timestamp, body })
    const end = await post({ url, headers, body }, this.#cut.signal)
    this.#receivers.called(new URL(url).host, end, clock.now())
    return end
  }

  /** `tries`: with this one. The URL's host is named only: what follows it may be a secret. */
  async #conclude({ request, url, tries }: DueWebhook, end: WebhookEnd): Promise<void> {
    const { log, time } = this.#options
    const plan = planAfterWebhook(end, tries)
    const facts = { request, host: new URL(url).host, tries, ...saidOf(end) }
    if (plan.kind === 'delivered') log.info('webhook_delivered', facts)
    else if (plan.kind === 'given-up') log.warn('webhook_given_up', { ...facts, why: plan.why })
    else log.warn('webhook_again', { ...facts, afterMs: plan.afterMs })
    await this.#tried(request, plan.kind === 'again' ? time.now() + plan.afterMs : undefined)
  }

  async #tried(request: string, nextAt: number | undefined): Promise<void> {
    const { store, clock } = this.#options
    await untilStored(clock, this.#cut.signal, () => store.webhookTried(request, nextAt))
    if (nextAt !== undefined && nextAt < this.#options.time.now() + SWEEP_MS)
      this.#nextAt.set(request, nextAt)
  }
}

/** What comes of a call that is not made. */
const AWAY: WebhookEnd = { kind: 'unanswered', reason: 'its receiver does not answer at present' }

const saidOf = (end: WebhookEnd): { readonly status?: number; readonly reason?: string } =>
  end.kind === 'answered' ? { status: end.status } : { reason: end.reason }
