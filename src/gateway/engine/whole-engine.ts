import { createCalls } from './calls/calls.ts'
import { createEngine, type EngineOptions } from './create-engine.ts'
import type { Engine } from './engine.ts'
import { createValuer } from './money/valuer.ts'
import { Retention } from './retention.ts'
import { StoreTime } from './store-time.ts'
import { WebhookSender } from './webhooks.ts'
import { createWebhookPost, type WebhookPost } from './webhooks-post.ts'

export interface WholeEngineOptions extends Omit<EngineOptions, 'calls' | 'sendWebhooks'> {
  /** How webhooks are sent. Default: by HTTP, to public addresses; to all when only programs of this machine can name them. */
  readonly post?: WebhookPost
}

/** All that works behind the HTTP side: batches, flex and direct calls, webhooks, retention. */
export function createWholeEngine(options: WholeEngineOptions): Engine {
  const { store, settings, clock, log, replica, valuer = createValuer() } = options
  const time = new StoreTime(store, clock)
  const post = options.post ?? createWebhookPost({ allowsPrivate: settings.isLocal ?? false })
  const calls = createCalls({ ...options, time, valuer })
  const webhooks = new WebhookSender({
    store,
    time,
    clock,
    log,
    secret: settings.webhookSecret,
    post,
  })
  const retention = new Retention({ store, settings, time, clock, log, replica })
  const engine = createEngine({
    ...options,
    valuer,
    calls,
    sendWebhooks: async () => webhooks.wake(),
  })
  const parts = [engine, webhooks, retention]
  return {
    arrived: (requests) => engine.arrived(requests),
    flush: (tenant) => engine.flush(tenant),
    look: (tenant, batchId) => engine.look(tenant, batchId),
    cancel: (tenant, batchId) => engine.cancel(tenant, batchId),
    start: async () => {
      await engine.start()
      webhooks.start()
      retention.start()
    },
    close: async () => {
      await Promise.all(parts.map((part) => part.close()))
    },
  }
}
