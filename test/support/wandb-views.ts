import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { z } from 'zod'

/** A view as the server keeps it. */
export interface KeptView {
  readonly id: string
  readonly entity: string
  readonly project: string
  readonly name: string
  readonly displayName: string
  /** Text, as it came. */
  readonly spec: string
}

/** An answer that the server gives in place of its own. */
export interface GivenAnswer {
  readonly status?: number
  readonly headers?: Readonly<Record<string, string>>
  readonly body: string
}

/** What the server does to a request by its operation: answers it otherwise, never answers, or cuts the connection. */
export type Fault = GivenAnswer | 'hang' | 'cut'

interface Graph {
  readonly operation: string
  readonly variables: Readonly<Record<string, unknown>>
}

export interface ViewServer extends AsyncDisposable {
  readonly url: string
  readonly views: KeptView[]
  /** Operations in their order, with the user and password that came with them. */
  readonly seen: { readonly operation: string; readonly authorization: string; readonly body: string }[]
}

export interface ViewServerOptions {
  readonly key: string
  /** Default entity of the key. */
  readonly entity?: string | null
  /** Runs of each project, by `entity/project`. */
  readonly runs: Readonly<Record<string, number>>
  readonly views?: readonly KeptView[]
  /** Views are given whatever name was asked for. */
  readonly givesAll?: boolean
  /** By the name of the operation. */
  readonly faults?: Readonly<Record<string, Fault>>
}

const requestSchema = z.object({ query: z.string(), variables: z.record(z.string(), z.unknown()) })
const placeSchema = z.object({ entity: z.string(), project: z.string(), viewName: z.string().optional() })
const saveSchema = z.object({
  id: z.string().optional(),
  entityName: z.string(),
  projectName: z.string(),
  type: z.literal('project-view'),
  name: z.string(),
  displayName: z.string(),
  description: z.string(),
  spec: z.string(),
})

/** A server on the loopback that speaks the part of W&B's GraphQL API that views need, and keeps what it is told. */
export async function serveViews(options: ViewServerOptions): Promise<ViewServer> {
  const views = [...(options.views ?? [])]
  const seen: ViewServer['seen'] = []
  const server = createServer((request, response) => {
    answer(request, response).catch((error: unknown) =>
      response.destroy(error instanceof Error ? error : undefined),
    )
  })

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await textOf(request)
    const graph = graphOf(body)
    const authorization = request.headers.authorization ?? ''
    seen.push({ operation: graph.operation, authorization, body })
    const fault = options.faults?.[graph.operation]
    if (fault === 'hang') return
    if (fault === 'cut') return void response.destroy()
    if (fault) return send(response, fault)
    if (request.url !== '/graphql' || request.method !== 'POST')
      return send(response, { status: 404, body: 'no' })
    const expected = `Basic ${Buffer.from(`api:${options.key}`).toString('base64')}`
    if (authorization !== expected)
      return send(response, errorAnswer(401, `user is not logged in (${options.key})`))
    send(response, { body: JSON.stringify({ data: resolve(graph) }) })
  }

  function resolve({ operation, variables }: Graph): unknown {
    if (operation === 'NightshiftViewer') return { viewer: { entity: options.entity ?? null } }
    if (operation === 'NightshiftUpsertView') return { upsertView: save(variables) }
    const { entity, project, viewName } = placeSchema.parse(variables)
    const runCount = options.runs[`${entity}/${project}`]
    if (runCount === undefined) return { project: null }
    if (operation === 'NightshiftProject') return { project: { runCount } }
    const found = views.filter(
      (view) =>
        view.entity === entity && view.project === project && (options.givesAll || view.name === viewName),
    )
    return { project: { allViews: { edges: found.map((node) => ({ node })) } } }
  }

  function save(variables: unknown): unknown {
    const {
      id,
      entityName: entity,
      projectName: project,
      name,
      displayName,
      spec,
    } = saveSchema.parse(variables)
    const at = views.findIndex((view) => view.id === id)
    const view = { id: id ?? `view-${views.length + 1}`, entity, project, name, displayName, spec }
    if (at < 0) views.push(view)
    else views[at] = view
    return { view: { id: view.id, name }, inserted: at < 0 }
  }

  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  const port = typeof address === 'object' ? address?.port : undefined
  return {
    url: `http://127.0.0.1:${port}`,
    views,
    seen,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

/** What GraphQL answers when it refuses. */
export const errorAnswer = (status: number, message: string): GivenAnswer => ({
  status,
  body: JSON.stringify({ errors: [{ message, path: [] }], data: null }),
})

function send(response: ServerResponse, { status = 200, headers = {}, body }: GivenAnswer): void {
  response.writeHead(status, { 'content-type': 'application/json', ...headers })
  response.end(body)
}

function graphOf(body: string): Graph {
  const { query, variables } = requestSchema.parse(JSON.parse(body))
  return { operation: /^(?:query|mutation) (\w+)/.exec(query)?.[1] ?? '', variables }
}

async function textOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk)
  return Buffer.concat(chunks).toString('utf8')
}
