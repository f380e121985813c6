import { terminalStatus } from '../batch/polling.ts'
import type { Phase, QueueFile } from '../batch/queue-file.ts'
import { TAG_KEY } from '../batch/remote-marks.ts'
import type { WireBatch, WireFile } from '../openai/wire.ts'
import type { RemoteFacts } from './remote-facts.ts'

/**
 * What a remote batch is to a task. `unknown`: it carries the task's tag, but the ledger has never heard of it (as
 * after the ledger was restored from a copy). `foreign`: not made by Nightshift.
 */
export type BatchRelation =
  | { readonly kind: 'in-use'; readonly file: number; readonly phase: Phase }
  | { readonly kind: 'finished'; readonly file: number }
  | { readonly kind: 'stray' }
  | { readonly kind: 'unknown' }
  | { readonly kind: 'other-task'; readonly taskId: string }
  | { readonly kind: 'foreign' }

export interface BatchEntry {
  readonly id: string
  readonly status: string
  /** Nothing can happen to it any more. */
  readonly isOver: boolean
  readonly relation: BatchRelation
  readonly tag: string | null
  readonly endpoint: string
  readonly createdAt: string
  /** Null while the server has not counted. */
  readonly requests: { readonly total: number; readonly completed: number; readonly failed: number } | null
}

const TAG = /^([0-9a-f]{8})-\d+-[0-9a-f]{12}$/
const UPLOAD = /^nightshift-([0-9a-f]{8}-\d+-[0-9a-f]{12})\.jsonl$/

const taskIdOf = (tag: string): string | undefined => TAG.exec(tag)?.[1]

/** The tag in the name of a file that Nightshift uploaded; undefined for any other file. */
const uploadTag = ({ filename }: WireFile): string | undefined => UPLOAD.exec(filename ?? '')?.[1]

const isoSeconds = (seconds: number): string => new Date(seconds * 1000).toISOString()

export const isOwn = ({ relation: { kind } }: BatchEntry): boolean =>
  kind !== 'other-task' && kind !== 'foreign'

/** A remote batch as the task's ledger sees it. */
export function batchEntry(batch: WireBatch, facts: RemoteFacts): BatchEntry {
  const { id, status, endpoint, created_at, request_counts } = batch
  return {
    id,
    status,
    isOver: terminalStatus(status) !== undefined,
    relation: relationOf(batch, facts),
    tag: batch.metadata?.[TAG_KEY] ?? null,
    endpoint,
    createdAt: isoSeconds(created_at),
    requests: request_counts ?? null,
  }
}

function relationOf(batch: WireBatch, { state, batches, tags, taskId }: RemoteFacts): BatchRelation {
  const tag = batch.metadata?.[TAG_KEY]
  if (state.strays.has(batch.id)) return { kind: 'stray' }
  for (const file of state.files.values())
    if (isBatchOf(file, batch)) return { kind: 'in-use', file: file.id, phase: file.phase }
  const file = batches.get(batch.id)
  if (file !== undefined) return { kind: 'finished', file }
  if (tag === undefined) return { kind: 'foreign' }
  if (tags.has(tag)) return { kind: 'stray' }
  if (tag.startsWith(`${taskId}-`)) return { kind: 'unknown' }
  const other = taskIdOf(tag)
  return other === undefined ? { kind: 'foreign' } : { kind: 'other-task', taskId: other }
}

/** Its batch, or what it will adopt: a create in doubt is recognised by its tag or its input. */
function isBatchOf(file: QueueFile, batch: WireBatch): boolean {
  if ('batchId' in file) return file.batchId === batch.id
  const hasTag = 'tag' in file && file.tag === batch.metadata?.[TAG_KEY]
  return hasTag || ('inputFileId' in file && file.inputFileId === batch.input_file_id)
}

/** What a cancellation would do. `refused`: ids that cannot be cancelled as they were given, and why. */
export interface CancelPlan {
  readonly cancel: readonly BatchEntry[]
  readonly over: readonly BatchEntry[]
  readonly refused: readonly { readonly id: string; readonly why: string }[]
}

/** Without ids: all unfinished batches of the task. With them: these, and with `all` also such as are not the task's. */
export function planCancel(
  entries: readonly BatchEntry[],
  { ids, all }: { readonly ids: readonly string[]; readonly all: boolean },
): CancelPlan {
  const byId = new Map(entries.map((entry) => [entry.id, entry]))
  const named = [...new Set(ids)].map((id) => ({ id, entry: byId.get(id) }))
  const refused = named.flatMap(({ id, entry }) => {
    if (!entry) return [{ id, why: 'the server lists no such batch' }]
    return all || isOwn(entry) ? [] : [{ id, why: 'it is not a batch of this task; --all allows it' }]
  })
  const kept = new Set(refused.map(({ id }) => id))
  const chosen =
    ids.length > 0
      ? named.flatMap(({ id, entry }) => (entry && !kept.has(id) ? [entry] : []))
      : entries.filter((entry) => isOwn(entry) && !entry.isOver)
  const isDone = ({ isOver, status }: BatchEntry): boolean => isOver || status === 'cancelling'
  return { cancel: chosen.filter((entry) => !isDone(entry)), over: chosen.filter(isDone), refused }
}

/** What a server lists. The files are read before the batches, so that what is made of a file is not missed. */
export interface Inventory {
  readonly files: readonly WireFile[]
  readonly batches: readonly WireBatch[]
}

/** An output or error file of a batch. */
export interface ResultFile {
  readonly file: WireFile
  readonly batchId: string
  readonly role: 'output' | 'errors'
}

export interface FileEntry {
  readonly id: string
  readonly name: string | null
  readonly role: 'input' | ResultFile['role']
  /** The batch it belongs to; null when the server lists none. */
  readonly batchId: string | null
  /** Id of the task it belongs to. */
  readonly taskId: string
  readonly bytes: number | null
  readonly createdAt: string | null
  /** Why it must stay; null when nothing needs it any more. */
  readonly neededFor: string | null
}

/** An upload that no batch uses may be about to get one: a create can be waited for that long (`--max-wait`). */
const UNUSED_UPLOAD_MS = 24 * 3600 * 1000

/** The files of Nightshift that a server has: uploads of this task and of others, and the results of this one. */
export function fileEntries(
  inventory: Inventory,
  results: readonly ResultFile[],
  facts: RemoteFacts,
  nowMs: number,
): FileEntry[] {
  const inputs = Map.groupBy(inventory.batches, (batch) => batch.input_file_id)
  const uploads = inventory.files.flatMap((file) => {
    const tag = uploadTag(file)
    const users = inputs.get(file.id) ?? []
    return tag === undefined ? [] : [uploadEntry({ file, tag, users }, facts, nowMs)]
  })
  const statuses = new Map(inventory.batches.map((batch) => [batch.id, batch.status]))
  return [...uploads, ...results.map((one) => resultEntry(one, statuses.get(one.batchId), facts))]
}

interface UploadedFile {
  readonly file: WireFile
  readonly tag: string
  /** Batches made of it. */
  readonly users: readonly WireBatch[]
}

function uploadEntry(upload: UploadedFile, facts: RemoteFacts, nowMs: number): FileEntry {
  const { file, tag, users } = upload
  return {
    ...entryOf(file),
    role: 'input',
    batchId: users[0]?.id ?? null,
    taskId: taskIdOf(tag) ?? '',
    neededFor: whyInputStays(upload, facts, nowMs),
  }
}

function resultEntry(
  { file, batchId, role }: ResultFile,
  status: string | undefined,
  facts: RemoteFacts,
): FileEntry {
  const unfinished = status !== undefined && !terminalStatus(status)
  const unread = facts.released.has(file.id) ? null : `the answers of batch ${batchId} have not been received`
  const neededFor = unfinished ? `batch ${batchId} is ${status}` : unread
  return { ...entryOf(file), role, batchId, taskId: facts.taskId, neededFor }
}

const entryOf = ({ id, filename, bytes, created_at }: WireFile) => ({
  id,
  name: filename ?? null,
  bytes: bytes ?? null,
  createdAt: typeof created_at === 'number' ? isoSeconds(created_at) : null,
})

function whyInputStays(
  { file, tag, users }: UploadedFile,
  { state, tags, released }: RemoteFacts,
  nowMs: number,
): string | null {
  const unfinished = users.find(({ status }) => !terminalStatus(status))
  if (unfinished) return `batch ${unfinished.id} is ${unfinished.status}`
  if (released.has(file.id)) return null
  const queued = [...state.files.values()].find((one) => usesUpload(one, file.id, tag))
  if (queued) return `queue file ${queued.id} is ${queued.phase}`
  if (tags.has(tag) || users.length > 0) return null
  const ageMs = typeof file.created_at === 'number' ? nowMs - file.created_at * 1000 : 0
  return ageMs < UNUSED_UPLOAD_MS ? 'a batch may be about to be made of it: it is younger than a day' : null
}

const usesUpload = (file: QueueFile, id: string, tag: string): boolean =>
  ('inputFileId' in file && file.inputFileId === id) || ('tag' in file && file.tag === tag)
