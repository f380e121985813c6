import { accept } from './accepting.ts'
import { addKey, keys, putTenant, revokeKey, tenants } from './access.ts'
import { batchTimes } from './batch-times.ts'
import * as batches from './batches.ts'
import * as callers from './callers.ts'
import * as calls from './calls.ts'
import { cut, loads, nextReadyAt } from './cutting.ts'
import type { Database } from './database.ts'
import { counts, dueWebhooks, forget, webhookTried } from './housekeeping.ts'
import * as leftovers from './leftovers.ts'
import { lines, waitingFor } from './lines.ts'
import { freeGone, heartbeat, lease, leave } from './replicas.ts'
import { requeue } from './requeueing.ts'
import { settle, settleStray } from './settling.ts'
import { quota, refusedModels, refuseModel } from './shared-facts.ts'
import type { GatewayStore } from './store.ts'

/** The store, over either database. */
export const storeOver = (database: Database): GatewayStore => ({
  kind: database.kind,
  now: () => database.now(),
  accept: (arrivals, limits) => database.write((tx) => accept(tx, arrivals, limits)),
  letGo: (ids, replica) => callers.letGo(database, ids, replica),
  delivered: (ids) => callers.delivered(database, ids),
  request: (id, tenant) => callers.request(database, id, tenant),
  requests: (ids) => callers.requests(database, ids),
  answers: (ids) => callers.answers(database, ids),
  finishedAmong: (ids) => callers.finishedAmong(database, ids),
  cancelRequest: (id, tenant, answer) => callers.cancelRequest(database, { id, tenant, answer }),
  heldBy: (replica) => callers.heldBy(database, replica),
  onDone: (listener) => database.onDone(listener),
  onReturn: (listener) => database.onReturn(listener),
  loads: () => loads(database),
  nextReadyAt: () => nextReadyAt(database),
  cut: (group, limits) => cut(database, group, limits),
  dueBatches: (limit) => batches.dueBatches(database, limit),
  openBatches: () => batches.openBatches(database),
  claim: (batch, replica, leaseMs) => batches.claim(database, batch, replica, leaseMs),
  renew: (batch, epoch, leaseMs) => batches.renew(database, batch, epoch, leaseMs),
  change: (batch, epoch, change) => batches.change(database, batch, epoch, change),
  release: (batch, epoch, nextAt) => batches.release(database, batch, epoch, nextAt),
  lines: (batch) => lines(database, batch),
  waitingFor: (batch) => waitingFor(database, batch),
  settle: (batch, epoch, outcomes) => settle(database, batch, epoch, outcomes),
  settleStray: (tag, outcomes) => settleStray(database, tag, outcomes),
  requeue: (batch, epoch, uses, route) => requeue(database, batch, epoch, { uses, route }),
  batchByRemoteId: (batchId, tenant) => batches.batchByRemoteId(database, batchId, tenant),
  remoteBatches: (tenant, page) => batches.remoteBatches(database, tenant, page),
  askCancel: (batch, cancel) => batches.askCancel(database, batch, cancel),
  retiredTags: () => leftovers.retiredTags(database),
  forgetTags: (tags) => leftovers.forgetTags(database, tags),
  litter: (limit) => leftovers.litter(database, limit),
  addLitter: (fileIds) => database.write((tx) => leftovers.addLitter(tx, fileIds)),
  forgetLitter: (fileIds) => leftovers.forgetLitter(database, fileIds),
  pressed: (beforeMs, limit, after) => calls.pressed(database, { beforeMs, limit, after }),
  batchTimes: (limit) => batchTimes(database, limit),
  reroute: (ids, route) => calls.reroute(database, ids, route),
  takeCalls: (limit, replica, leaseMs, { exceptModels = [], afterTenant = '' } = {}) =>
    calls.takeCalls(database, { limit, replica, leaseMs, exceptModels, afterTenant }),
  settleCall: (epoch, outcome) => calls.settleCall(database, epoch, outcome),
  renewCalls: (ids, replica, leaseMs) => calls.renewCalls(database, ids, replica, leaseMs),
  recoverCalls: () => calls.recoverCalls(database),
  tenants: () => tenants(database),
  putTenant: (tenant) => putTenant(database, tenant),
  keys: () => keys(database),
  addKey: (key) => addKey(database, key),
  revokeKey: (id) => revokeKey(database, id),
  heartbeat: (replica, leaseMs) => heartbeat(database, replica, leaseMs),
  leave: (replica) => leave(database, replica),
  freeGone: () => freeGone(database),
  lease: (name, replica, leaseMs) => lease(database, name, replica, leaseMs),
  quota: (change) => quota(database, change),
  refusedModels: () => refusedModels(database),
  refuseModel: (endpoint, model, message) => refuseModel(database, endpoint, model, message),
  dueWebhooks: (limit, leaseMs) => dueWebhooks(database, limit, leaseMs),
  webhookTried: (request, nextAt) => webhookTried(database, request, nextAt),
  forget: (beforeMs, limit) => forget(database, beforeMs, limit),
  counts: () => counts(database),
  close: () => database.close(),
})
