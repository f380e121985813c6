import type { Selectable } from 'kysely'
import { z } from 'zod'
import type { BatchFault } from '../../batch/steps.ts'
import type { TokenForecast } from '../../tokens/forecast.ts'
import type { GatewayBatch } from '../domain/batch.ts'
import type { StoredRequest } from '../domain/request.ts'
import type { StoredKey, Tenant } from '../domain/tenant.ts'
import type { BatchesTable, KeysTable, RequestsTable, TenantsTable } from './schema.ts'

export type RequestRow = Selectable<RequestsTable>
export type BatchRow = Selectable<BatchesTable>

const tokensSchema = z.object({
  requests: z.number(),
  input: z.number(),
  output: z.number(),
  mostInput: z.number(),
  mostOutput: z.number(),
  longest: z.number(),
  unbounded: z.number(),
})
const faultsSchema = z.array(z.object({ code: z.string(), message: z.string(), line: z.number().optional() }))

/** What a database has no value for is null there, and left undefined here. */
export const orUndefined = <Value>(value: Value | null): Value | undefined => value ?? undefined
export const orNull = <Value>(value: Value | undefined): Value | null => value ?? null
export const flag = (value: boolean): number => (value ? 1 : 0)

export const requestOf = (row: RequestRow): StoredRequest => ({
  id: row.id,
  tenant: row.tenant,
  endpoint: row.endpoint,
  model: row.model,
  hasDeadline: row.has_deadline === 1,
  state: row.state,
  fingerprint: row.fingerprint,
  idempotencyKey: orUndefined(row.idempotency_key),
  mode: row.mode,
  priority: row.priority,
  deadlineAt: orUndefined(row.deadline_at),
  maxNanoUsd: orUndefined(row.max_nano),
  webhook: orUndefined(row.webhook),
  route: row.route,
  lineBytes: row.line_bytes,
  tokens: tokensOf(row.tokens),
  reservedNanoUsd: row.reserved_nano,
  // The row of one that is done keeps it until what it was charged is known: that is the store's own business.
  batch: row.state === 'batched' ? orUndefined(row.batch) : undefined,
  attempts: row.attempts,
  expiries: row.expiries,
  createdAt: row.created_at,
  readyAt: row.ready_at ?? row.created_at,
  finishedAt: orUndefined(row.finished_at),
  deliveredAt: orUndefined(row.delivered_at),
  ending: orUndefined(row.ending),
  costNanoUsd: orUndefined(row.cost_nano),
})

const tokensOf = (text: string): TokenForecast => tokensSchema.parse(JSON.parse(text))

export const batchOf = (row: BatchRow): GatewayBatch => ({
  number: row.number,
  tenant: row.tenant,
  endpoint: row.endpoint,
  model: row.model,
  hasDeadline: row.has_deadline === 1,
  phase: row.phase,
  requests: row.requests,
  live: row.live,
  bytes: row.bytes,
  tokens: row.tokens,
  createdAt: row.created_at,
  phaseAt: row.phase_at,
  phaseEpoch: row.phase_epoch,
  epoch: row.epoch,
  tag: orUndefined(row.tag),
  uploadInDoubt: row.upload_in_doubt === 1,
  inputFileId: orUndefined(row.input_file_id),
  since: orUndefined(row.since),
  fencedAt: orUndefined(row.fenced_at),
  batchId: orUndefined(row.batch_id),
  adopted: row.adopted === 1,
  status: orUndefined(row.status),
  remote: orUndefined(row.remote),
  outputFileId: orUndefined(row.output_file_id),
  errorFileId: orUndefined(row.error_file_id),
  faults: faultsOf(row.faults),
  looks: row.looks,
  failures: row.failures,
  cancel: orUndefined(row.cancel),
  deadlineAt: orUndefined(row.deadline_at),
  nextAt: row.next_at,
  note: orUndefined(row.note),
})

const faultsOf = (text: string): readonly BatchFault[] =>
  faultsSchema
    .parse(JSON.parse(text))
    .map(({ code, message, line }) => ({ code, message, ...(line !== undefined && { line }) }))

export const tenantOf = (row: Selectable<TenantsTable>): Tenant => ({
  name: row.name,
  maxNanoUsd: orUndefined(row.max_nano),
  callsPerMinute: orUndefined(row.calls_per_minute),
  spentNanoUsd: row.spent_nano,
  reservedNanoUsd: row.reserved_nano,
})

export const keyOf = (row: Selectable<KeysTable>): StoredKey => ({
  id: row.id,
  tenant: row.tenant,
  name: row.name,
  hash: row.hash,
  createdAt: row.created_at,
  revokedAt: orUndefined(row.revoked_at),
})

/** Text that comes from elsewhere, as a database can hold it: PostgreSQL has no character 0, and SQLite ends at one. */
export const storable = (text: string): string =>
  text.includes('\0') ? text.replaceAll('\0', '\ufffd') : text
