import { z } from 'zod'
import { LockError, NightshiftError, StateError, UsageError } from '../errors.ts'
import { runUrl, WandbApi } from '../progress/wandb/api.ts'
import { exitCodeOf } from '../progress/wandb/config.ts'
import { DEFAULT_TIMING } from '../progress/wandb/decide.ts'
import { deliveryName } from '../progress/wandb/delivery-name.ts'
import {
  type DeliveryState,
  deliveryLock,
  deliveryPath,
  historyPath,
  openDelivery,
  type RunWishes,
  readDelivery,
} from '../progress/wandb/delivery-state.ts'
import { HistoryFile, type RunEnd } from '../progress/wandb/history-file.ts'
import type { News } from '../progress/wandb/messages.ts'
import { type SenderEnd, type SenderOptions, WandbSender } from '../progress/wandb/sender.ts'
import { nodeFileSystem } from '../state/file-system.ts'
import { TaskLock } from '../state/task-lock.ts'
import { amount } from '../util/amount.ts'
import type { OptionInput, OptionTable } from '../util/option-entry.ts'
import { optionTable } from '../util/option-table.ts'
import type { Settings, WandbEnvironment } from '../util/options.ts'
import type { Secret } from '../util/secret.ts'
import type { CommandIo } from './command-io.ts'
import { jsonFlag, readCommand } from './command-line.ts'
import { indented } from './layout.ts'
import { settingsFor } from './local-command.ts'
import { wandbKey } from './wandb-key.ts'

export const WANDB_SYNC_HELP = `nightshift wandb sync TASK: send what is left of a task's history to W&B

  --task-dir DIR   folder that holds the files of the task (default tasks)
  --wandb-project NAME, --wandb-entity NAME, --wandb-name NAME,
  --wandb-group NAME, --wandb-run-id ID
                   as for the task itself; otherwise as its last run had them
  --wandb-dir DIR  as for the task itself
  --json           print one JSON object, as docs/commands.md describes it
  --help           this text

Lines that are at W&B already are not sent again. Needs WANDB_API_KEY, or the
netrc entry of the host. Exit code 3: W&B cannot be reached, try again later.`

const { taskDir, wandbProject, wandbEntity, wandbName, wandbGroup, wandbRunId, wandbDir } = optionTable
const table = {
  taskDir,
  wandbProject,
  wandbEntity,
  wandbName,
  wandbGroup,
  wandbRunId,
  wandbDir,
} as const satisfies OptionTable
const form = { usage: 'nightshift wandb sync TASK', table, flags: z.object(jsonFlag) } as const
type Given = OptionInput<typeof table>

const UNREACHABLE = 3
/** The sender of a run that has just ended tries for some seconds more. */
const LAST_SENDER_MS = 10_000
/** About a minute, when W&B answers at all. */
const MAX_FAILURES = 6
/** Somebody waits: they should know why. */
const TELLING = { failures: 1, comfort: 'it is tried again for a minute or so' }
/** What is told while it is tried again; what else went wrong is told at the end. */
const PASSING: ReadonlySet<string> = new Set([
  'wandb_unreachable',
  'wandb_busy',
  'wandb_server_error',
  'wandb_bad_reply',
])
const WARNINGS: ReadonlySet<string> = new Set(['wandb_new_run', 'wandb_too_large', 'wandb_line_refused'])

/** Where a task is, and where its history goes. */
interface Place {
  readonly task: string
  readonly taskDir: string
  readonly stateDir: string
  /** What the names of the files of the delivery begin with. */
  readonly delivery: string
  readonly wishes: RunWishes
}

interface Outcome {
  readonly why: SenderEnd
  readonly state: DeliveryState | undefined
  readonly sentLines: number
  readonly leftLines: number
  readonly runEnd: RunEnd
  readonly warnings: readonly string[]
}

/**
 * `nightshift wandb sync`: resolves with the exit code. Throws UsageError for wrong flags and a missing key, LockError
 * when a run is sending, StateError when there is no history or it cannot be read, RemoteError when W&B refuses it.
 */
export async function wandbSync(argv: readonly string[], io: CommandIo): Promise<number> {
  const command = readCommand(argv, form)
  if (!command) {
    io.stdout(WANDB_SYNC_HELP)
    return 0
  }
  const settings = settingsFor(command.words[0] ?? '', command.options, io)
  const place = await placeOf(settings, command.options)
  const outcome = await sync(place, await wandbKey(settings.environment.wandb, place.wishes.baseUrl), io)
  if (command.flags.json) io.stdout(JSON.stringify(report(place, outcome), null, 2))
  else for (const line of outcomeText(place, outcome, io.columns)) io.stdout(line)
  return outcome.why === 'delivered' ? 0 : UNREACHABLE
}

async function placeOf({ options, environment }: Settings, given: Given): Promise<Place> {
  const { name: task, taskDir } = options
  const { wandb } = environment
  const stateDir = wandb.dir ?? taskDir
  const history = historyOf({ task, taskDir })
  const delivery = await deliveryName({ task, taskDir, stateDir }, history)
  if (delivery === undefined) throw noHistory(history.path)
  const state = await readDelivery(nodeFileSystem, stateDir, delivery)
  return { task, taskDir, stateDir, delivery, wishes: wishesOf(task, wandb, { state, given }) }
}

const historyOf = ({ task, taskDir }: Pick<Place, 'task' | 'taskDir'>): HistoryFile =>
  new HistoryFile(nodeFileSystem, historyPath(taskDir, task))

/** What is asked for now counts before what the last run of the task asked for, and that before the environment. */
function wishesOf(
  task: string,
  wandb: WandbEnvironment,
  { state, given }: { readonly state: DeliveryState | undefined; readonly given: Given },
): RunWishes {
  const { baseUrl, entity, project, runId, name = task, group, tags } = wandb
  if (!state) return { baseUrl, entity, project, runId, name, group, tags, config: {} }
  if (state.entity !== undefined && state.baseUrl !== baseUrl) throw otherServer(state.baseUrl, baseUrl)
  return {
    baseUrl,
    entity: given.wandbEntity ?? state.wantedEntity,
    project: given.wandbProject ?? state.wantedProject,
    runId: given.wandbRunId ?? state.wantedRunId,
    name: given.wandbName ?? state.name,
    group: given.wandbGroup ?? state.group,
    tags: state.tags,
    config: state.config,
  }
}

/** The file alone must not say where a key is sent: it may be somebody else's. */
const otherServer = (there: string, now: string): UsageError =>
  new UsageError(
    'other_wandb_server',
    `the task's run is at ${there}, but the server now is ${now}; set WANDB_BASE_URL=${there} if the key is for that one`,
  )

async function sync(place: Place, key: Secret, io: CommandIo): Promise<Outcome> {
  const history = historyOf(place)
  if ((await history.size()) === 0) throw noHistory(history.path)
  const lock = await lockOf(place, io)
  try {
    return await send(place, history, { key, io, guard: () => lock.check() })
  } finally {
    await lock.release()
  }
}

interface Sending {
  readonly key: Secret
  readonly io: CommandIo
  readonly guard: () => void
}

async function send(place: Place, history: HistoryFile, sending: Sending): Promise<Outcome> {
  const { stateDir, delivery } = place
  const { io, guard } = sending
  const warnings: string[] = []
  const onDamaged = (message: string) => void warnings.push(message)
  const file = await openDelivery(nodeFileSystem, deliveryPath(stateDir, delivery), { guard, onDamaged })
  const durable = await history.sync()
  const runEnd = await history.runEnd(durable)
  let sentLines = 0
  let acked = file.data?.ackedLines ?? 0
  const tell = (news: News): void => {
    if (news.news === 'trouble' && WARNINGS.has(news.code)) warnings.push(news.message)
    if (news.news === 'trouble' && PASSING.has(news.code)) io.stderr?.(news.message)
    // What is there already was not sent by this command.
    if (news.news === 'run') acked = file.data?.ackedLines ?? 0
    if (news.news !== 'acked') return
    sentLines += Math.max(0, news.lines - acked)
    acked = news.lines
  }
  const sender = senderOf(place, sending, { history, file, tell })
  sender.durable(durable)
  const exitCode = exitCodeOf(runEnd)
  if (exitCode === undefined) sender.drain()
  else sender.end(exitCode)
  const why = await finished(sender, io.signal)
  const leftLines = await history.count(file.data?.ackedBytes ?? 0, durable)
  return { why, state: file.data, sentLines, leftLines, runEnd, warnings }
}

function senderOf(
  { wishes }: Place,
  { key, io, guard }: Sending,
  parts: Pick<SenderOptions, 'history' | 'file' | 'tell'>,
): WandbSender {
  const { clock, fetch = globalThis.fetch } = io
  const { timeoutMs } = DEFAULT_TIMING
  const { baseUrl } = wishes
  const cut = new AbortController()
  const api = new WandbApi({ baseUrl, key, fetch, clock, timeoutMs, signal: cut.signal })
  const rules = { timing: DEFAULT_TIMING, maxFailures: MAX_FAILURES, telling: TELLING, random: Math.random }
  return new WandbSender({ api, wishes, clock, guard, cut, ...rules, ...parts })
}

/** Runs the sender to its end, or until the command is to end. */
async function finished(sender: WandbSender, signal: AbortSignal): Promise<SenderEnd> {
  const onAbort = () => sender.stopWithin(0)
  signal.addEventListener('abort', onAbort, { once: true })
  if (signal.aborted) onAbort()
  const why = await sender.run()
  signal.removeEventListener('abort', onAbort)
  if (why === 'out-of-time') throw new NightshiftError('interrupted', 'interrupted', { retryable: true })
  if (why === 'refused') throw sender.lastError
  return why
}

async function lockOf({ task, stateDir, delivery }: Place, { clock, signal }: CommandIo): Promise<TaskLock> {
  try {
    const name = deliveryLock(delivery)
    return await TaskLock.acquire({ directory: stateDir, name, clock, signal, timeoutMs: LAST_SENDER_MS })
  } catch (error) {
    if (!(error instanceof LockError && error.code === 'locked')) throw error
    const message = `the history of ${task} is being sent already, by a run of the task or another sync: there is nothing to do`
    throw new LockError('locked', message, { cause: error, retryable: true })
  }
}

const noHistory = (path: string): StateError =>
  new StateError('no_history', `${path} is not there or empty: check the name of the task and --task-dir`)

const urlOf = ({ wishes }: Place, state: DeliveryState | undefined): string | undefined =>
  state?.entity !== undefined && state.project !== undefined
    ? runUrl(wishes.baseUrl, { entity: state.entity, project: state.project, runId: state.runId })
    : undefined

/** How W&B shows a run that ended like this. */
function shownAs(runEnd: RunEnd): 'finished' | 'failed' | 'crashed' {
  const exitCode = exitCodeOf(runEnd)
  if (exitCode === undefined) return 'crashed'
  return exitCode === 0 ? 'finished' : 'failed'
}

const report = (place: Place, { why, state, sentLines, leftLines, runEnd, warnings }: Outcome) => ({
  task: place.task,
  delivered: why === 'delivered',
  url: urlOf(place, state) ?? null,
  runId: state?.runId ?? null,
  sentLines,
  deliveredLines: state?.ackedLines ?? 0,
  leftLines,
  end: shownAs(runEnd),
  warnings,
})

function sentText({ sentLines, leftLines }: Outcome): string {
  if (sentLines > 0) return `sent ${amount(sentLines, 'line')}`
  return leftLines > 0 ? 'nothing was sent' : 'there was nothing left to send'
}

const leftText = ({ leftLines }: Outcome): string =>
  leftLines > 0 ? `${amount(leftLines, 'line')} left` : 'but W&B does not know yet how the run ended'

function outcomeText(place: Place, outcome: Outcome, columns: number): string[] {
  const { why, state, runEnd, warnings } = outcome
  const url = urlOf(place, state)
  const texts = [
    ...warnings.map((warning) => `warning: ${warning}`),
    why === 'delivered'
      ? `${sentText(outcome)}; all ${amount(state?.ackedLines ?? 0, 'line')} of the history are at W&B, the run as ${shownAs(runEnd)}`
      : `${sentText(outcome)}, ${leftText(outcome)}: W&B cannot be reached now; try again later`,
  ]
  return [...texts.flatMap((text) => indented(text, columns, 0)), ...(url === undefined ? [] : [url])]
}
