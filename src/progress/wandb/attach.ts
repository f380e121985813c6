import { RemoteError } from '../../errors.ts'
import type { DurableJson } from '../../state/durable-json.ts'
import type { RunPath, ServerRun, WandbApi } from './api.ts'
import { planStart } from './decide.ts'
import { type DeliveryState, newDelivery, type RunWishes, randomRunId } from './delivery-state.ts'
import type { HistoryFile } from './history-file.ts'
import type { News } from './messages.ts'
import { sentBefore } from './recognise.ts'

export interface AttachOptions {
  readonly api: WandbApi
  readonly history: HistoryFile
  readonly file: DurableJson<DeliveryState>
  readonly wishes: RunWishes
  readonly tell: (news: News) => void
}

/**
 * Looks at what the server has of the run, makes it if it is not there, and decides where to go on. What is decided
 * counts only once the server let us have the run: to a key without access it may look as if there were none.
 */
export async function attachRun(
  options: AttachOptions,
  before: DeliveryState,
): Promise<RunPath & { readonly entity: string }> {
  const { api, file, wishes } = options
  const entity = before.entity ?? wishes.entity ?? (await api.defaultEntity())
  const server = await api.runStatus({ ...runPath(before), entity })
  const known = (await recognised(options, { ...before, entity }, server)) ?? before
  const planned = await plan(options, known, server)
  const { state, path } = await upsert(options, planned, { entity, isThere: server !== undefined })
  await file.write({ ...state, ...path })
  return path
}

/**
 * The state of a given run that this file was sent to before, when what was known of that is lost: as it is when
 * `_wandb.json` is, and after another run was sent to in between. Undefined when it is not surely so.
 */
async function recognised(
  { history }: AttachOptions,
  state: DeliveryState,
  server: ServerRun | undefined,
): Promise<DeliveryState | undefined> {
  const { ackedLines, runId, wantedRunId, wantedProject } = state
  if (!server || state.project !== undefined || ackedLines > 0 || runId !== wantedRunId) return undefined
  const sent = await sentBefore(history, server, await history.size())
  if (!sent) return undefined
  const firstLine = await history.firstLine()
  return { ...state, ...sent, project: wantedProject, ...(firstLine !== undefined && { firstLine }) }
}

/** Where the run is, as the server named it, or as it is asked for. */
function runPath({ entity, project, wantedEntity, wantedProject, runId }: DeliveryState): RunPath {
  return { entity: entity ?? wantedEntity, project: project ?? wantedProject, runId }
}

async function plan(
  options: AttachOptions,
  state: DeliveryState,
  server: ServerRun | undefined,
): Promise<DeliveryState> {
  const { file, history } = options
  const isSame = await isSameFile(history, state)
  // All that is in the file: what was sent of it by a sender before may not have been told to this one yet.
  const size = await history.size()
  const lines = isSame ? state.ackedLines + (await history.count(state.ackedBytes, size)) : 0
  const start = planStart(state, server, { lines, isSame })
  if (start.do === 'renew') return renew(options, state, start.why)
  const { fromLine, baseLine, baseStep } = start
  const isBack = fromLine < state.ackedLines
  const ackedBytes = isBack ? await history.offsetOf(fromLine, size) : state.ackedBytes
  // To look at a run makes it run again at the server: its end must be told anew.
  const { ended, ...rest } = state
  if (ended) await file.write(rest)
  return { ...rest, baseLine, baseStep, ackedLines: fromLine, ackedBytes }
}

async function isSameFile(history: HistoryFile, { ackedBytes, firstLine }: DeliveryState): Promise<boolean> {
  if (!(await history.endsLineAt(ackedBytes))) return false
  return firstLine === undefined || firstLine === (await history.firstLine())
}

/** Goes on with a run of another id, which gets all lines. */
async function renew(
  { file, wishes, tell }: AttachOptions,
  { runId, wantedRunId }: DeliveryState,
  why: string,
): Promise<DeliveryState> {
  const fresh = newDelivery(wishes, randomRunId())
  const next = wantedRunId === undefined ? fresh : { ...fresh, wantedRunId }
  // First of all: a kill must not leave one more empty run at the server.
  await file.write(next)
  const message = `W&B run ${runId} is left as it is (${why}); the whole history goes to a new run, ${next.runId}`
  tell({ news: 'trouble', code: 'wandb_new_run', message })
  return next
}

/** An id that was deleted cannot be used again. */
async function upsert(
  options: AttachOptions,
  state: DeliveryState,
  { entity, isThere }: { readonly entity: string | undefined; readonly isThere: boolean },
) {
  const made = async (of: DeliveryState) => {
    // Who knows nothing of the options, as `wandb sync` without what the run left, must not clear what is told of them.
    const isKnown = Object.keys(of.config).length > 0
    const config = isThere && of.runId === state.runId && !isKnown ? undefined : of.config
    const path = await options.api.upsertRun(
      { ...runPath(of), entity: of.entity ?? entity },
      { ...of, config },
    )
    return { state: of, path }
  }
  try {
    return await made(state)
  } catch (error) {
    if (!(error instanceof RemoteError && error.code === 'wandb_run_deleted')) throw error
    return made(await renew(options, state, 'it was deleted, and W&B does not let its id be used again'))
  }
}
