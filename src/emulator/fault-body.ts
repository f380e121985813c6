import { errorBody } from './api-error.ts'
import type { Body } from './scenario-call.ts'

/** The body that a scenario asks for: the value it has inside JSON, and its text and type as an answer of its own. */
export interface BodyText {
  readonly value: unknown
  readonly text: string
  readonly type: string
}

const JSON_TYPE = 'application/json'

export function bodyText({ status, error, json, text = '' }: Body & { readonly status: number }): BodyText {
  const value = error ? errorBody(error.message, { type: typeOf(status), ...given(error) }) : json
  if (value !== undefined) return { value, text: JSON.stringify(value), type: JSON_TYPE }
  return { value: text, text, type: text.trimStart().startsWith('<') ? 'text/html' : 'text/plain' }
}

const typeOf = (status: number): string => (status >= 500 ? 'server_error' : 'invalid_request_error')

function given({ type, code, param }: NonNullable<Body['error']>) {
  return {
    ...(type !== undefined && { type }),
    ...(code !== null && { code }),
    ...(param !== null && { param }),
  }
}
