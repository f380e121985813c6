/** What came of one try to deliver a webhook. */
export type WebhookEnd =
  | { readonly kind: 'answered'; readonly status: number }
  /** No answer, or none in time. */
  | { readonly kind: 'unanswered'; readonly reason: string }
  /** It must not be sent there. */
  | { readonly kind: 'forbidden'; readonly reason: string }

export type WebhookPlan =
  | { readonly kind: 'delivered' }
  | { readonly kind: 'again'; readonly afterMs: number }
  | { readonly kind: 'given-up'; readonly why: string }

const SECOND = 1_000
const MINUTE = 60 * SECOND
const HOUR = 60 * MINUTE

/** Pauses before it is tried again: about 28 hours in all. */
const PAUSES_MS = [5 * SECOND, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 10 * HOUR]

/**
 * What to do after a try. Only a 2xx is a receipt; `410 Gone` says that nobody wants any more. A redirect is no receipt
 * and is not followed: it could lead anywhere. `tries`: with this one.
 */
export function planAfterWebhook(end: WebhookEnd, tries: number): WebhookPlan {
  if (end.kind === 'answered') {
    const { status } = end
    if (status >= 200 && status < 300) return { kind: 'delivered' }
    if (status === 410) return { kind: 'given-up', why: 'its receiver is gone (410)' }
  }
  const why = end.kind === 'answered' ? `it was answered with ${end.status}` : end.reason
  const afterMs = PAUSES_MS[tries - 1]
  return afterMs === undefined
    ? { kind: 'given-up', why: `${why}, on the last of ${tries} tries` }
    : { kind: 'again', afterMs }
}
