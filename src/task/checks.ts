import { TaskError } from '../errors.ts'
import { ENDPOINTS, type Endpoint } from '../openai/wire.ts'
import type { GPTRequester } from '../requester/requester.ts'
import type { TaskOutput } from './output.ts'

const DEFAULT_ENDPOINT: Endpoint = '/v1/chat/completions'

/** Lines that were written in one form cannot be gone on with in another. */
export function checkOutput(requester: GPTRequester, output: TaskOutput): void {
  const { part, lines } = requester.state.output
  const suffix = output.suffix(part)
  if (lines === 0 || requester.fileLength(suffix) > 0) return
  const message = `createOutput() gives an output that is written to ${requester.path(suffix)}, but the task has ${lines} lines in another file; use the form it was begun with, or another task name`
  throw new TaskError('output_changed', message)
}

/** The endpoint of that name, or the default one. Throws TaskError `bad_endpoint`. */
export function knownEndpoint(endpoint: string | undefined): Endpoint {
  const known = ENDPOINTS.find((one) => one === (endpoint ?? DEFAULT_ENDPOINT))
  if (known) return known
  throw new TaskError(
    'bad_endpoint',
    `endpoint ${JSON.stringify(endpoint)} is not supported; use one of ${ENDPOINTS.join(', ')}`,
  )
}
