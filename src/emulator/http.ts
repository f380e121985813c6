import type { Context } from 'hono'
import type { ContentfulStatusCode } from 'hono/utils/http-status'
import { z } from 'zod'
import { ApiError } from './api-error.ts'
import { ConnectionLost } from './connection-lost.ts'
import type { Reply } from './reply.ts'

/** The JSON object in a request's body. Throws `ApiError` (400) when there is none. */
export async function jsonBody(request: Request): Promise<Record<string, unknown>> {
  const text = await request.text()
  try {
    return z.record(z.string(), z.unknown()).parse(JSON.parse(text))
  } catch (error) {
    const message = 'We could not parse the JSON body of your request: the API expects a JSON object.'
    throw new ApiError(400, message, { cause: error })
  }
}

/** An integer of the query string within bounds. Throws `ApiError` (400) for anything else. */
export function integerParam(context: Context, name: string, range: IntegerRange): number {
  const text = context.req.query(name)
  if (text === undefined) return range.default
  const value = Number(text)
  if (text !== '' && Number.isInteger(value) && value >= range.min && value <= range.max) return value
  const code = value > range.max ? 'integer_above_max_value' : 'integer_below_min_value'
  const message = `Invalid '${name}': expected an integer from ${range.min} to ${range.max}, but got '${text}'.`
  throw new ApiError(400, message, { param: name, code: Number.isInteger(value) ? code : 'invalid_type' })
}

export interface IntegerRange {
  readonly min: number
  readonly max: number
  readonly default: number
}

export const invalidValue = (param: string, given: unknown, supported: readonly string[]): ApiError => {
  const list = supported.map((value) => `'${value}'`).join(', ')
  const message = `Invalid value: ${JSON.stringify(given)}. Supported values are: ${list}.`
  return new ApiError(400, message, { param, code: 'invalid_value' })
}

export const missingParameter = (param: string): ApiError =>
  new ApiError(400, `Missing required parameter: '${param}'.`, { param, code: 'missing_required_parameter' })

const EXPIRY_SECONDS = { min: 3600, max: 30 * 24 * 3600 }

/** `{ anchor: 'created_at', seconds }` of a file's or an output's expiry. Throws `ApiError` (400). */
export function expirySeconds(param: string, anchor: unknown, seconds: unknown): number {
  if (anchor !== 'created_at') throw invalidValue(`${param}.anchor`, anchor, ['created_at'])
  const { min, max } = EXPIRY_SECONDS
  const value = typeof seconds === 'string' && seconds !== '' ? Number(seconds) : seconds
  if (typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max) return value
  const message = `Invalid '${param}.seconds': expected an integer from ${min} to ${max}, but got '${String(seconds)}'.`
  throw new ApiError(400, message, { param: `${param}.seconds`, code: 'invalid_value' })
}

const isStatus = (status: number): status is ContentfulStatusCode =>
  Number.isInteger(status) && status >= 200 && status <= 599 && ![204, 205, 304].includes(status)

/** The HTTP form of a reply. Status 0 is a connection that breaks; another that HTTP does not know becomes a 500. */
export function replyResponse(context: Context, reply: Reply): Response {
  if (reply.status === 0) throw new ConnectionLost()
  const headers = {
    'content-type': 'application/json',
    'x-request-id': reply.requestId,
    ...(reply.retryAfter !== undefined && { 'retry-after': reply.retryAfter }),
    ...reply.direct?.headers,
  }
  return context.body(reply.direct?.text ?? reply.text, isStatus(reply.status) ? reply.status : 500, headers)
}

export const errorResponse = (context: Context, error: ApiError): Response =>
  context.json(error.body, isStatus(error.status) ? error.status : 500)
