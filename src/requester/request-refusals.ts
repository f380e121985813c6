import { TaskError } from '../errors.ts'
import type { Endpoint } from '../openai/wire.ts'

const OUTPUT_FIELD = {
  '/v1/chat/completions': 'max_completion_tokens',
  '/v1/responses': 'max_output_tokens',
  '/v1/embeddings': 'none',
} as const satisfies Record<Endpoint, string>

const refused = (code: string, key: string, why: string): TaskError =>
  new TaskError(code, `request ${JSON.stringify(key)}: ${why}. It is not sent.`)

export const unknownPrice = (key: string, model: string): TaskError =>
  refused(
    'unknown_price',
    key,
    `model ${JSON.stringify(model)} has no known price; give it in USD per million tokens with --cost-input-direct-mtoken and --cost-output-direct-mtoken (0 for a server that charges nothing; batches cost half unless --cost-input-batch-mtoken and --cost-output-batch-mtoken say otherwise)`,
  )

export const noMaximum = (key: string, endpoint: Endpoint): TaskError =>
  refused(
    'no_output_limit',
    key,
    `under --max-spend every request needs a maximum of output tokens, or nobody can say what it may cost; set body.${OUTPUT_FIELD[endpoint]}`,
  )

export const noCeiling = (key: string, why: string): TaskError =>
  refused('no_ceiling', key, `under --max-spend it must be known what a request may cost at most: ${why}`)
