import type { Generated } from 'kysely'
import type { Endpoint } from '../../openai/wire.ts'
import type { BatchPhase } from '../domain/batch.ts'
import type { Ending, Mode, Priority, RequestState, Route } from '../domain/request.ts'

/** 0 or 1: SQLite has no booleans, and both stores have the same tables. */
type Flag = number

/**
 * A request. What is large is in tables of its own, so that a change of state writes some hundred bytes. Amounts are in
 * nano-USD, times in milliseconds since 1970.
 */
export interface RequestsTable {
  /** Order of arrival. */
  readonly seq: Generated<number>
  readonly id: string
  readonly tenant: string
  readonly endpoint: Endpoint
  readonly model: string
  has_deadline: Flag
  state: RequestState
  readonly fingerprint: string
  readonly idempotency_key: string | null
  /** Replica whose live caller waits; empty for none: a value that an index finds like any other. */
  holder: string
  mode: Mode
  priority: Priority
  deadline_at: number | null
  readonly max_nano: number | null
  webhook: string | null
  route: Route
  readonly line_bytes: number
  /** `TokenForecast` as JSON. */
  readonly tokens: string
  /** Expected prompt tokens: `tokens.input`, for sums. */
  readonly input_tokens: number
  /** Embedding inputs. */
  readonly inputs: number
  /** Set aside from what its tenant may spend. */
  reserved_nano: number
  /** The most it can be charged in a batch, and by a call of its own (flex or direct); null when nobody can say. */
  readonly most_nano: number | null
  readonly most_direct_nano: number | null
  /** The batch that has its line: also of one that was cancelled meanwhile, and may still be charged. */
  batch: number | null
  /** Raised each time it is called by itself. */
  call_epoch: Generated<number>
  /** The replica that calls it, and until when it is trusted to be at it; as `batch` also of one that was cancelled. */
  caller: string | null
  call_until: number | null
  attempts: Generated<number>
  expiries: Generated<number>
  readonly created_at: number
  /** Null: at once. */
  ready_at: number | null
  finished_at: number | null
  delivered_at: number | null
  ending: Ending | null
  cost_nano: number | null
}

/** Body of a request that is not done. */
export interface BodiesTable {
  readonly seq: number
  readonly body: string
}

/** What the caller of a request that is done gets. */
export interface AnswersTable {
  readonly seq: number
  readonly status: number
  readonly body: string
  readonly request_id: string | null
  readonly batch_id: string | null
}

export interface BatchesTable {
  readonly number: Generated<number>
  readonly tenant: string
  readonly endpoint: Endpoint
  readonly model: string
  readonly has_deadline: Flag
  phase: BatchPhase
  readonly requests: number
  live: number
  readonly bytes: number
  readonly tokens: number
  readonly created_at: number
  phase_at: number
  phase_epoch: number
  epoch: number
  holder: string | null
  lease_until: number | null
  tag: string | null
  upload_in_doubt: Flag
  input_file_id: string | null
  since: number | null
  fenced_at: number | null
  batch_id: string | null
  adopted: Flag
  status: string | null
  remote: string | null
  output_file_id: string | null
  error_file_id: string | null
  /** `BatchFault[]` as JSON. */
  faults: string
  looks: number
  failures: number
  cancel: 'caller' | 'deadline' | null
  deadline_at: number | null
  next_at: number
  note: string | null
}

export interface TenantsTable {
  readonly name: string
  max_nano: number | null
  calls_per_minute: number | null
  spent_nano: Generated<number>
  reserved_nano: Generated<number>
  /** Requests that are not done. */
  waiting: Generated<number>
}

export interface KeysTable {
  readonly id: string
  readonly tenant: string
  readonly name: string
  readonly hash: string
  readonly created_at: number
  revoked_at: number | null
}

export interface ReplicasTable {
  readonly id: string
  lease_until: number
  /** Null: it was never heard of. */
  beat_at: number | null
  /** By which it can be heard that its process lives then (`Database.voice`); null: its lease alone says so. */
  voice: string | null
}

export interface LeasesTable {
  readonly name: string
  replica: string
  lease_until: number
}

/** Single values that all replicas share, JSON texts by name. */
export interface FactsTable {
  readonly name: string
  value: string
}

export interface RefusedModelsTable {
  readonly endpoint: string
  readonly model: string
  message: string
  since: number
}

export interface RetiredTagsTable {
  readonly tag: string
  readonly batch: number
  readonly input_file_id: string | null
  readonly since: number
}

export interface LitterTable {
  readonly place: Generated<number>
  readonly file_id: string
}

export interface WebhooksTable {
  readonly seq: number
  readonly url: string
  tries: Generated<number>
  next_at: number
}

/** Of PostgreSQL alone; see commit-marks.ts. */
export interface CommitMarksTable {
  readonly voice: string
  readonly slot: number
  token: string
  at: number
}

/** The steps that made the schema what it is; see migrations.ts. */
export interface SchemaVersionsTable {
  readonly version: number
  /** The first release that can work with it. */
  readonly needs: string
}

export interface Tables {
  readonly schema_versions: SchemaVersionsTable
  readonly commit_marks: CommitMarksTable
  readonly requests: RequestsTable
  readonly bodies: BodiesTable
  readonly answers: AnswersTable
  readonly batches: BatchesTable
  readonly tenants: TenantsTable
  readonly keys: KeysTable
  readonly replicas: ReplicasTable
  readonly leases: LeasesTable
  readonly facts: FactsTable
  readonly refused_models: RefusedModelsTable
  readonly retired_tags: RetiredTagsTable
  readonly litter: LitterTable
  readonly webhooks: WebhooksTable
}
