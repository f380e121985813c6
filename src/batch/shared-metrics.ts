import {
  batches,
  batchNanoUsd,
  ktok,
  type MetricDefinition,
  mib,
  number,
  requests,
  samples,
  usd,
} from './metric-definition.ts'
import type { FileSums, MetricSource } from './metric-sums.ts'

/** By the names, and with the meaning, that they have in gpt_batch_api. */
export const SHARED_METRICS: readonly MetricDefinition[] = [
  samples('Task/samples_committed', 'Samples that requests were committed for', (s) => s.samples.committed),
  samples(
    'Task/samples_pending',
    'Of them, those without any verdict',
    (s) => s.samples.committed - responded(s),
  ),
  samples('Task/samples_responded', 'Of them, those with a verdict that is final', responded),
  samples('Task/samples_succeeded', 'Samples with a request that succeeded', (s) => s.samples.succeeded),
  samples('Task/samples_failed', 'Samples with a request that failed for good', (s) => s.samples.failed),
  samples('Task/samples_mixed_success', 'Samples with both', (s) => s.samples.mixed),

  number('Output/num_files', 'Parts of the output', ({ state }) =>
    state.output.lines > 0 ? state.output.part : 0,
  ),
  number('Output/last_file_entries', 'Lines in the last part', ({ state }) => state.output.lines),
  mib('Output/last_file_size_mb', 'Size of the last part', (s) => s.outputBytes),

  requests('Queue/pool_len', 'Added, but not committed yet', (s) => s.uncommitted),
  requests(
    'Queue/queue_len',
    'Committed, and in a queue file that is still filled',
    (s) => s.sums.open.requests,
  ),
  requests('Queue/num_requests', 'Both together', (s) => s.uncommitted + s.sums.open.requests),
  mib('Queue/json_size_mb', 'Size of the queue files that are still filled', (s) => s.sums.open.bytes),
  ktok('Queue/input_ktok', 'Prompt tokens in them, as estimated', (s) => s.sums.open.inputTokens),
  ktok('Queue/max_output_ktok', 'The most output tokens they may take', (s) => s.sums.open.mostOutputTokens),
  ktok('Queue/pred_output_ktok', 'Output tokens, as estimated', (s) => s.sums.open.outputTokens),
  number('Queue/pred_completion_ratio', 'Estimated output tokens as a share of the most', ({ sums }) =>
    sums.open.mostOutputTokens > 0 ? sums.open.outputTokens / sums.open.mostOutputTokens : undefined,
  ),
  usd(
    'Queue/pred_cost_direct',
    'What they are expected to cost as direct calls',
    (s) => s.sums.open.directNanoUsd,
  ),
  usd('Queue/pred_cost_batch', 'The same as batches', (s) => s.sums.open.expectedNanoUsd),

  number('Metrics/max_request_id', 'The highest number that a request has', (s) => s.lastRequest),
  requests(
    'Metrics/num_requests',
    'In batches that are done, and sent directly; repeats included',
    (s) => s.state.spending.sentRequests - s.sums.remote.requests,
  ),
  usd('Metrics/cost', 'Spent so far, by real usage', ({ state }) => state.spending.costNanoUsd),
  batches(
    'Metrics/processed_failed_batches',
    'Failed batches that this run has finished all the same',
    (s) => s.processedFailedBatches,
  ),

  number('Batch/max_batch_id', 'The highest number that a queue file has', ({ state }) => state.lastFile),
  batches(
    'Batch/num_total',
    'Batches made so far, those that wait to be sent included',
    (s) => s.state.tally.batches + s.sums.unpushed.files,
  ),
  batches(
    'Batch/num_completed',
    'Of them, those that are done',
    (s) => s.state.tally.batches - s.sums.remote.files,
  ),
  batches('Batch/num_ongoing', 'Of them, the others', (s) => s.sums.unpushed.files + s.sums.remote.files),
  batches('Batch/num_unpushed', 'Closed, and not known to be at the server', (s) => s.sums.unpushed.files),
  batches(
    'Batch/num_remote',
    'At the server, or back with requests that wait for a verdict',
    (s) => s.sums.remote.files,
  ),
  requests(
    'Batch/ongoing_requests',
    'In batches that are not done',
    (s) => s.sums.unpushed.requests + s.sums.remote.requests,
  ),
  mib(
    'Batch/ongoing_json_size_mb',
    'Size of these batches',
    (s) => s.sums.unpushed.bytes + s.sums.remote.bytes,
  ),
  ktok(
    'Batch/ongoing_input_ktok',
    'Prompt tokens in them, as estimated',
    (s) => s.sums.unpushed.inputTokens + s.sums.remote.inputTokens,
  ),
  usd(
    'Batch/ongoing_pred_cost',
    'What they are expected to cost',
    (s) => s.sums.unpushed.expectedNanoUsd + s.sums.remote.expectedNanoUsd,
  ),
  requests(
    'Batch/unpushed_requests',
    'In batches that are not known to be at the server',
    (s) => s.sums.unpushed.requests,
  ),
  mib('Batch/unpushed_json_size_mb', 'Size of these batches', (s) => s.sums.unpushed.bytes),
  ktok(
    'Batch/unpushed_input_ktok',
    'Prompt tokens in them, as estimated',
    (s) => s.sums.unpushed.inputTokens,
  ),
  usd('Batch/unpushed_pred_cost', 'What they are expected to cost', (s) => s.sums.unpushed.expectedNanoUsd),
  requests(
    'Batch/remote_requests',
    'In batches at the server, or back from it',
    (s) => s.sums.remote.requests,
  ),
  requests(
    'Batch/remote_requests_completed',
    'Of them, those that the server says are answered; left out until it has said so of all',
    (s) => s.sums.remote.answered?.completed,
  ),
  requests(
    'Batch/remote_requests_failed',
    'Of them, those that the server says have failed',
    (s) => s.sums.remote.answered?.failed,
  ),
  requests('Batch/remote_requests_running', 'Of them, the others', ({ sums: { remote } }) => running(remote)),
  mib('Batch/remote_json_size_mb', 'Size of these batches', (s) => s.sums.remote.bytes),
  ktok('Batch/remote_input_ktok', 'Prompt tokens in them, as estimated', (s) => s.sums.remote.inputTokens),
  usd('Batch/remote_pred_cost', 'What they are expected to cost', (s) => s.sums.remote.expectedNanoUsd),
  usd('Batch/completed_cost', 'What answers by batch have cost so far', batchNanoUsd),
  batches(
    'Batch/consec_pass_failures',
    'In a row with too few usable answers',
    ({ state }) => state.passFailures,
  ),

  number(
    'Direct/num_completed',
    'Sets of direct calls that are done',
    (s) => s.state.tally.directSets - s.sums.direct.files,
  ),
  usd(
    'Direct/completed_cost',
    'What answers to direct calls have cost so far',
    ({ state: { spending } }) => spending.directNanoUsd + spending.flexNanoUsd,
  ),

  requests(
    'Pushed/task_requests',
    'Sent in the life of the task',
    ({ state }) => state.spending.sentRequests,
  ),
  ktok(
    'Pushed/task_input_ktok',
    'Prompt tokens in them, as estimated',
    ({ state }) => state.spending.sentInputTokens,
  ),
  usd('Pushed/task_pred_cost', 'What they were expected to cost', ({ state }) => state.spending.sentNanoUsd),
  requests(
    'Pushed/session_requests',
    'Sent in this run',
    (s) => s.state.spending.sentRequests - s.before.sentRequests,
  ),
  ktok(
    'Pushed/session_input_ktok',
    'Prompt tokens in them, as estimated',
    (s) => s.state.spending.sentInputTokens - s.before.sentInputTokens,
  ),
  usd(
    'Pushed/session_pred_cost',
    'What they were expected to cost',
    (s) => s.state.spending.sentNanoUsd - s.before.sentNanoUsd,
  ),

  ktok('Usage/prompt_ktok', 'Prompt tokens of all answers', ({ state }) => state.spending.inputTokens),
  ktok(
    'Usage/prompt_ktok_cached',
    "Of them, those read from the server's prompt cache",
    ({ state }) => state.spending.cachedInputTokens,
  ),
  ktok('Usage/completion_ktok', 'Output tokens of all answers', ({ state }) => state.spending.outputTokens),
  ktok(
    'Usage/completion_ktok_reasoning',
    'Of them, those spent on reasoning',
    ({ state }) => state.spending.reasoningTokens,
  ),
  ktok(
    'Usage/total_ktok',
    'Prompt and output tokens',
    ({ state: { spending } }) => spending.inputTokens + spending.outputTokens,
  ),
]

function responded({ samples: { succeeded, failed, mixed } }: MetricSource): number {
  return succeeded + failed - mixed
}

function running({ requests: sent, answered }: FileSums['remote']): number | undefined {
  return answered && sent - answered.completed - answered.failed
}
