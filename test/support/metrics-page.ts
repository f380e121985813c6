import type { METRICS } from '../../src/batch/metrics.ts'
import type { RESULT_METRICS } from '../../src/batch/result-metrics.ts'

interface MetricTables {
  readonly shared: typeof METRICS
  readonly own: typeof METRICS
  readonly results: typeof RESULT_METRICS
}

interface Row {
  readonly name: string
  readonly meaning: string
  readonly unit: string
}

const HEADER = `# Figures

What a run tells of itself: in the lines of \`<name>_progress.jsonl\`, at Weights & Biases, and to reporters (the
\`metrics\` of \`sample\` and \`batch-result\` events). All are of what is on disk, and of the whole life of the task unless
they say otherwise. Money is in USD, sizes are in MiB (1,048,576 bytes), tokens in thousands.

This page is generated from \`src/batch/\`; \`npx vitest run test/batch/metrics.test.ts -u\` writes it anew.
`

const PARAMS = `## Parameters

\`TaskMeta/<name>\`: the first hundred of the task's parameters that are a number, a text (its first 500 characters), or
true or false (1 or 0). One whose name looks like that of a secret, such as \`apiKey\` or \`hf_token\`, is left out.
`

const DIFFERENCES = `## What gpt_batch_api has and Nightshift does not

\`Task/run_step\` (there are no steps), \`Task/committed_<k>\` and \`Task/responded_<k>\` (a task keeps no such maps),
\`Output/num_data_fields\`, \`Output/max_file_entries\` and \`Output/max_file_size_mb\`, \`Metrics/num_api_calls\`,
\`num_models\`, \`num_fingerprints\`, \`json_size_mb\` and those about the length of completions, \`Batch/completed_requests\`,
\`Direct/max_direct_id\` and \`Direct/completed_requests\`, and the splits of \`Result/\` by warning and error.
`

/** The page \`docs/metrics.md\`. */
export const renderMetricsMarkdown = ({ shared, own, results }: MetricTables): string =>
  [
    HEADER,
    section('Figures that gpt_batch_api has, too', 'Under the same names.', shared),
    section('Figures of Nightshift', 'Beside them.', own),
    PARAMS,
    section(
      'Of one batch',
      'In the line that says that a batch, or a set of direct calls, is done (`Event/kind` is `batch-result`), and in no other. ' +
        'Each attempt at a request ends as one of `num_succeeded`, `num_failed`, `num_retry`, `num_expired` and `num_untried`.',
      results,
    ),
    DIFFERENCES,
  ].join('\n')

const section = (title: string, text: string, rows: readonly Row[]): string =>
  [
    `## ${title}`,
    '',
    text,
    '',
    '| Name | Unit | Meaning |',
    '|---|---|---|',
    ...rows.map(({ name, unit, meaning }) => `| \`${name}\` | ${unit} | ${meaning} |`),
    '',
  ].join('\n')
