import { isEmptied } from './batch-faults.ts'
import type { JsonObject } from './json.ts'
import { TERMINAL, WINDOW_MS } from './lifecycle.ts'
import type { BatchRecord, BatchStatus, FileRecord, Totals } from './records.ts'
import { NO_TOTALS } from './tally.ts'

const seconds = (ms: number): number => Math.floor(ms / 1000)

/** A file object of the API. */
export const fileView = (file: FileRecord): JsonObject => ({
  object: 'file',
  id: file.id,
  purpose: file.purpose,
  filename: file.filename,
  bytes: file.bytes,
  created_at: seconds(file.createdMs),
  expires_at: file.expiresMs === undefined ? null : seconds(file.expiresMs),
  status: 'processed',
  status_details: null,
})

/** A batch object of the API. `totals`: of the answers a caller may know of. */
export function batchView(batch: BatchRecord, totals: Totals): JsonObject {
  const over = TERMINAL.has(batch.status)
  const since = (status: BatchStatus): number | null => {
    const at = batch.since[status]
    return at === undefined ? null : seconds(at)
  }
  const hasOutput = totals.outputBytes > 0 || isEmptied(batch, 'output')
  const hasErrors = totals.errorBytes > 0 || hasUnexecuted(batch, totals) || isEmptied(batch, 'error')
  const hasFiles = over && batch.kept !== undefined
  return {
    id: batch.id,
    object: 'batch',
    endpoint: batch.endpoint,
    model: batch.model ?? null,
    errors: batch.errors ? { object: 'list', data: batch.errors } : null,
    input_file_id: batch.inputFileId,
    completion_window: '24h',
    status: batch.status,
    output_file_id: hasFiles && hasOutput ? batch.outputFileId : null,
    error_file_id: hasFiles && hasErrors ? batch.errorFileId : null,
    created_at: seconds(batch.createdMs),
    in_progress_at: since('in_progress'),
    expires_at: seconds(batch.createdMs + WINDOW_MS),
    finalizing_at: since('finalizing'),
    completed_at: since('completed'),
    failed_at: since('failed'),
    expired_at: since('expired'),
    cancelling_at: since('cancelling'),
    cancelled_at: since('cancelled'),
    request_counts: { total: batch.total ?? 0, completed: totals.succeeded, failed: totals.failed },
    metadata: batch.metadata,
    ...(over && { usage: usageView(batch.kept ?? NO_TOTALS) }),
  }
}

/** Lines that were never executed stand in the error file too. */
const hasUnexecuted = ({ status, total = 0 }: BatchRecord, { succeeded, failed }: Totals): boolean =>
  status !== 'failed' && succeeded + failed < total

const usageView = ({ input, cached, output, reasoning }: Totals): JsonObject => ({
  input_tokens: input,
  input_tokens_details: { cached_tokens: cached },
  output_tokens: output,
  output_tokens_details: { reasoning_tokens: reasoning },
  total_tokens: input + output,
})

/** A page of a listing. `items` are all of them, in the order of the listing. */
export function page<Item extends { readonly id: string }>(
  items: readonly Item[],
  { start, limit }: { readonly start: number; readonly limit: number },
  view: (item: Item) => JsonObject,
): JsonObject {
  const shown = items.slice(start, start + limit)
  return {
    object: 'list',
    data: shown.map(view),
    first_id: shown[0]?.id ?? null,
    last_id: shown.at(-1)?.id ?? null,
    has_more: start + limit < items.length,
  }
}
