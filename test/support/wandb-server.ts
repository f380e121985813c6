import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { z } from 'zod'

/** What goes wrong with one call. `applied`: whether the server carries it out all the same. */
export type WandbFault =
  | {
      readonly kind: 'status'
      readonly status: number
      readonly headers?: Readonly<Record<string, string>>
      readonly body?: string
      readonly applied?: boolean
    }
  /** No answer, for as long as the client waits. */
  | { readonly kind: 'hang'; readonly applied: boolean }
  | { readonly kind: 'cut'; readonly applied: boolean }
  /** A good status, and half of the answer. */
  | { readonly kind: 'truncated'; readonly applied: boolean }

export interface WandbCall {
  readonly kind: 'viewer' | 'status' | 'upsert' | 'stream' | 'other'
  readonly fault: WandbFault | undefined
  readonly authorization: string | undefined
  readonly body: string
}

export interface WandbRun {
  readonly entity: string
  readonly project: string
  readonly id: string
  readonly history: string[]
  summary: Record<string, unknown>
  config: Record<string, unknown>
  displayName: string | null
  group: string | null
  jobType: string | null
  tags: readonly string[]
  /** As W&B would show it, but that it takes a run for crashed only when it has not heard of it for minutes. */
  state: 'running' | 'finished' | 'failed'
  exitCode: number | undefined
  isDeleted: boolean
  heartbeats: number
}

export interface WandbServerOptions {
  /** Default: `KEY`. */
  readonly key?: string
  /** Entity of the key's owner. Default: `someone`. */
  readonly entity?: string
  /** Asked for each call what goes wrong with it. */
  readonly fault?: (call: Pick<WandbCall, 'kind' | 'body'>, index: number) => WandbFault | undefined
  /** Answers GraphQL that is none of a run's: `data`, or undefined when it does not know it either. */
  readonly graphql?: (query: string, variables: Readonly<Record<string, unknown>>) => unknown
}

export const KEY = '0123456789abcdef0123456789abcdef01234567'
export const ENTITY = 'someone'

const callSchema = z.object({ query: z.string(), variables: z.record(z.string(), z.unknown()).optional() })
const nullable = z.string().nullish()
const statusVariables = z.object({ entity: nullable, project: z.string(), name: z.string() })
const upsertVariables = z.object({
  entity: nullable,
  project: z.string(),
  name: z.string(),
  displayName: nullable,
  groupName: nullable,
  jobType: nullable,
  config: nullable,
  tags: z.array(z.string()).nullish(),
})
const streamSchema = z.object({
  files: z.record(z.string(), z.object({ offset: z.number(), content: z.array(z.string()) })).optional(),
  complete: z.boolean().optional(),
  exitcode: z.number().optional(),
})

/** A W&B server, as far as a run's history needs one: what it holds, what it was sent, and what goes wrong. */
export class WandbServer implements AsyncDisposable {
  readonly #options: WandbServerOptions
  readonly #server = createServer((request, response) => void this.#serve(request, response))
  readonly #sockets = new Set<Socket>()
  readonly #waiting: (() => void)[] = []
  readonly runs = new Map<string, WandbRun>()
  readonly calls: WandbCall[] = []
  /** What no client may do: leave out a line, or replace one by another. */
  readonly violations: string[] = []
  #url = ''
  /** Replaces the faults of the options, when set. */
  fault: WandbServerOptions['fault']
  /** Ids of deleted runs can be used again. At W&B they cannot. */
  forgetsDeleted = false

  private constructor(options: WandbServerOptions) {
    this.#options = options
    this.fault = options.fault
  }

  static async start(options: WandbServerOptions = {}): Promise<WandbServer> {
    const server = new WandbServer(options)
    await server.listen()
    return server
  }

  /** Base URL. */
  get url(): string {
    return this.#url
  }

  /** Variables of a program that is to use it. */
  get env(): Readonly<Record<string, string>> {
    return { WANDB_API_KEY: this.#options.key ?? KEY, WANDB_BASE_URL: this.#url, WANDB_MODE: 'online' }
  }

  /** The only run there is; throws when there are none or several. */
  get run(): WandbRun {
    const [run, ...others] = [...this.runs.values()].filter(({ isDeleted }) => !isDeleted)
    if (!run || others.length > 0) throw new Error(`there are ${this.runs.size} runs`)
    return run
  }

  /** Resolves when `isSo`, which is asked after every call. */
  async until(isSo: (server: this) => boolean): Promise<void> {
    while (!isSo(this)) await new Promise<void>((resolve) => this.#waiting.push(resolve))
  }

  /** As somebody would do at the web page. */
  delete(id: string): void {
    for (const run of this.runs.values()) if (run.id === id) run.isDeleted = true
  }

  /** Puts a run there that somebody else has made. */
  add(id: string, history: readonly string[], project = 'gpt_batch_api'): WandbRun {
    const entity = this.#options.entity ?? ENTITY
    const run = newRun(entity, project, id)
    run.history.push(...history)
    this.runs.set(pathOf(entity, project, id), run)
    return run
  }

  async listen(port = 0): Promise<void> {
    this.#server.on('connection', (socket) => {
      this.#sockets.add(socket)
      socket.once('close', () => this.#sockets.delete(socket))
    })
    await new Promise<void>((resolve) => this.#server.listen(port, '127.0.0.1', resolve))
    const { port: bound } = addressOf(this.#server.address())
    this.#url = `http://127.0.0.1:${bound}`
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    await new Promise((resolve) => this.#server.close(resolve))
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await textOf(request)
    const kind = kindOf(request.url ?? '', body)
    const fault = this.fault?.({ kind, body }, this.calls.length)
    const { authorization } = request.headers
    this.calls.push({ kind, fault, authorization, body })
    const isApplied = !fault || ('applied' in fault && fault.applied === true)
    const answer =
      this.#checked(authorization) ?? (isApplied ? this.#answer(request.url ?? '', body) : ok({}))
    if (fault) fail(fault, answer, response)
    else send(response, answer)
    for (const wake of this.#waiting.splice(0)) wake()
  }

  #checked(authorization: string | undefined): Answer | undefined {
    const key = this.#options.key ?? KEY
    const expected = `Basic ${Buffer.from(`api:${key}`).toString('base64')}`
    return authorization === expected ? undefined : graphqlError(401, 'user is not logged in')
  }

  #answer(url: string, body: string): Answer {
    const stream = /^\/files\/([^/]+)\/([^/]+)\/([^/]+)\/file_stream$/.exec(url)
    if (stream) return this.#stream(stream.slice(1).map(decodeURIComponent), body)
    if (url !== '/graphql') return graphqlError(404, `there is nothing at ${url}`)
    const { query, variables = {} } = callSchema.parse(JSON.parse(body))
    if (query.includes('upsertBucket')) return this.#upsert(upsertVariables.parse(variables))
    if (query.includes('bucket(')) return this.#status(statusVariables.parse(variables))
    const data = this.#options.graphql?.(query, variables)
    if (data !== undefined) return ok({ data })
    if (query.includes('viewer')) return ok({ data: { viewer: { entity: this.#options.entity ?? ENTITY } } })
    return graphqlError(400, 'this server does not know that')
  }

  #status({ entity, project, name }: z.infer<typeof statusVariables>): Answer {
    const run = this.#find(entity, project, name)
    if (!run || run.isDeleted) return ok({ data: { model: { bucket: null } } })
    const historyTail = JSON.stringify(run.history.slice(-1))
    return ok({ data: { model: { bucket: { historyLineCount: run.history.length, historyTail } } } })
  }

  #upsert(wanted: z.infer<typeof upsertVariables>): Answer {
    const { project, name } = wanted
    const entity = wanted.entity ?? this.#options.entity ?? ENTITY
    const before = this.#find(entity, project, name)
    if (before?.isDeleted && !this.forgetsDeleted)
      return graphqlError(
        409,
        `run ${entity}/${project}/${name} was previously created and deleted; try a new run name`,
      )
    const run = before && !before.isDeleted ? before : newRun(entity, project, name)
    this.runs.set(pathOf(entity, project, name), run)
    run.state = 'running'
    run.displayName = wanted.displayName ?? run.displayName
    run.group = wanted.groupName ?? run.group
    run.jobType = wanted.jobType ?? run.jobType
    run.tags = wanted.tags ?? run.tags
    if (wanted.config) run.config = z.record(z.string(), z.unknown()).parse(JSON.parse(wanted.config))
    const bucket = { name, project: { name: project, entity: { name: entity } } }
    return ok({ data: { upsertBucket: { bucket } } })
  }

  #stream([entity = '', project = '', id = '']: readonly string[], body: string): Answer {
    const run = this.#find(entity, project, id)
    if (!run || run.isDeleted) return graphqlError(404, `run ${entity}/${project}/${id} not found`)
    const { files, complete, exitcode } = streamSchema.parse(JSON.parse(body))
    const history = files?.['wandb-history.jsonl']
    if (history) {
      const wrong = this.#write(run, history.offset, history.content)
      if (wrong) return wrong
    }
    const [summary] = files?.['wandb-summary.json']?.content ?? []
    if (summary !== undefined) run.summary = z.record(z.string(), z.unknown()).parse(JSON.parse(summary))
    if (!files && !complete) run.heartbeats++
    run.state = complete ? (exitcode === 0 ? 'finished' : 'failed') : 'running'
    run.exitCode = complete ? exitcode : undefined
    return ok({ exitcode: null, limits: {} })
  }

  #write(run: WandbRun, offset: number, lines: readonly string[]): Answer | undefined {
    if (offset > run.history.length) {
      this.violations.push(`a gap: line ${offset} where there are ${run.history.length}`)
      return graphqlError(400, `offset ${offset} is beyond the end`)
    }
    for (const [index, line] of lines.entries()) {
      const before = run.history[offset + index]
      if (before !== undefined && before !== line)
        this.violations.push(`line ${offset + index} was ${before} and became ${line}`)
      run.history[offset + index] = line
    }
    return undefined
  }

  #find(entity: string | null | undefined, project: string, id: string): WandbRun | undefined {
    return this.runs.get(pathOf(entity ?? this.#options.entity ?? ENTITY, project, id))
  }
}

interface Answer {
  readonly status: number
  readonly body: string
}

const ok = (value: unknown): Answer => ({ status: 200, body: JSON.stringify(value) })
const graphqlError = (status: number, message: string): Answer => ({
  status,
  body: JSON.stringify({ errors: [{ message }], data: null }),
})
const pathOf = (entity: string, project: string, id: string): string => `${entity}/${project}/${id}`

const newRun = (entity: string, project: string, id: string): WandbRun => ({
  entity,
  project,
  id,
  history: [],
  summary: {},
  config: {},
  displayName: null,
  group: null,
  jobType: null,
  tags: [],
  state: 'running',
  exitCode: undefined,
  isDeleted: false,
  heartbeats: 0,
})

function kindOf(url: string, body: string): WandbCall['kind'] {
  if (url.endsWith('/file_stream')) return 'stream'
  if (body.includes('upsertBucket')) return 'upsert'
  if (body.includes('bucket(')) return 'status'
  return body.includes('viewer') ? 'viewer' : 'other'
}

function send(
  response: ServerResponse,
  { status, body }: Answer,
  headers: Readonly<Record<string, string>> = {},
) {
  response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(body)
}

function fail(fault: WandbFault, answer: Answer, response: ServerResponse): void {
  if (fault.kind === 'hang') return
  if (fault.kind === 'cut') response.socket?.destroy()
  else if (fault.kind === 'truncated')
    send(response, { ...answer, body: answer.body.slice(0, Math.floor(answer.body.length / 2)) })
  else send(response, { status: fault.status, body: fault.body ?? '{"error":"as planned"}' }, fault.headers)
}

async function textOf(request: IncomingMessage): Promise<string> {
  let text = ''
  try {
    for await (const piece of request.setEncoding('utf8')) text += piece
  } catch {
    // The client is gone; what it had to say is not whole.
  }
  return text
}

function addressOf(address: AddressInfo | string | null): AddressInfo {
  if (typeof address !== 'object' || address === null) throw new Error('the server has no port')
  return address
}
