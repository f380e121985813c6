import type { QuotaBoard } from '../../batch/quota.ts'
import type { Acceptance, AcceptLimits, Arrival } from '../domain/arrival.ts'
import type { BatchChange, CutLimits, GatewayBatch, QueueLoad, RetiredTag } from '../domain/batch.ts'
import type { Outcome, QueueGroup, Route, StoredAnswer, StoredRequest } from '../domain/request.ts'
import type { StoredKey, Tenant } from '../domain/tenant.ts'

/** A page of a listing, newest first. */
export interface PageOf<Item> {
  readonly items: readonly Item[]
  readonly hasMore: boolean
}

/** A batch that this process alone may change, for as long as nobody else claims it. */
export interface ClaimedBatch {
  readonly batch: GatewayBatch
  /** The epoch of the claim: what is changed under it is refused once the batch was claimed by another. */
  readonly epoch: number
}

/** A request that is to be called by itself. */
export interface TakenCall {
  readonly request: StoredRequest
  readonly bodyText: string
  readonly epoch: number
}

/** Whose calls are taken first, and which are not. */
export interface CallTurn {
  /** Requests of these are passed over. */
  readonly exceptModels?: readonly string[] | undefined
  /** The tenant that was served last: those after it by name come first. */
  readonly afterTenant?: string | undefined
}

/** A webhook that is to be sent. */
export interface DueWebhook {
  readonly request: string
  readonly url: string
  /** Times it was tried. */
  readonly tries: number
}

/** Something the gateway counts, for `/metrics` and `/admin`. */
export interface StoreCounts {
  readonly queued: number
  readonly batched: number
  readonly calling: number
  /** By the server's word for their state; `unsent`: it does not have them yet. */
  readonly batches: Readonly<Record<string, number>>
  /** When the oldest request came, or its batch was cut, that the server does not have yet. */
  readonly oldestUnsentAt: number | undefined
}

/**
 * Where the gateway keeps all that must not be lost. Every method that changes something is one transaction, durable
 * when its promise resolves; a refused change changes nothing. Time is the store's own: of one machine for SQLite, of
 * the server for PostgreSQL, so that replicas whose clocks differ agree on leases. Throws `StoreError`: `retryable`
 * when the database cannot be reached or is busy, and then nothing was changed unless `code` is `in_doubt`.
 */
export interface GatewayStore {
  readonly kind: 'sqlite' | 'postgres'
  /** Milliseconds since 1970. */
  now(): Promise<number>

  // --- what callers ask for
  /** All that came in together, decided in their order by `decideArrival` (`identity/`), in one transaction. */
  accept(arrivals: readonly Arrival[], limits: AcceptLimits): Promise<readonly Acceptance[]>
  /** The callers of these requests are gone, or were told to come back: anyone may re-attach. */
  letGo(ids: readonly string[], replica: string): Promise<void>
  /** The answers went out whole. The claim time runs from the first time that this is said of an answer. */
  delivered(ids: readonly string[]): Promise<void>
  request(id: string, tenant: string): Promise<StoredRequest | undefined>
  /** Of whatever tenant; those that are not there are left out. */
  requests(ids: readonly string[]): Promise<readonly StoredRequest[]>
  /** Of those that are done. */
  answers(ids: readonly string[]): Promise<ReadonlyMap<string, StoredAnswer>>
  /** Which of these are done. */
  finishedAmong(ids: readonly string[]): Promise<readonly string[]>
  /**
   * Ends a request at its caller's wish. `ended`: it waited, and is cancelled. `sent`: it is in a batch or on the wire:
   * it ends as cancelled for its caller, and what it costs is still charged. `done`: too late.
   */
  cancelRequest(
    id: string,
    tenant: string,
    answer: { readonly status: number; readonly body: string },
  ): Promise<'ended' | 'sent' | 'done' | 'absent'>
  /** What callers of this replica wait for, as it is on record. */
  heldBy(replica: string): Promise<readonly string[]>
  /** Hears of requests that are done, whichever replica did it. What is missed while a connection is lost is for `finishedAmong`. */
  onDone(listener: (ids: readonly string[]) => void): () => void
  /** Hears when the database is there again after it was away: whoever lives had better say so soon. */
  onReturn(listener: () => void): void

  // --- batches
  /** What waits to be batched (`route` is `batch`, `readyAt` is past), by group. */
  loads(): Promise<readonly QueueLoad[]>
  /** When the next request that waits will be ready; undefined when none waits for that. */
  nextReadyAt(): Promise<number | undefined>
  /** Makes one `sealed` batch of the oldest requests of a group, as many as the limits allow, one at least. */
  cut(group: QueueGroup, limits: CutLimits): Promise<GatewayBatch | undefined>
  /** Batches that are to be looked at: `nextAt` is past, and nobody has a claim that lasts. */
  dueBatches(limit: number): Promise<readonly GatewayBatch[]>
  /** All that are not `done`, oldest first. */
  openBatches(): Promise<readonly GatewayBatch[]>
  /** Undefined when there is a claim that lasts, be it of the same replica, and for a batch that is done. */
  claim(batch: number, replica: string, leaseMs: number): Promise<ClaimedBatch | undefined>
  /** Makes a claim last. False when it is lost. */
  renew(batch: number, epoch: number, leaseMs: number): Promise<boolean>
  /**
   * The batch as it is then; undefined when the claim is lost, and nothing was changed. A batch cannot be `done` while a
   * request waits for it: that throws StoreError `unfinished_batch`.
   */
  change(batch: number, epoch: number, change: BatchChange): Promise<GatewayBatch | undefined>
  /** Gives the claim up. */
  release(batch: number, epoch: number, nextAt: number): Promise<void>
  /** The lines of a batch whose requests still wait for it, in the order they came in, a page at a time. */
  lines(batch: number): AsyncIterable<{ readonly id: string; readonly bodyText: string }>
  /** Ids of the requests that still wait for a batch. */
  waitingFor(batch: number): Promise<readonly string[]>
  /**
   * Puts on record what became of lines of a batch: of each request only while it waits for this batch (`stray`: while
   * it is queued, or waits for the batch that the stray was an attempt at; only ends count). The first outcome for a
   * request wins; one that was cancelled meanwhile is charged and stays as it is. Gives the ids that it was put on
   * record for; undefined when the claim is lost. What is to be sent again and cannot be paid for once more ends with
   * an error of its own (429 `spend_limit_reached`).
   */
  settle(batch: number, epoch: number, outcomes: readonly Outcome[]): Promise<readonly string[] | undefined>
  settleStray(tag: string, outcomes: readonly Outcome[]): Promise<readonly string[]>
  /** Puts all that still waits for a batch back into the queue; by another route, if one is given and can be paid for. */
  requeue(
    batch: number,
    epoch: number,
    uses: 'expiry' | 'nothing',
    route?: Route,
  ): Promise<number | undefined>
  batchByRemoteId(batchId: string, tenant: string): Promise<GatewayBatch | undefined>
  /** Those with a remote id, newest first. `after`: a remote id of the same tenant. Undefined when there is no such batch. */
  remoteBatches(
    tenant: string,
    page: { readonly after?: string | undefined; readonly limit: number },
  ): Promise<PageOf<GatewayBatch> | undefined>
  /** Asks for the cancellation of a batch, without a claim: it is due at once. A caller's wish goes before a deadline's. */
  askCancel(batch: number, cancel: 'caller' | 'deadline'): Promise<void>
  retiredTags(): Promise<readonly RetiredTag[]>
  /** No batch can come of them any more, or it has been dealt with. */
  forgetTags(tags: readonly string[]): Promise<void>
  /** Remote files that are to be deleted, oldest first. */
  litter(limit: number): Promise<readonly string[]>
  addLitter(fileIds: readonly string[]): Promise<void>
  forgetLitter(fileIds: readonly string[]): Promise<void>

  // --- calls (flex and direct)
  /** Requests whose deadline is so near (`beforeMs` from now, and not past) that their route has to be thought over, the nearest first. `after`: the last of the page before. */
  pressed(
    beforeMs: number,
    limit: number,
    after?: Pick<StoredRequest, 'id' | 'deadlineAt'>,
  ): Promise<readonly StoredRequest[]>
  /** How long the newest batches took that were carried out, from cut to done, in milliseconds; the newest first. */
  batchTimes(limit: number): Promise<readonly number[]>
  /** Sends waiting requests another way; only those that are still `queued`, and whose tenants can pay for it: it gives which. */
  reroute(ids: readonly string[], route: Route): Promise<readonly string[]>
  /**
   * Takes requests that are to be called, one of each tenant in turn and of each the oldest and most urgent first, and
   * marks them as sent with a lease.
   */
  takeCalls(limit: number, replica: string, leaseMs: number, turn?: CallTurn): Promise<readonly TakenCall[]>
  /** False when another has taken it since. */
  settleCall(epoch: number, outcome: Outcome): Promise<boolean>
  renewCalls(ids: readonly string[], replica: string, leaseMs: number): Promise<void>
  /** Calls whose replica is gone: whether they were carried out is unknown. They are charged at the most, count as tried, and are queued again, some hundreds at a time; gives how many. */
  recoverCalls(): Promise<number>

  // --- access
  tenants(): Promise<readonly Tenant[]>
  putTenant(tenant: Pick<Tenant, 'name' | 'maxNanoUsd' | 'callsPerMinute'>): Promise<void>
  keys(): Promise<readonly StoredKey[]>
  addKey(key: StoredKey): Promise<void>
  /** False when there is none of that id, or it was revoked before. */
  revokeKey(id: string): Promise<boolean>

  // --- replicas, and what all share
  /** Says that a replica lives: its waiters hold their requests for so long. */
  heartbeat(replica: string, leaseMs: number): Promise<void>
  leave(replica: string): Promise<void>
  /** Frees the batches and named leases of replicas that are known to be gone, before their claims end; gives how many batches. */
  freeGone(): Promise<number>
  /** Takes a named lease for one job at a time. False while another has it. */
  lease(name: string, replica: string, leaseMs: number): Promise<boolean>
  /** What is known of the account's limits of enqueued tokens, read and changed in one transaction. */
  quota<Result>(
    change: (board: QuotaBoard) => { readonly board: QuotaBoard; readonly result: Result },
  ): Promise<Result>
  /** Models that the server refused to batch within the last day, with its words, by endpoint and model with a space between. */
  refusedModels(): Promise<ReadonlyMap<string, string>>
  refuseModel(endpoint: string, model: string, message: string): Promise<void>

  // --- after the work
  /** Takes webhooks that are due: for so long nobody else gets them. */
  dueWebhooks(limit: number, leaseMs: number): Promise<readonly DueWebhook[]>
  /** `nextAt` undefined: it is over, delivered or given up. */
  webhookTried(request: string, nextAt: number | undefined): Promise<void>
  /** Forgets what was done before `beforeMs` (milliseconds since 1970), a bounded number at a time; gives how many requests. */
  forget(beforeMs: number, limit: number): Promise<number>
  counts(): Promise<StoreCounts>
  close(): Promise<void>
}
