import { z } from 'zod'
import { errorText, RemoteError, type RemoteErrorOptions } from '../../errors.ts'
import type { Fetch } from '../../util/fetch.ts'
import type { Secret } from '../../util/secret.ts'
import { cutText, oneLine } from '../../util/text.ts'
import { VERSION } from '../../util/version.ts'
import type { ViewPlace } from './view-name.ts'
import type { JsonObject } from './view-spec.ts'

export interface ViewApiOptions {
  readonly apiKey: Secret
  /** Of the API, without a path: `https://api.wandb.ai`. */
  readonly baseUrl: string
  readonly fetch: Fetch
  /** Ends the call that is under way. */
  readonly signal: AbortSignal
  /** For each call, in milliseconds. Default: 30 s. */
  readonly timeoutMs?: number | undefined
}

export interface StoredView {
  /** Needed to change it. */
  readonly id: string
  readonly displayName: string
  /** As text: what it holds is W&B's own affair. */
  readonly spec: string
}

export interface NewView extends ViewPlace {
  /** Of the view that is to be changed; undefined adds one. */
  readonly id: string | undefined
  readonly displayName: string
  readonly spec: JsonObject
}

const VIEWER = `query NightshiftViewer { viewer { entity } }`

const PROJECT = `query NightshiftProject($entity: String!, $project: String!) {
  project(name: $project, entityName: $entity) { runCount }
}`

const VIEW = `query NightshiftView($entity: String!, $project: String!, $viewName: String!) {
  project(name: $project, entityName: $entity) {
    allViews(viewType: "project-view", viewName: $viewName) { edges { node { id name displayName spec } } }
  }
}`

const UPSERT = `mutation NightshiftUpsertView(
  $id: ID, $entityName: String, $projectName: String, $type: String, $name: String, $displayName: String,
  $description: String, $spec: String
) {
  upsertView(input: {
    id: $id, entityName: $entityName, projectName: $projectName, type: $type, name: $name,
    displayName: $displayName, description: $description, spec: $spec
  }) {
    view { id name }
    inserted
  }
}`

const viewerReply = z.object({ viewer: z.object({ entity: z.string().nullish() }).nullish() })
const projectReply = z.object({ project: z.object({ runCount: z.number() }).nullish() })
const viewReply = z.object({
  project: z
    .object({
      allViews: z.object({
        edges: z.array(
          z.object({
            node: z.object({
              id: z.string(),
              name: z.string(),
              displayName: z.string().nullish(),
              spec: z.string(),
            }),
          }),
        ),
      }),
    })
    .nullish(),
})
const upsertReply = z.object({
  upsertView: z.object({
    view: z.object({ id: z.string(), name: z.string() }),
    inserted: z.boolean().nullish(),
  }),
})
const envelope = z.object({
  data: z.unknown().optional(),
  errors: z.array(z.object({ message: z.string() })).nullish(),
})

/**
 * The part of W&B's GraphQL API that views need. Every method throws RemoteError, with one of the codes
 * `wandb_unauthorized`, `wandb_refused`, `wandb_changed` (the API is no longer as we know it), `aborted`, and, where it
 * may succeed later, `wandb_unreachable` and `wandb_busy`.
 */
export class ViewApi {
  readonly #options: ViewApiOptions

  constructor(options: ViewApiOptions) {
    this.#options = options
  }

  /** The user or team that the key stands for; undefined when W&B does not say. */
  async entity(): Promise<string | undefined> {
    const { viewer } = await this.#ask('asking whose key it is', VIEWER, {}, viewerReply)
    if (!viewer) throw refused('W&B does not know the API key')
    return viewer.entity ?? undefined
  }

  /** How many runs a project has; undefined when there is no such project, or none that the key may see. */
  async runCount(entity: string, project: string): Promise<number | undefined> {
    const reply = await this.#ask('asking for the project', PROJECT, { entity, project }, projectReply)
    return reply.project?.runCount
  }

  /** Undefined when the project has no such view. */
  async view({ entity, project, viewName }: ViewPlace): Promise<StoredView | undefined> {
    const reply = await this.#ask('asking for the view', VIEW, { entity, project, viewName }, viewReply)
    // A server that does not know how to look for a name gives all views: another one must not be replaced.
    const nodes = reply.project?.allViews.edges.map((edge) => edge.node) ?? []
    const node = nodes.find(({ name }) => name === viewName)
    return node && { id: node.id, displayName: node.displayName ?? '', spec: node.spec }
  }

  /** Adds a view, or changes the one with that id. Resolves with the name that W&B gave it. */
  async save({ id, entity, project, viewName, displayName, spec }: NewView): Promise<string> {
    const variables = {
      ...(id !== undefined && { id }),
      entityName: entity,
      projectName: project,
      type: 'project-view',
      name: viewName,
      displayName,
      description: '',
      spec: JSON.stringify(spec),
    }
    const reply = await this.#ask('saving the view', UPSERT, variables, upsertReply)
    return reply.upsertView.view.name
  }

  async #ask<Reply>(
    what: string,
    query: string,
    variables: JsonObject,
    schema: z.ZodType<Reply>,
  ): Promise<Reply> {
    const { status, text, retryAfter } = await this.#post(what, JSON.stringify({ query, variables }))
    const said = envelope.safeParse(parsedJson(text))
    const errors = said.data?.errors ?? []
    if (status >= 300 || errors.length > 0) {
      const messages = errors.map(({ message }) => message)
      throw this.#failure(what, { status, messages, retryAfter })
    }
    const reply = schema.safeParse(said.data?.data)
    if (reply.success) return reply.data
    throw new RemoteError(
      'wandb_changed',
      `${what}: W&B answered something else than what it is known to: ${this.#shown(text)}`,
      { status },
    )
  }

  async #post(what: string, body: string) {
    const { apiKey, baseUrl, fetch, signal, timeoutMs = 30_000 } = this.#options
    const timeout = AbortSignal.timeout(timeoutMs)
    try {
      const response = await fetch(`${baseUrl}/graphql`, {
        method: 'POST',
        headers: {
          authorization: `Basic ${Buffer.from(`api:${apiKey.reveal()}`).toString('base64')}`,
          'content-type': 'application/json',
          'user-agent': `nightshift/${VERSION}`,
        },
        body,
        // The key is for this host only.
        redirect: 'manual',
        signal: AbortSignal.any([signal, timeout]),
      })
      const text = await response.text()
      return { status: response.status, text, retryAfter: response.headers.get('retry-after') }
    } catch (error) {
      if (signal.aborted) throw new RemoteError('aborted', `${what} was aborted`, { cause: error })
      const why = timeout.aborted ? `no answer in ${timeoutMs / 1000} s` : this.#shown(causeText(error))
      const message = `${what}: ${baseUrl} was not reached (${why}); check the network and WANDB_BASE_URL, and try again`
      throw new RemoteError('wandb_unreachable', message, { cause: error, retryable: true })
    }
  }

  #failure(
    what: string,
    {
      status,
      messages,
      retryAfter,
    }: { status: number; messages: readonly string[]; retryAfter: string | null },
  ): RemoteError {
    const said = messages.length === 0 ? `HTTP ${status}` : messages.map((one) => this.#shown(one)).join('; ')
    const options: RemoteErrorOptions = { status }
    if (status === 401) return refused(`W&B does not know the API key (${said})`, options)
    if (status === 403 || messages.some(isRefusal))
      return refused(`${what}: the API key may not do it (${said})`, options)
    if (messages.some(isUnknownField))
      return new RemoteError(
        'wandb_changed',
        `${what}: the API of W&B is not as it is known to be (${said})`,
        options,
      )
    if (status >= 300 && status < 400) {
      const message = `${what}: ${this.#options.baseUrl} leads elsewhere (${said}); set WANDB_BASE_URL to where the API is`
      return new RemoteError('wandb_refused', message, options)
    }
    if (status !== 429 && status < 500)
      return new RemoteError('wandb_refused', `${what}: W&B refused it (${said})`, options)
    const when = retryAfter ? ` in ${this.#shown(retryAfter)} s` : ' later'
    const message = `${what}: W&B has a problem or too much to do (${said}); try again${when}`
    return new RemoteError('wandb_busy', message, { ...options, retryable: true })
  }

  /** A text from outside, fit to be printed: a server may repeat the key that it refuses. */
  #shown(text: string): string {
    return cutText(oneLine(text.replaceAll(this.#options.apiKey.reveal(), '[key]')), SHOWN_TEXT)
  }
}

const SHOWN_TEXT = 300

const refused = (why: string, options: RemoteErrorOptions = {}): RemoteError =>
  new RemoteError(
    'wandb_unauthorized',
    `${why}; check WANDB_API_KEY, or the entry for the host in the netrc file`,
    options,
  )

const isRefusal = (message: string): boolean =>
  /permission|not authorized|unauthori[sz]ed|forbidden|denied/i.test(message)

const isUnknownField = (message: string): boolean =>
  /cannot query field|unknown (field|argument|type|operation)|is not defined (by|on)|field .* not found/i.test(
    message,
  )

/** What `fetch` throws says only that it failed; why is in its cause. */
function causeText(error: unknown): string {
  const cause = error instanceof Error ? error.cause : undefined
  return cause === undefined ? errorText(error) : errorText(cause) || errorText(error)
}

function parsedJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    // No JSON, as the pages of proxies: the caller judges it by its status and its form.
    return undefined
  }
}
