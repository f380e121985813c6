import { z } from 'zod'
import { NightshiftError } from '../errors.ts'
import { type BatchEntry, batchEntry, type CancelPlan, isOwn, planCancel } from '../requester/housekeeping.ts'
import { type RemoteFacts, readRemoteFacts } from '../requester/remote-facts.ts'
import { type Done, forEachId, listedBatches } from '../requester/remote-inventory.ts'
import { amount } from '../util/amount.ts'
import { assertNever } from '../util/exhaustive.ts'
import { formatCount } from '../util/format.ts'
import { oneLine } from '../util/text.ts'
import type { CommandIo } from './command-io.ts'
import { jsonFlag, readAction, readCommand, serverTable } from './command-line.ts'
import { indented, timeText } from './layout.ts'
import { readableDisk } from './local-command.ts'
import { type ServerPlace, withServer } from './server-command.ts'

export const BATCHES_HELP = `nightshift batches list TASK            the task's batches at the server
nightshift batches cancel TASK [ID...]  cancel unfinished ones

  --all            list: also batches of other tasks and programs
                   cancel: the given IDs may be such batches
  --yes            cancel: do it; without it, only say what would be done
  --emulator       the task is run with --emulator: look at the emulator's data
  --task-dir DIR   folder that holds the files of the task (default tasks)
  --client-base-url URL, --openai-organization ID, --openai-project ID,
  --request-timeout-ms MS
                   as for the task itself
  --json           print one JSON object, as docs/commands.md describes it
  --help           this text

Needs the OPENAI_API_KEY that the task runs with. What a batch has answered when
it is cancelled is paid for and kept: the task takes it when it runs, at once if
it is running, and sends the rest again. To stop that, stop the task first.`

const listForm = {
  usage: 'nightshift batches list TASK',
  table: serverTable,
  flags: z.object({ ...jsonFlag, all: z.boolean().default(false) }),
} as const
const cancelForm = {
  usage: 'nightshift batches cancel TASK [ID...]',
  table: serverTable,
  flags: z.object({ ...jsonFlag, all: z.boolean().default(false), yes: z.boolean().default(false) }),
} as const

/** `nightshift batches list|cancel`: resolves with the exit code. Throws `UsageError`, or what keeps it from its work. */
export async function batches(argv: readonly string[], io: CommandIo): Promise<number> {
  const chosen = readAction(argv, 'batches', ['list', 'cancel'])
  if (chosen) return chosen.action === 'list' ? list(chosen.rest, io) : cancel(chosen.rest, io)
  io.stdout(BATCHES_HELP)
  return 0
}

async function list(argv: readonly string[], io: CommandIo): Promise<number> {
  const command = readCommand(argv, listForm)
  if (!command) {
    io.stdout(BATCHES_HELP)
    return 0
  }
  const { flags, options, words } = command
  return withServer(words[0] ?? '', options, io, async (place) => {
    const { entries, facts } = await lookAt(place, io)
    const shown = flags.all ? entries : entries.filter(isOwn)
    if (flags.json) printJson(io, { task: place.name, taskId: facts.taskId, batches: shown })
    else for (const line of listText(place.name, shown, io.columns)) io.stdout(line)
    return 0
  })
}

async function cancel(argv: readonly string[], io: CommandIo): Promise<number> {
  const command = readCommand(argv, cancelForm)
  if (!command) {
    io.stdout(BATCHES_HELP)
    return 0
  }
  const { flags, options, words } = command
  const [task = '', ...ids] = words
  return withServer(task, options, io, async (place) => {
    const { entries, facts } = await lookAt(place, io)
    const plan = planCancel(entries, { ids, all: flags.all })
    if (plan.refused.length > 0) throw notCancelled(plan)
    const call = (id: string) => place.api.cancelBatch(id, io.signal)
    const wanted = plan.cancel.map(({ id }) => id)
    const outcome = flags.yes ? await forEachId(wanted, call) : undefined
    if (flags.json) printJson(io, cancelReport(place.name, facts, plan, outcome))
    else for (const line of cancelText(plan, outcome, io.columns)) io.stdout(line)
    return outcome && outcome.failed.length > 0 ? 1 : 0
  })
}

/** The server first, then the ledger: so the ledger knows every batch of the task that was listed. */
async function lookAt(
  { api, directory, name }: ServerPlace,
  io: CommandIo,
): Promise<{ readonly entries: readonly BatchEntry[]; readonly facts: RemoteFacts }> {
  const listed = await listedBatches(api, io.signal)
  const facts = await readRemoteFacts(readableDisk(io), directory, name)
  return { entries: listed.map((batch) => batchEntry(batch, facts)), facts }
}

const printJson = (io: CommandIo, value: unknown): void => io.stdout(JSON.stringify(value, null, 2))

function notCancelled({ refused }: CancelPlan): NightshiftError {
  const why = refused.map(({ id, why }) => `${id}: ${why}`).join('; ')
  return new NightshiftError('not_cancelled', `nothing was cancelled: ${why}`)
}

const cancelReport = (
  task: string,
  { taskId }: RemoteFacts,
  { cancel, over }: CancelPlan,
  outcome: Done | undefined,
) => ({
  task,
  taskId,
  dryRun: outcome === undefined,
  toCancel: cancel,
  alreadyOver: over,
  cancelled: outcome?.done ?? [],
  failed: outcome?.failed ?? [],
})

function listText(task: string, entries: readonly BatchEntry[], columns: number): string[] {
  if (entries.length === 0) return indented(`the server lists no batches of task ${task}`, columns, 0)
  return entries.flatMap((entry) => entryText(entry, columns))
}

function entryText(entry: BatchEntry, columns: number): string[] {
  const { id, status, requests, createdAt, endpoint } = entry
  const counts = requests
    ? `; ${formatCount(requests.completed)} of ${amount(requests.total, 'request')} answered, ${formatCount(requests.failed)} failed`
    : ''
  return [
    oneLine(id),
    ...indented(`${oneLine(status)}${counts}`, columns, 2),
    ...indented(`created ${timeText(createdAt)}, ${oneLine(endpoint)}`, columns, 2),
    ...indented(relationText(entry), columns, 2),
  ]
}

function relationText({ relation, isOver }: BatchEntry): string {
  switch (relation.kind) {
    case 'in-use':
      return `of queue file ${relation.file}, which is ${relation.phase}`
    case 'finished':
      return `of queue file ${relation.file}, which is done with${isOver ? '' : ', yet the batch goes on'}`
    case 'stray':
      return 'stray: the attempt to make it had been given up, or the queue file has another batch'
    case 'unknown':
      return 'carries the tag of this task, but its ledger does not know it'
    case 'other-task':
      return `of another task (id ${relation.taskId})`
    case 'foreign':
      return 'not made by Nightshift'
    default:
      return assertNever(relation)
  }
}

const KEPT =
  'What they answered is paid for and kept: the task takes it when it runs, and sends the rest again.'

function cancelText({ cancel, over }: CancelPlan, outcome: Done | undefined, columns: number): string[] {
  const say = (text: string) => indented(text, columns, 0)
  const skipped = over.flatMap(({ id, status }) => say(`${id}: nothing to cancel, it is ${status}`))
  if (cancel.length === 0) return [...skipped, ...say('there is nothing to cancel')]
  if (!outcome) {
    const what = amount(cancel.length, 'batch', 'batches')
    const entries = cancel.flatMap((entry) => entryText(entry, columns))
    return [...skipped, ...entries, ...say(`would cancel ${what}; add --yes to do it. ${KEPT}`)]
  }
  return [
    ...skipped,
    ...outcome.done.flatMap((id) => say(`${id}: asked to be cancelled`)),
    ...outcome.failed.flatMap(({ id, why }) => say(oneLine(`${id}: NOT cancelled: ${why}`))),
    ...(outcome.done.length > 0 ? say(KEPT) : []),
  ]
}
