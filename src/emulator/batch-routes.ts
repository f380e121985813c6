import type { Hono } from 'hono'
import { ENDPOINTS } from '../openai/wire.ts'
import { ApiError } from './api-error.ts'
import type { Batches, NewBatch } from './batches.ts'
import { expirySeconds, integerParam, invalidValue, jsonBody, missingParameter } from './http.ts'
import { asObject, isObject, type JsonObject } from './json.ts'

const MAX_METADATA = 16
const MAX_KEY = 64
const MAX_VALUE = 512

export function addBatchRoutes(app: Hono, batches: Batches): void {
  app.post('/v1/batches', async (context) => {
    return context.json(await batches.create(newBatch(await jsonBody(context.req.raw))))
  })
  app.get('/v1/batches', async (context) => {
    const limit = integerParam(context, 'limit', { min: 1, max: 100, default: 20 })
    return context.json(await batches.list({ after: context.req.query('after'), limit }))
  })
  app.get('/v1/batches/:id', async (context) => context.json(await batches.get(context.req.param('id'))))
  app.post('/v1/batches/:id/cancel', async (context) =>
    context.json(await batches.cancel(context.req.param('id'))),
  )
}

function newBatch(body: JsonObject): NewBatch {
  const { input_file_id: inputFileId, endpoint: asked, completion_window: window } = body
  for (const name of ['input_file_id', 'endpoint', 'completion_window']) {
    if (body[name] === undefined || body[name] === null) throw missingParameter(name)
  }
  if (typeof inputFileId !== 'string') {
    throw new ApiError(400, "Invalid type for 'input_file_id': expected a string.", {
      param: 'input_file_id',
    })
  }
  const endpoint = ENDPOINTS.find((one) => one === asked)
  if (endpoint === undefined) throw invalidValue('endpoint', asked, ENDPOINTS)
  if (window !== '24h') throw invalidValue('completion_window', window, ['24h'])
  const expiry = body.output_expires_after
  const { anchor, seconds } = asObject(expiry)
  const asksExpiry = expiry !== undefined && expiry !== null
  return {
    inputFileId,
    endpoint,
    metadata: metadataOf(body.metadata),
    ...(asksExpiry && { outputExpiresAfterSeconds: expirySeconds('output_expires_after', anchor, seconds) }),
  }
}

function metadataOf(metadata: unknown): Readonly<Record<string, string>> | null {
  if (metadata === undefined || metadata === null) return null
  if (!isObject(metadata)) throw badMetadata('expected an object')
  const entries = Object.entries(metadata)
  if (entries.length > MAX_METADATA) {
    throw badMetadata(`expected at most ${MAX_METADATA} pairs, but got ${entries.length}`)
  }
  return Object.fromEntries(
    entries.map(([key, value]) => {
      if (key.length > MAX_KEY) throw badMetadata(`the key '${key}' is longer than ${MAX_KEY} characters`)
      if (typeof value !== 'string') throw badMetadata(`the value of '${key}' is not a string`)
      if (value.length > MAX_VALUE)
        throw badMetadata(`the value of '${key}' is longer than ${MAX_VALUE} characters`)
      return [key, value]
    }),
  )
}

const badMetadata = (why: string): ApiError =>
  new ApiError(400, `Invalid 'metadata': ${why}.`, { param: 'metadata', code: 'invalid_value' })
