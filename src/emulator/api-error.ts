import { NightshiftError } from '../errors.ts'

export interface ApiErrorOptions {
  readonly type?: string
  readonly param?: string
  readonly code?: string
  readonly cause?: unknown
}

/** A refusal the emulator answers with, in OpenAI's form. `status` is the HTTP status. */
export class ApiError extends NightshiftError {
  override readonly name = 'ApiError'
  readonly status: number
  readonly body: ErrorBody

  constructor(status: number, message: string, options: ApiErrorOptions = {}) {
    super(options.code ?? 'invalid_request_error', message, {
      retryable: status >= 500 || status === 429,
      cause: options.cause,
    })
    this.status = status
    this.body = errorBody(message, { ...options, type: options.type ?? defaultType(status) })
  }
}

/** `{ error: { message, type, param, code } }`, as every endpoint of the API answers an error. */
export interface ErrorBody {
  readonly error: {
    readonly message: string
    readonly type: string
    readonly param: string | null
    readonly code: string | null
  }
}

const defaultType = (status: number): string => (status >= 500 ? 'server_error' : 'invalid_request_error')

export function errorBody(message: string, options: ApiErrorOptions = {}): ErrorBody {
  const { type = 'invalid_request_error', param = null, code = null } = options
  return { error: { message, type, param, code } }
}
