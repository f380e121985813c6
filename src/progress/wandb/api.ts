/**
 * W&B's public protocol, as far as a run's history needs it: GraphQL for the run, and its file stream for the lines.
 *
 * Why not `@wandb/sdk` (0.5.1)? Read file by file, it has no part that a job of days can rest on:
 * - `sdk/wandb_init.js` installs SIGINT and SIGTERM handlers in the process that uses it. The one for SIGINT calls
 *   `process.exit()`, whatever else is being written, and its `beforeExit` handler ends the run.
 * - `sdk/interface/messenger.js` throws from a message callback when W&B cannot be reached: nobody can catch that.
 *   Its upsert (`initRunPayload`) has no group, job type or tags, and `config` lacks the `{ value }` form W&B reads.
 * - `sdk/lib/retry.js` awaits the same settled promise again as its "retry": no call is ever made twice. On every
 *   error without an HTTP status (no network) and on any status up to 404 it prints and returns null as if done.
 * - `internal/filestream.js` does not look at the HTTP status of a post, takes lines out of its queue before they are
 *   sent, numbers the history from line 0 in every process (a resumed run overwrites itself), sends no heartbeats, and
 *   marks every run that is not told otherwise as finished with exit code 0.
 * - `internal/sender.js` drops what is logged before the run is known, and `internal/queue.js` has no bound.
 * - `sdk/lib/auth.js` asks for a key at the terminal when there is none, and writes it into the netrc file;
 *   `sdk/lib/netrc.js` cuts lines at every `#`, and throws when it saves to a file that is not there.
 * - `internal/api.js` has `errorPolicy: 'ignore'`, so that GraphQL errors come out as data that is missing.
 */
import { z } from 'zod'
import { RemoteError } from '../../errors.ts'
import type { Clock } from '../../util/clock.ts'
import { parsedJson } from '../../util/parsed-json.ts'
import { oneLine } from '../../util/text.ts'
import { VERSION } from '../../util/version.ts'
import { refusal, unreadable } from './api-error.ts'
import { type PostOptions, post } from './post.ts'

export interface ApiOptions extends PostOptions {
  readonly clock: Clock
}

/** Names a run. Without an entity it is the default one of the key's owner. */
export interface RunPath {
  readonly entity: string | undefined
  readonly project: string
  readonly runId: string
}

/** What the server knows of a run. */
export interface ServerRun {
  /** Lines of its history. */
  readonly lines: number
  /** `_step` of the last of them; undefined when there is none, or it cannot be told. */
  readonly lastStep: number | undefined
  /** That line, as the server gives it. */
  readonly lastLine: string | undefined
}

/** What a run is to be called, and what is said of it. */
export interface RunProperties {
  readonly name: string
  readonly group?: string | undefined
  readonly tags: readonly string[]
  /** By the names of the options; undefined: what the server has stays. */
  readonly config: Readonly<Record<string, unknown>> | undefined
}

/** What one post to the file stream says. An empty one is a heartbeat. */
export interface StreamPost {
  /** Lines of the history; `offset` is the place of the first of them, from 0. What is there already is replaced. */
  readonly history?: { readonly offset: number; readonly lines: readonly string[] }
  /** JSON text. */
  readonly summary?: string
  /** Ends the run: finished with exit code 0, else failed. */
  readonly exitCode?: number
}

const JOB_TYPE = 'nightshift'

const VIEWER = 'query Viewer { viewer { entity } }'

const RUN_STATUS = `query RunResumeStatus($project: String, $entity: String, $name: String!) {
  model(name: $project, entityName: $entity) {
    bucket(name: $name, missingOk: true) { historyLineCount historyTail }
  }
}`

const UPSERT = `mutation UpsertBucket(
  $name: String, $project: String, $entity: String, $groupName: String, $displayName: String,
  $config: JSONString, $jobType: String, $tags: [String!]
) {
  upsertBucket(input: {
    name: $name, modelName: $project, entityName: $entity, groupName: $groupName, displayName: $displayName,
    config: $config, jobType: $jobType, tags: $tags
  }) {
    bucket { name project { name entity { name } } }
  }
}`

const viewerSchema = z.object({ viewer: z.object({ entity: z.string().nullish() }).nullish() })

const statusSchema = z.object({
  model: z
    .object({
      bucket: z
        .object({ historyLineCount: z.int().nonnegative().nullish(), historyTail: z.string().nullish() })
        .nullish(),
    })
    .nullish(),
})

const upsertSchema = z.object({
  upsertBucket: z.object({
    bucket: z.object({
      name: z.string(),
      project: z.object({ name: z.string(), entity: z.object({ name: z.string() }) }),
    }),
  }),
})

const replySchema = z.looseObject({})

/** Speaks to one W&B server. Calls throw RemoteError: `retryable` ones may succeed later, see `api-error.ts`. */
export class WandbApi {
  readonly #options: ApiOptions

  constructor(options: ApiOptions) {
    this.#options = options
  }

  /** The entity that runs belong to by default, or undefined when the key's owner has none. */
  async defaultEntity(): Promise<string | undefined> {
    const { viewer } = await this.#graphql(VIEWER, {}, viewerSchema)
    if (viewer) return viewer.entity ?? undefined
    throw refusal({ status: 401, text: 'the server knows nobody with this key', ...this.#where() })
  }

  /** Undefined when there is no such run. */
  async runStatus({ entity, project, runId }: RunPath): Promise<ServerRun | undefined> {
    const variables = { entity: entity ?? null, project, name: runId }
    const bucket = (await this.#graphql(RUN_STATUS, variables, statusSchema)).model?.bucket
    if (!bucket) return undefined
    const tail = tailOf(bucket.historyTail)
    return { lines: bucket.historyLineCount ?? 0, lastStep: lastStep(tail), lastLine: tail.at(-1) }
  }

  /** Makes the run, and its project, or brings it up to date. Resolves with the names that the server uses. */
  async upsertRun(path: RunPath, properties: RunProperties): Promise<RunPath & { readonly entity: string }> {
    const { name, group, tags, config } = properties
    const variables = {
      name: path.runId,
      project: path.project,
      entity: path.entity ?? null,
      groupName: group ?? null,
      displayName: name,
      config: config ? JSON.stringify(configForm(config)) : null,
      jobType: JOB_TYPE,
      tags,
    }
    const { bucket } = (await this.#graphql(UPSERT, variables, upsertSchema)).upsertBucket
    return { entity: bucket.project.entity.name, project: bucket.project.name, runId: bucket.name }
  }

  /** Resolves once the server has taken the post. Sent again, the same post changes nothing. */
  async post(
    { entity, project, runId }: RunPath & { readonly entity: string },
    post: StreamPost,
  ): Promise<void> {
    const path = [entity, project, runId].map(encodeURIComponent).join('/')
    const body = JSON.stringify(streamBody(post))
    const reply = await this.#call(`/files/${path}/file_stream`, body)
    // A page of some gateway in between is no answer of W&B, whatever its status.
    if (!replySchema.safeParse(parsedJson(reply)).success) throw unreadable(reply, this.#where())
  }

  async #graphql<T>(query: string, variables: object, schema: z.ZodType<T>): Promise<T> {
    const reply = await this.#call('/graphql', JSON.stringify({ query, variables }))
    const parsed = graphqlSchema.safeParse(parsedJson(reply))
    if (!parsed.success) throw unreadable(reply, this.#where())
    const { data, errors } = parsed.data
    const [first] = errors ?? []
    if (first) throw refusal({ status: 200, text: first.message, ...this.#where() })
    const result = schema.safeParse(data)
    if (!result.success) throw unreadable(reply, this.#where())
    return result.data
  }

  async #call(path: string, body: string): Promise<string> {
    const { baseUrl, timeoutMs, clock } = this.#options
    const outcome = await post(this.#options, path, body)
    if (outcome.kind === 'lost') {
      const why = outcome.timedOut ? `no answer within ${timeoutMs} ms` : outcome.why
      const message = `W&B at ${baseUrl} cannot be reached (${why})`
      throw new RemoteError('wandb_unreachable', message, { cause: outcome.cause, retryable: true })
    }
    const { status, headers, text } = outcome
    if (status >= 200 && status < 300) return text
    throw refusal({ status, headers, text: errorMessage(text), nowMs: clock.now(), ...this.#where() })
  }

  #where(): { readonly baseUrl: string } {
    return { baseUrl: this.#options.baseUrl }
  }
}

const graphqlSchema = z.object({
  data: z.unknown(),
  errors: z.array(z.object({ message: z.string() })).nullish(),
})

/** The address of a run for people. */
export function runUrl(
  baseUrl: string,
  { entity, project, runId }: RunPath & { readonly entity: string },
): string {
  const path = [entity, project, 'runs', runId].map(encodeURIComponent).join('/')
  return `${appUrl(baseUrl)}/${path}`
}

/** Where people look at what the API at `baseUrl` holds. */
export const appUrl = (baseUrl: string): string =>
  baseUrl.replace('://api.wandb.', '://wandb.').replace('://api.', '://app.')

const configForm = (config: Readonly<Record<string, unknown>>) => ({
  ...Object.fromEntries(Object.entries(config).map(([name, value]) => [name, { value }])),
  // Without a "t" W&B takes the run for one that was only prepared, as sweeps do, and will not resume it.
  _wandb: { value: { t: {}, cli_version: `nightshift ${VERSION}` } },
})

function streamBody({ history, summary, exitCode }: StreamPost): object {
  const files = {
    ...(history && { 'wandb-history.jsonl': { offset: history.offset, content: history.lines } }),
    ...(summary !== undefined && { 'wandb-summary.json': { offset: 0, content: [summary] } }),
  }
  return {
    ...(Object.keys(files).length > 0 && { files }),
    ...(exitCode !== undefined && { complete: true, exitcode: exitCode }),
  }
}

const tailSchema = z.array(z.string())
const stepSchema = z.object({ _step: z.int().nonnegative() })

/** `text`: JSON text of a list of the last lines. */
const tailOf = (text: string | null | undefined): readonly string[] =>
  tailSchema.safeParse(parsedJson(text ?? '')).data ?? []

function lastStep(tail: readonly string[]): number | undefined {
  const steps = tail.map((line) => stepSchema.safeParse(parsedJson(line)).data?._step ?? -1)
  const last = Math.max(-1, ...steps)
  return last < 0 ? undefined : last
}

const errorSchema = z.union([
  z.object({ errors: z.array(z.object({ message: z.string() })).min(1) }),
  z.object({ error: z.string() }),
])

function errorMessage(text: string): string {
  const { data } = errorSchema.safeParse(parsedJson(text))
  if (!data) return oneLine(text)
  return 'error' in data ? data.error : data.errors.map(({ message }) => message).join('; ')
}
