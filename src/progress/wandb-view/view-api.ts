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
    allViews(viewType: "project-view", viewName: $viewName) { edges { node { id name spec } } }
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
    return node && { id: node.id, spec: node.spec }
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
    const { baseUrl } = this.#options
    const { status, text, headers } = await this.#post(what, JSON.stringify({ query, variables }))
    const said = envelope.safeParse(parsedJson(text))
    const messages = (said.data?.errors ?? []).map(({ message }) => message)
    if (status >= 300 || messages.length > 0)
      throw failure(what, { baseUrl, status, messages, retryAfter: headers.get('retry-after') })
    const reply = schema.safeParse(said.data?.data)
    if (reply.success) return reply.data
    throw new RemoteError(
      'wandb_changed',
      `${what}: ${baseUrl} answered something else than W&B is known to: ${shown(text)}; check WANDB_BASE_URL`,
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
}

interface Failure {
  readonly baseUrl: string
  readonly status: number
  /** What GraphQL says is wrong; none when the answer is not GraphQL's. */
  readonly messages: readonly string[]
  readonly retryAfter: string | null
}

/** What an answer that is no success means. */
function failure(what: string, { baseUrl, status, messages, retryAfter }: Failure): RemoteError {
  const said = messages.length === 0 ? `HTTP ${status}` : messages.map(shown).join('; ')
  const options: RemoteErrorOptions = { status }
  const error = (code: string, text: string) => new RemoteError(code, `${what}: ${text}`, options)
  if (status === 401) return refused(`W&B does not know the API key (${said})`, options)
  if (status === 403 || messages.some(isRefusal))
    return refused(`${what}: the API key may not do it (${said})`, options)
  if (messages.some(isUnknownField))
    return error('wandb_changed', `the API of W&B is not as it is known to be (${said})`)
  if (status === 404 && messages.length === 0)
    return error('wandb_changed', `there is no such API at ${baseUrl} (${said}); check WANDB_BASE_URL`)
  if (status >= 300 && status < 400)
    return error(
      'wandb_refused',
      `${baseUrl} leads elsewhere (${said}); set WANDB_BASE_URL to where the API is`,
    )
  if (status < 500 && !PASSING.has(status)) return error('wandb_refused', `W&B refused it (${said})`)
  // A date, the other form of this header, says nothing to who reads it in another time zone.
  const when = /^\d{1,9}$/.test(retryAfter ?? '') ? ` in ${retryAfter} s` : ' later'
  const message = `${what}: W&B has a problem or too much to do (${said}); try again${when}`
  return new RemoteError('wandb_busy', message, { ...options, retryable: true })
}

/** Below 500, and no fault of what was asked. */
const PASSING: ReadonlySet<number> = new Set([408, 425, 429])

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
