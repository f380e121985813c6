/** What is told of an error. */
export interface ErrorFacts {
  /** HTTP status. */
  readonly status: number
  /** Stable word for programs. Default: null. */
  readonly code?: string | null | undefined
  /** For people: what is wrong, with the value, and what to do. */
  readonly message: string
  /** The field of the body that is at fault. Default: null. */
  readonly param?: string | null | undefined
}

/** `{ error: { message, type, param, code } }`: what OpenAI's endpoints answer an error with. */
export interface OpenAIError {
  readonly error: {
    readonly message: string
    readonly type: string
    readonly param: string | null
    readonly code: string | null
  }
}

export const openaiError = ({ status, code = null, message, param = null }: ErrorFacts): OpenAIError => ({
  error: { message, type: errorType(status, code), param, code },
})

/** The same as JSON text. */
export const openaiErrorText = (facts: ErrorFacts): string => JSON.stringify(openaiError(facts))

/** OpenAI's word for the kind of error: by its status, and of a 429 by whether waiting or paying helps. */
function errorType(status: number, code: string | null): string {
  if (status >= 500) return 'server_error'
  if (status === 429) return code === 'insufficient_quota' ? 'insufficient_quota' : 'requests'
  return 'invalid_request_error'
}
