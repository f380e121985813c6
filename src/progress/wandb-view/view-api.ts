import { z } from 'zod'
import { RemoteError, type RemoteErrorOptions } from '../../errors.ts'
import { parsedJson } from '../../util/parsed-json.ts'
import { cutText, oneLine } from '../../util/text.ts'
import { type PostOptions, post } from '../wandb/post.ts'
import type { ViewPlace } from './view-name.ts'
import type { JsonObject } from './view-spec.ts'

export interface ViewApiOptions extends PostOptions {
  readonly signal: AbortSignal
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
    const { status, text, headers } = await this.#post(what, JSON.stringify({ query, variables }))
    const retryAfter = headers.get('retry-after')
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
      `${what}: W&B answered something else than what it is known to: ${shown(text)}`,
      { status },
    )
  }

  async #post(what: string, body: string) {
    const { baseUrl, signal, timeoutMs } = this.#options
    const outcome = await post(this.#options, '/graphql', body)
    if (outcome.kind === 'answered') return outcome
    const { cause } = outcome
    if (signal.aborted) throw new RemoteError('aborted', `${what} was aborted`, { cause })
    const why = outcome.timedOut ? `no answer in ${timeoutMs / 1000} s` : shown(outcome.why)
    const message = `${what}: ${baseUrl} was not reached (${why}); check the network and WANDB_BASE_URL, and try again`
    throw new RemoteError('wandb_unreachable', message, { cause, retryable: true })
  }

  #failure(
    what: string,
    {
      status,
      messages,
      retryAfter,
    }: { status: number; messages: readonly string[]; retryAfter: string | null },
  ): RemoteError {
    const said = messages.length === 0 ? `HTTP ${status}` : messages.map((one) => shown(one)).join('; ')
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
    const when = retryAfter ? ` in ${shown(retryAfter)} s` : ' later'
    const message = `${what}: W&B has a problem or too much to do (${said}); try again${when}`
    return new RemoteError('wandb_busy', message, { ...options, retryable: true })
  }
}

const SHOWN_TEXT = 300

/** A text from outside, fit to be printed. */
const shown = (text: string): string => cutText(oneLine(text), SHOWN_TEXT)

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
