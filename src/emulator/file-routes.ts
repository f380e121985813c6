import type { Context, Hono } from 'hono'
import type { Clock } from '../util/clock.ts'
import { ApiError } from './api-error.ts'
import { fileView, page } from './batch-view.ts'
import { type Files, noSuchFile, type Upload } from './files.ts'
import { expirySeconds, integerParam, invalidValue, missingParameter } from './http.ts'
import { fileId } from './ids.ts'
import type { JsonObject } from './json.ts'
import type { Foreigner, ListingFaults } from './listing-faults.ts'
import { type MultipartEvent, multipartEvents } from './multipart.ts'
import type { FileRecord } from './records.ts'
import type { LagFrom } from './scenario-listing.ts'

const PURPOSES = ['assistants', 'batch', 'fine-tune', 'vision', 'user_data', 'evals']
const BATCH_EXPIRY_SECONDS = 30 * 24 * 3600
const MAX_LISTED = 10_000
const MAX_FIELD_BYTES = 4096
/** Of a file with another purpose than `batch`. */
const MAX_OTHER_BYTES = 512 * 1024 * 1024

export interface FileRouteParts {
  readonly files: Files
  readonly clock: Clock
  readonly maxBatchFileBytes: number
  /** Brings unfinished batches up to the clock: their outputs are files. */
  readonly advance: () => Promise<void>
  readonly listings: ListingFaults
}

export function addFileRoutes(app: Hono, parts: FileRouteParts): void {
  const { files, listings } = parts
  const find = async (id: string, from: LagFrom): Promise<FileRecord> => {
    const file = await files.get(id)
    if (listings.hides(id, from)) throw noSuchFile(id)
    return file
  }
  app.post('/v1/files', async (context) => context.json(fileView(await receive(context.req.raw, parts))))
  app.get('/v1/files', async (context) => context.json(await list(context, parts)))
  app.get('/v1/files/:id', async (context) =>
    context.json(fileView(await find(context.req.param('id'), 'get'))),
  )
  app.get('/v1/files/:id/content', async (context) => {
    const { id, bytes } = await find(context.req.param('id'), 'get')
    const headers = { 'content-type': 'application/octet-stream', 'content-length': String(bytes) }
    return context.body(ReadableStream.from(files.content(id)), 200, headers)
  })
  app.delete('/v1/files/:id', async (context) => {
    const { id } = await find(context.req.param('id'), 'delete')
    await files.remove(id)
    return context.json({ id, object: 'file', deleted: true })
  })
}

async function list(context: Context, { files, advance, listings }: FileRouteParts): Promise<JsonObject> {
  await advance()
  const { after, purpose, order = 'desc' } = context.req.query()
  const limit = integerParam(context, 'limit', { min: 1, max: MAX_LISTED, default: MAX_LISTED })
  if (order !== 'asc' && order !== 'desc') throw invalidValue('order', order, ['asc', 'desc'])
  const all = [...(await files.list())].sort((a, b) => a.seq - b.seq)
  const ordered = order === 'asc' ? all : all.reverse()
  const visible = ordered.filter(({ id }) => !listings.hides(id, 'list'))
  const listed = visible.filter((file) => purpose === undefined || file.purpose === purpose)
  const start = after === undefined ? 0 : listed.findIndex(({ id }) => id === after) + 1
  if (after !== undefined && start === 0) {
    throw new ApiError(404, `No such File object: ${after}`, { param: 'after' })
  }
  return page(listed, { start, limit: listings.pageSize('file', limit) }, fileView)
}

/** What a form has brought so far. */
interface Form {
  readonly fields: Map<string, string>
  filename: string | undefined
}

async function receive(request: Request, parts: FileRouteParts): Promise<FileRecord> {
  const upload = await parts.files.begin()
  try {
    const form: Form = { fields: new Map(), filename: undefined }
    const body = request.body ?? new Blob([]).stream()
    const events = multipartEvents(body, request.headers.get('content-type') ?? '')
    await readForm(events, form, { upload, limit: parts.maxBatchFileBytes })
    const file = judge(form, upload, parts.maxBatchFileBytes)
    await upload.content.close()
    return await addWithOthers(file, parts)
  } catch (error) {
    await parts.files.abandon(upload)
    throw error
  }
}

/** Registers a file, and those of other people that the scenario puts around it. */
async function addWithOthers(
  file: ReceivedFile,
  { files, clock, listings }: FileRouteParts,
): Promise<FileRecord> {
  const createdMs = clock.now()
  const { before, after } = listings.made('file', file.id)
  const addOther = ({ filename }: Foreigner) =>
    files.register({ id: fileId(), filename, purpose: 'batch', bytes: 0, createdMs })
  for (const other of before) await addOther(other)
  const registered = await files.register({ ...file, createdMs })
  for (const other of after) await addOther(other)
  return registered
}

interface Target {
  readonly upload: Upload
  readonly limit: number
}

async function readForm(events: AsyncIterable<MultipartEvent>, form: Form, target: Target): Promise<void> {
  let name = ''
  for await (const event of events) {
    if (event.kind === 'part') {
      name = event.name
      if (name === 'file') form.filename = event.filename ?? ''
      else form.fields.set(name, '')
    } else if (name === 'file') {
      await target.upload.content.append(event.bytes)
      refuseTooLarge(form.fields.get('purpose') ?? '', target.upload.content.size, target.limit)
    } else {
      const value = (form.fields.get(name) ?? '') + Buffer.from(event.bytes).toString('utf8')
      if (value.length > MAX_FIELD_BYTES) throw new ApiError(400, `The form field '${name}' is too long.`)
      form.fields.set(name, value)
    }
  }
}

function refuseTooLarge(purpose: string, bytes: number, maxBatchBytes: number): void {
  const limit = purpose === 'batch' ? maxBatchBytes : Math.max(MAX_OTHER_BYTES, maxBatchBytes)
  if (bytes <= limit) return
  throw new ApiError(400, `The file is larger than ${limit} bytes, the limit for purpose '${purpose}'.`, {
    param: 'file',
  })
}

function judge({ fields, filename }: Form, { id, content }: Upload, maxBatchBytes: number): ReceivedFile {
  const purpose = fields.get('purpose')
  if (filename === undefined) throw missingParameter('file')
  if (purpose === undefined) throw missingParameter('purpose')
  if (!PURPOSES.includes(purpose)) throw invalidValue('purpose', purpose, PURPOSES)
  if (purpose === 'batch' && !filename.endsWith('.jsonl')) {
    throw new ApiError(400, 'Invalid file format for Batch API. Must be .jsonl')
  }
  refuseTooLarge(purpose, content.size, maxBatchBytes)
  const seconds = fields.get('expires_after[seconds]')
  const anchor = fields.get('expires_after[anchor]')
  const asked = seconds ?? anchor
  const given = asked === undefined ? undefined : expirySeconds('expires_after', anchor, seconds)
  const expiresAfterSeconds = given ?? (purpose === 'batch' ? BATCH_EXPIRY_SECONDS : undefined)
  return { id, filename, purpose, bytes: content.size, expiresAfterSeconds }
}

interface ReceivedFile {
  readonly id: string
  readonly filename: string
  readonly purpose: string
  readonly bytes: number
  readonly expiresAfterSeconds: number | undefined
}
