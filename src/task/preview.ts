import { inputsOf } from '../batch/embedding-inputs.ts'
import type { QueueFile } from '../batch/queue-file.ts'
import { type FileSize, type Sealing, sealAs, sealFor, withLine } from '../batch/sealing.ts'
import { currentParams } from '../batch/task-state.ts'
import { wireLine } from '../batch/wire-line.ts'
import { TaskError } from '../errors.ts'
import type { Endpoint } from '../openai/wire.ts'
import type { ProgressEvent } from '../progress/events.ts'
import { requestCounts, usageSoFar } from '../requester/context.ts'
import type { View } from '../requester/draft.ts'
import { requestedWipe } from '../requester/opening.ts'
import { type PrepareOptions, prepareRequest } from '../requester/prepare.ts'
import type { PreparedRequest } from '../requester/queue.ts'
import { readTask } from '../requester/read-only-view.ts'
import { requesterSettings } from '../requester/settings.ts'
import { Valuer } from '../requester/valuer.ts'
import type { FileSystem } from '../state/file-system.ts'
import type { Clock } from '../util/clock.ts'
import type { ResolvedOptions, Settings } from '../util/options.ts'
import type { RunSummary, TaskRequest } from './task-types.ts'

export interface PreviewOptions {
  readonly settings: Settings
  readonly fs: FileSystem
  readonly clock: Clock
  readonly prepare: PrepareOptions
  readonly generate: () => Iterable<TaskRequest<Endpoint>> | AsyncIterable<TaskRequest<Endpoint>>
  readonly createParams: () => unknown | Promise<unknown>
  readonly setParams: (params: unknown) => void
  /** Takes the task as it is on disk, for hooks that look at it. */
  readonly setView: (view: View) => void
  readonly emit: (event: ProgressEvent) => void
}

/** What one endpoint and model would get. */
interface Group {
  readonly endpoint: Endpoint
  readonly model: string
  requests: number
  bytes: number
  batches: number
  direct: number
  readonly example: string
  open: FileSize
}

/** Shows what a run would send. Writes nothing, sends nothing, takes no lock. */
export async function previewTask(options: PreviewOptions): Promise<RunSummary> {
  const { settings, fs, emit, setParams } = options
  const { taskDir, name } = settings.options
  const view = await readTask(fs, taskDir, name)
  const isNew = settings.options.reinitParams || settings.options.wipeTask
  const known = isNew ? undefined : currentParams(view.state)
  setParams(known ?? (await options.createParams()))
  emit({ kind: 'run-started', task: name, counts: requestCounts(view.state) })
  options.setView(view)
  const { groups, added } = await collect(options, (key) => staysCommitted(view, key, settings.options))
  const details = describe(groups, added, view.state.counters.pending)
  const { counters, spending, tally } = view.state
  return {
    name,
    complete: false,
    outcome: 'dry-run',
    details,
    ...counters,
    added,
    judged: 0,
    usage: usageSoFar(view.state),
    cost: spending.costNanoUsd / 1e9,
    batches: tally.batches,
    directSets: tally.directSets,
    retries: tally.retries,
    elapsedMs: 0,
    output: [],
    failedFile: undefined,
  }
}

/** Whether a key would still be committed after the wipes that were asked for. */
function staysCommitted({ requests }: View, key: string, options: ResolvedOptions): boolean {
  const request = requests.find(key)
  if (request === undefined) return false
  const { state } = requests.get(request)
  const scope = requestedWipe(options)
  if (scope === 'task' || (scope && state === 'pending')) return false
  return state !== 'failed' || (scope !== 'failed' && !options.retryFailed)
}

async function collect(
  { prepare, generate, settings, clock, emit }: PreviewOptions,
  isCommitted: (key: string) => boolean,
) {
  const valuer = new Valuer({ settings: requesterSettings(settings.options), clock, emit })
  const groups = new Map<string, Group>()
  const hashes = new Map<string, string>()
  for await (const request of generate()) {
    const prepared = prepareRequest(request, prepare)
    if (isCommitted(prepared.key)) continue
    const known = hashes.get(prepared.key)
    if (known !== undefined && known !== prepared.hash) {
      throw new TaskError(
        'duplicate_key',
        `key ${JSON.stringify(prepared.key)} was given twice with different bodies`,
      )
    }
    if (known !== undefined) continue
    hashes.set(prepared.key, prepared.hash)
    const measured = valuer.measured(prepared)
    valuer.check(measured)
    await valuer.sample([measured])
    addTo(groups, measured, valuer)
  }
  for (const group of groups.values()) closeOpen(group, sealAs(asFile(group), valuer.sealing))
  return { groups: [...groups.values()], added: hashes.size }
}

function addTo(groups: Map<string, Group>, request: PreparedRequest, valuer: Valuer): void {
  const { endpoint, model, bodyText } = request
  const example = wireLine('r1-0', endpoint, bodyText)
  const id = `${endpoint} ${model}`
  const group = groups.get(id) ?? {
    endpoint,
    model,
    requests: 0,
    bytes: 0,
    batches: 0,
    direct: 0,
    example,
    open: emptyFile(model),
  }
  groups.set(id, group)
  const bytes = Buffer.byteLength(example) + 1
  const inputs = inputsOf(endpoint, bodyText) ?? 0
  const tokens = valuer.forecast(request)
  const line = { bytes, inputs, tokens }
  const as = sealFor(asFile(group), line, valuer.sealing)
  if (as) closeOpen(group, as)
  group.requests++
  group.bytes += bytes
  group.open = withLine(group.open, line)
}

const emptyFile = (model: string): FileSize => ({ model, requests: 0, bytes: 0 })

function closeOpen(group: Group, as: Sealing['as']): void {
  if (group.open.requests === 0) return
  if (as === 'batch') group.batches++
  else group.direct += group.open.requests
  group.open = emptyFile(group.model)
}

const asFile = ({ endpoint, open }: Group): QueueFile => {
  const { inputs, tokens, ...sizes } = open
  const known = { ...(inputs !== undefined && { inputs }), ...(tokens && { tokens }) }
  return { phase: 'open', id: 0, endpoint, live: open.requests, passed: 0, ...sizes, ...known }
}

const EXAMPLE_LENGTH = 1_500

function describe(groups: readonly Group[], added: number, pending: number): string[] {
  const lines = [`${added} new requests, ${pending} committed ones still pending`]
  for (const { endpoint, model, requests, bytes, batches, direct, example } of groups) {
    const megabytes = (bytes / 1e6).toFixed(2)
    lines.push(
      `${model} at ${endpoint}: ${requests} requests, ${megabytes} MB, as ${batches} batches and ${direct} direct calls`,
    )
    lines.push(
      `first request: ${example.length > EXAMPLE_LENGTH ? `${example.slice(0, EXAMPLE_LENGTH)}...` : example}`,
    )
  }
  return lines
}
