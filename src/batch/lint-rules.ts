/** `error`: the server would refuse the whole batch. `warning`: this request alone would fail, or other servers differ. */
export type LintSeverity = 'error' | 'warning'

interface LintRule {
  readonly severity: LintSeverity
  /** For the documentation. */
  readonly meaning: string
}

const error = (meaning: string) => ({ severity: 'error', meaning }) as const
const warning = (meaning: string) => ({ severity: 'warning', meaning }) as const

/** All that a batch input file is checked for. The codes are stable. */
export const LINT_RULES = {
  // --- the file
  empty_file: error('there is no request in the file'),
  bad_file_name: error('the name does not end in `.jsonl`'),
  file_too_large: error('more than 200 MiB'),
  file_near_limit: warning('more than 200 MB, but not more than 200 MiB'),
  too_many_requests: error('more than 50,000 requests'),
  too_many_inputs: error('more than 50,000 embedding inputs in all requests together'),
  // --- a line as text
  bom: error('a byte order mark'),
  not_utf8: error('bytes that are not UTF-8'),
  crlf: warning('lines that end in CR LF; said once'),
  blank_line: error('a line without a request, between others'),
  blank_end: warning('lines without a request after the last one'),
  not_json: error('a line that is not JSON'),
  not_an_object: error('a line that is JSON, but no object'),
  // --- a request
  unknown_field: warning('a field beside `custom_id`, `method`, `url` and `body`'),
  no_custom_id: error('`custom_id` is missing'),
  bad_custom_id: error('`custom_id` is empty, or no text'),
  odd_custom_id: warning('`custom_id` is not 1 to 64 of `a-z A-Z 0-9 _ -`, which other servers ask for'),
  duplicate_custom_id: error('`custom_id` was used in an earlier line'),
  bad_method: error('`method` is not `POST`'),
  no_url: error('`url` is missing, or no text'),
  unknown_url: error('`url` is no endpoint that takes batches'),
  mixed_urls: error('`url` differs from that of the first request'),
  bad_body: error('`body` is missing, or no object'),
  // --- a body
  no_model: error('`body.model` is missing, empty, or no text'),
  mixed_models: error('`body.model` differs from that of the first request'),
  streaming: error('`body.stream` is true'),
  stream_options: warning('`body.stream_options` without a stream'),
  service_tier: warning('`body.service_tier` is set: a batch is a tier of its own'),
  missing_field: warning('the endpoint needs a field that the body lacks'),
  // --- what the caller knows about the file
  wrong_size: error('the file is not as long, or has not as many requests, as was written'),
} as const satisfies Readonly<Record<string, LintRule>>

export type LintCode = keyof typeof LINT_RULES

/** Tells of a fault: its code, and for people the value, the place and what to do. */
export type Report = (code: LintCode, message: string) => void
