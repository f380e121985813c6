import { requestPlaces } from '../batch/request-places.ts'
import { currentParams } from '../batch/task-state.ts'
import type { Endpoint } from '../openai/wire.ts'
import type { ProgressEvent } from '../progress/events.ts'
import { requestCounts, usageSoFar } from '../requester/context.ts'
import type { View } from '../requester/draft.ts'
import { requestedWipe } from '../requester/opening.ts'
import type { PrepareOptions } from '../requester/prepare.ts'
import type { QuoteGroup } from '../requester/quote-group.ts'
import { openQuoting, type Quoting } from '../requester/quoting.ts'
import { readTask } from '../requester/read-only-view.ts'
import { receiptOf } from '../requester/receipt.ts'
import { newRequests } from '../requester/survey.ts'
import type { FileSystem } from '../state/file-system.ts'
import { amount } from '../util/amount.ts'
import type { Clock } from '../util/clock.ts'
import type { Fetch } from '../util/fetch.ts'
import { formatBytes } from '../util/format.ts'
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
  readonly fetch: Fetch | undefined
  readonly stop: AbortSignal | undefined
}

/**
 * Shows what a run would send, or with `quote` what it would cost. Writes nothing, sends nothing but what
 * `fetchImageSizes` asks for, takes no lock. Throws `interrupted` when it is to stop.
 */
export async function previewTask(options: PreviewOptions): Promise<RunSummary> {
  const { settings, fs, emit, setParams } = options
  const { taskDir, name } = settings.options
  const view = await readTask(fs, taskDir, name)
  const isNew = settings.options.reinitParams || settings.options.wipeTask
  const known = isNew ? undefined : currentParams(view.state)
  setParams(known ?? (await options.createParams()))
  emit({ kind: 'run-started', task: name, counts: requestCounts(view.state) })
  options.setView(view)
  const { quoter, quote } = await collect(options, view)
  const { counters, spending, tally } = view.state
  const pending = requestedWipe(settings.options) ? 0 : counters.pending
  const found = settings.options.quote ? quote(view.state, pending) : undefined
  const awaitingVerdict = requestPlaces(view.state).received
  return {
    name,
    complete: false,
    outcome: found ? 'quote' : 'dry-run',
    details: found ? [] : describe(quoter.groups, pending),
    ...(found && { quote: found }),
    ...counters,
    added: quoter.groups.reduce((sum, { quoted }) => sum + quoted.requests, 0),
    judged: 0,
    usage: usageSoFar(view.state),
    cost: spending.costNanoUsd / 1e9,
    receipt: receiptOf(view.state, { awaitingVerdict }),
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

/** What would be sent: the requests of a pass that are not committed, put together as the queue would. */
async function collect(given: PreviewOptions, view: View): Promise<Quoting> {
  const { prepare, generate, settings, clock, emit, fetch, stop } = given
  const { options } = settings
  const tell = options.quote ? withoutEstimates(emit) : emit
  const quoting = openQuoting({ options, clock, emit: tell, fetch, stop })
  const isCommitted = (key: string): boolean => staysCommitted(view, key, options)
  for await (const { prepared } of newRequests({ requests: generate(), prepare, isCommitted }))
    await quoting.quoter.add(prepared)
  await quoting.quoter.finish()
  return quoting
}

/** A quote names its assumptions itself. */
const withoutEstimates =
  (emit: (event: ProgressEvent) => void) =>
  (event: ProgressEvent): void => {
    if (event.kind !== 'warning' || event.code !== 'estimate') emit(event)
  }

const EXAMPLE_LENGTH = 1_500

function describe(groups: readonly QuoteGroup[], pending: number): string[] {
  const added = groups.reduce((sum, { quoted }) => sum + quoted.requests, 0)
  const lines = [`${amount(added, 'new request')}, ${amount(pending, 'committed one')} still pending`]
  for (const { quoted, example } of groups) {
    const { model, endpoint, requests, bytes, batches, directRequests } = quoted
    lines.push(
      `${model} at ${endpoint}: ${amount(requests, 'request')}, ${formatBytes(bytes)}, as ${amount(batches, 'batch', 'batches')} and ${amount(directRequests, 'direct call')}`,
    )
    lines.push(
      `first request: ${example.length > EXAMPLE_LENGTH ? `${example.slice(0, EXAMPLE_LENGTH)}...` : example}`,
    )
  }
  return lines
}
