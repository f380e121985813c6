import type { Metrics } from './metrics.ts'
import type { FileIn } from './queue-file.ts'

/** A queue file that is done, and what only its run knows of it. */
export interface DoneFile {
  readonly file: FileIn<'received' | 'direct'>
  /** From when it was sent to its last verdict: of a set of direct calls that this run has begun. */
  readonly directMs?: number | undefined
}

interface ResultDefinition {
  readonly name: string
  readonly meaning: string
  readonly unit: string
  /** Whether gpt_batch_api has it, too. */
  readonly isShared: boolean
  readonly of: (done: DoneFile) => number | string | undefined
}

const MS_PER_HOUR = 3_600_000

const shared = (
  name: string,
  unit: string,
  meaning: string,
  of: ResultDefinition['of'],
): ResultDefinition => ({
  name,
  meaning,
  unit,
  isShared: true,
  of,
})
const own = (...[name, unit, meaning, of]: Parameters<typeof shared>): ResultDefinition => ({
  ...shared(name, unit, meaning, of),
  isShared: false,
})

/** Figures of one batch, or one set of direct calls: in the row that says that it is done, and in no other. */
export const RESULT_METRICS: readonly ResultDefinition[] = [
  shared('Result/batch_id', '', 'Number of its queue file', ({ file }) => file.id),
  shared('Result/direct_batch', '', '1 for a set of direct calls, 0 for a batch', ({ file }) =>
    file.phase === 'direct' ? 1 : 0,
  ),
  shared(
    'Result/duration_hours',
    'hours',
    'A batch: from its creation to its end; direct calls: to the last verdict',
    ({ file, directMs }) => hours(file.phase === 'direct' ? directMs : file.tookMs),
  ),
  shared('Result/num_batch_errors', 'errors', 'Errors of the batch as a whole', ({ file }) =>
    file.phase === 'direct' ? 0 : file.faults.length,
  ),
  shared('Result/num_requests', 'requests', 'Requests in it', ({ file }) => file.requests),
  shared(
    'Result/num_expired',
    'requests',
    'Came back expired or cancelled, and asked for again',
    ({ file }) => file.results?.expired ?? 0,
  ),
  shared(
    'Result/num_retry',
    'requests',
    'Asked for again after an answer that was not good',
    ({ file }) => file.results?.retried ?? 0,
  ),
  own('Result/num_succeeded', 'requests', 'Accepted', ({ file }) => file.results?.succeeded ?? 0),
  own('Result/num_failed', 'requests', 'Failed for good', ({ file }) => file.results?.failed ?? 0),
  own(
    'Result/num_untried',
    'requests',
    'Queued again without an answer for another reason',
    ({ file }) => file.results?.untried ?? 0,
  ),
  own('Result/model', '', 'Model that was asked', ({ file }) => file.model),
  own('Result/status', '', "The server's last word on a batch; `direct` for direct calls", ({ file }) =>
    file.phase === 'direct' ? 'direct' : file.status,
  ),
  own(
    'Result/cost_usd',
    'USD',
    'What its answers cost',
    ({ file }) => (file.results?.costNanoUsd ?? 0) / 1e9,
  ),
  own('Result/expected_usd', 'USD', 'What it was expected to cost', ({ file }) =>
    file.expectedNanoUsd === undefined ? undefined : file.expectedNanoUsd / 1e9,
  ),
  own(
    'Result/prompt_ktok',
    'thousand tokens',
    'Prompt tokens of its answers',
    ({ file }) => (file.results?.usage.input ?? 0) / 1000,
  ),
  own(
    'Result/prompt_ktok_cached',
    'thousand tokens',
    "Of them, those read from the server's prompt cache",
    ({ file }) => (file.results?.usage.cachedInput ?? 0) / 1000,
  ),
  own(
    'Result/completion_ktok',
    'thousand tokens',
    'Output tokens of its answers',
    ({ file }) => (file.results?.usage.output ?? 0) / 1000,
  ),
  own(
    'Result/completion_ktok_reasoning',
    'thousand tokens',
    'Of them, those spent on reasoning',
    ({ file }) => (file.results?.usage.reasoning ?? 0) / 1000,
  ),
]

const hours = (ms: number | undefined): number | undefined =>
  ms === undefined ? undefined : ms / MS_PER_HOUR

/** What came of a batch, or of a set of direct calls. */
export const resultMetrics = (done: DoneFile): Metrics =>
  Object.fromEntries(
    RESULT_METRICS.flatMap(({ name, of }) => {
      const value = of(done)
      return value === undefined ? [] : [[name, value] as const]
    }),
  )
