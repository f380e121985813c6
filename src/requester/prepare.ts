import { hash } from 'node:crypto'
import { TaskError } from '../errors.ts'
import type { Endpoint } from '../openai/wire.ts'
import { jsonCopy, jsonText } from '../util/json-text.ts'
import type { PreparedRequest } from './queue.ts'

/** A request as a caller gives it. */
export interface NewRequest {
  /** Unique in the task and the same in every run. */
  readonly key: string
  /** The request body of the endpoint; `model` is required. */
  readonly body: object
  /** What several requests have in common. Default: `key`. */
  readonly sample?: string | undefined
  /** Any JSON value; handed back with the results. */
  readonly meta?: unknown
}

/** Changes a body on its way out, such as adding an answer schema. Must depend on nothing but what it is given. */
export type PrepareBody = (
  body: object,
  request: { readonly key: string; readonly sample: string; readonly meta: unknown },
) => object

export interface PrepareOptions {
  readonly endpoint: Endpoint
  readonly prepareBody: PrepareBody
}

/** 64 bits of a hash over the body as yielded, 16 hex digits: enough to notice that a key was given another body. */
export const bodyHash = (bodyText: string): string => hash('sha256', bodyText, 'hex').slice(0, 16)

/** Checks a request and puts it into the form it is queued in. Throws TaskError; nothing was kept of the request. */
export function prepareRequest(request: NewRequest, options: PrepareOptions): PreparedRequest {
  const { key, sample = key, meta } = request
  if (typeof key !== 'string' || key === '')
    throw badRequest('bad_key', key, `key must be a text that is not empty`)
  if (typeof sample !== 'string' || sample === '')
    throw badRequest('bad_sample', key, 'sample must be a text that is not empty')
  const kept =
    meta === undefined
      ? undefined
      : jsonCopy(meta, { what: `meta of request ${JSON.stringify(key)}`, code: 'bad_meta' })
  const yielded = bodyJson(request.body, key)
  return {
    key,
    sample,
    meta: kept,
    hash: bodyHash(yielded),
    ...prepareBody(request.body, { key, sample, meta }, options, yielded),
  }
}

/** The body in the form it is sent in: as given, but without `stream`, and with what `prepareBody` adds. `yielded` is its text as given. */
export function prepareBody(
  body: object,
  request: { readonly key: string; readonly sample: string; readonly meta: unknown },
  { endpoint, prepareBody }: PrepareOptions,
  yielded?: string,
): Pick<PreparedRequest, 'endpoint' | 'model' | 'bodyText' | 'body'> {
  const { key } = request
  const model = 'model' in body ? body.model : undefined
  if (typeof model !== 'string' || model === '') {
    throw badRequest('no_model', key, 'body.model must name a model, such as "gpt-5-mini"')
  }
  const prepared = prepareBody(body, request)
  const bodyText = wireText(prepared, key, prepared === body ? yielded : undefined)
  return { endpoint, model, bodyText, body: prepared }
}

/** The text of a body without what only a live call can have. `known` is its text, when there is one already. */
function wireText(body: object, key: string, known: string | undefined): string {
  if (known !== undefined && !('stream' in body) && !('stream_options' in body)) return known
  const { stream: _, stream_options: __, ...rest }: Readonly<Record<string, unknown>> = { ...body }
  return bodyJson(rest, key)
}

function bodyJson(body: unknown, key: string): string {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) {
    throw badRequest('bad_body', key, 'body must be an object, as the endpoint takes it')
  }
  return jsonText(body, { what: `the body of request ${JSON.stringify(key)}`, code: 'bad_body' })
}

const badRequest = (code: string, key: unknown, why: string): TaskError =>
  new TaskError(code, `request ${JSON.stringify(key) ?? String(key)}: ${why}. It is not sent.`)
