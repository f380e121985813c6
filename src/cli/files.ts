import { z } from 'zod'
import { type FileEntry, fileEntries } from '../requester/housekeeping.ts'
import { readRemoteFacts } from '../requester/remote-facts.ts'
import { type Done, forEachId, resultFilesOf, takeInventory } from '../requester/remote-inventory.ts'
import { amount } from '../util/amount.ts'
import { formatBytes } from '../util/format.ts'
import { oneLine } from '../util/text.ts'
import type { CommandIo } from './command-io.ts'
import { jsonFlag, readAction, readCommand, serverTable } from './command-line.ts'
import { indented, timeText } from './layout.ts'
import { readableDisk } from './local-command.ts'
import { type ServerPlace, withServer } from './server-command.ts'

export const FILES_HELP = `nightshift files list TASK    the task's files at the server
nightshift files clean TASK   delete those that nothing needs any more

  --all            also files that other tasks of Nightshift have uploaded
  --yes            clean: do it; without it, only say what would be done
  --emulator       the task is run with --emulator: look at the emulator's data
  --task-dir DIR   folder that holds the files of the task (default tasks)
  --client-base-url URL, --openai-organization ID, --openai-project ID,
  --request-timeout-ms MS
                   as for the task itself
  --json           print one JSON object, as docs/commands.md describes it
  --help           this text

Needs the OPENAI_API_KEY that the task runs with. Never deleted are the input of
an unfinished batch, answers that the task has not received, and files that were
not made by Nightshift. A task deletes its files by itself: this is for what a
task that is not run any more has left. All of them expire after 30 days.`

const flags = { ...jsonFlag, all: z.boolean().default(false) } as const
const listForm = {
  usage: 'nightshift files list TASK',
  table: serverTable,
  flags: z.object(flags),
} as const
const cleanForm = {
  usage: 'nightshift files clean TASK',
  table: serverTable,
  flags: z.object({ ...flags, yes: z.boolean().default(false) }),
} as const

/** `nightshift files list|clean`: resolves with the exit code. Throws `UsageError`, or what keeps it from its work. */
export async function files(argv: readonly string[], io: CommandIo): Promise<number> {
  const chosen = readAction(argv, 'files', ['list', 'clean'])
  if (chosen) return chosen.action === 'list' ? list(chosen.rest, io) : clean(chosen.rest, io)
  io.stdout(FILES_HELP)
  return 0
}

async function list(argv: readonly string[], io: CommandIo): Promise<number> {
  const command = readCommand(argv, listForm)
  if (!command) {
    io.stdout(FILES_HELP)
    return 0
  }
  return withServer(command.words[0] ?? '', command.options, io, async (place) => {
    const found = await lookAt(place, command.flags, io)
    if (command.flags.json) io.stdout(JSON.stringify(found, null, 2))
    else for (const line of listText(found, io.columns)) io.stdout(line)
    return 0
  })
}

async function clean(argv: readonly string[], io: CommandIo): Promise<number> {
  const command = readCommand(argv, cleanForm)
  if (!command) {
    io.stdout(FILES_HELP)
    return 0
  }
  const { flags, options, words } = command
  return withServer(words[0] ?? '', options, io, async (place) => {
    const found = await lookAt(place, flags, io)
    const free = found.files.filter(({ neededFor }) => neededFor === null)
    const call = (id: string) => place.api.deleteFile(id, io.signal)
    const ids = free.map(({ id }) => id)
    const outcome = flags.yes ? await forEachId(ids, call) : undefined
    if (flags.json) io.stdout(JSON.stringify(cleanReport(found, free, outcome), null, 2))
    else for (const line of cleanText(found, free, outcome, io.columns)) io.stdout(line)
    return outcome && outcome.failed.length > 0 ? 1 : 0
  })
}

interface Found {
  readonly task: string
  readonly taskId: string
  readonly files: readonly FileEntry[]
}

/**
 * The ledger is read after the listing: an upload is announced in it before it begins, so what a running task has just
 * made is known to be needed.
 */
async function lookAt(
  { api, directory, name }: ServerPlace,
  { all }: { readonly all: boolean },
  io: CommandIo,
): Promise<Found> {
  const inventory = await takeInventory(api, io.signal)
  const facts = await readRemoteFacts(readableDisk(io), directory, name)
  const results = await resultFilesOf(api, inventory.batches, facts, io.signal)
  const entries = fileEntries(inventory, results, facts, io.clock.now())
  const { taskId } = facts
  return { task: name, taskId, files: entries.filter((entry) => all || entry.taskId === taskId) }
}

const cleanReport = (
  { task, taskId, files: all }: Found,
  free: readonly FileEntry[],
  outcome: Done | undefined,
) => ({
  task,
  taskId,
  dryRun: outcome === undefined,
  toDelete: free,
  kept: all.filter(({ neededFor }) => neededFor !== null),
  deleted: outcome?.done ?? [],
  failed: outcome?.failed ?? [],
})

function listText({ task, files: entries }: Found, columns: number): string[] {
  if (entries.length === 0) return indented(`the server has no files of task ${task}`, columns, 0)
  return entries.flatMap((entry) => entryText(entry, columns))
}

function entryText(entry: FileEntry, columns: number): string[] {
  const { id, name, role, bytes, createdAt, batchId, neededFor } = entry
  const facts = [
    role,
    ...(bytes === null ? [] : [formatBytes(bytes)]),
    ...(createdAt === null ? [] : [`created ${timeText(createdAt)}`]),
  ].join(', ')
  return [
    oneLine(id),
    ...indented(oneLine(name ?? 'without a name'), columns, 2),
    ...indented(facts, columns, 2),
    ...(batchId === null ? [] : indented(`of batch ${oneLine(batchId)}`, columns, 2)),
    ...indented(neededFor === null ? 'nothing needs it any more' : `needed: ${neededFor}`, columns, 2),
  ]
}

const sizeOf = (entries: readonly FileEntry[]): string =>
  formatBytes(entries.reduce((sum, { bytes }) => sum + (bytes ?? 0), 0))

function cleanText(
  { files: all }: Found,
  free: readonly FileEntry[],
  outcome: Done | undefined,
  columns: number,
): string[] {
  const say = (text: string) => indented(text, columns, 0)
  const kept = all.length - free.length
  const rest = kept > 0 ? ` ${amount(kept, 'file')} that something needs stay.` : ''
  if (free.length === 0) return say(`there is nothing to delete.${rest}`)
  if (!outcome) {
    const what = `${amount(free.length, 'file')} (${sizeOf(free)})`
    const entries = free.flatMap((entry) => entryText(entry, columns))
    return [...entries, ...say(`would delete ${what}; add --yes to do it.${rest}`)]
  }
  return [
    ...say(`deleted ${amount(outcome.done.length, 'file')}.${rest}`),
    ...outcome.failed.flatMap(({ id, why }) => say(oneLine(`${id}: NOT deleted: ${why}`))),
  ]
}
