import { z } from 'zod'
import { explain as readExplanation } from '../requester/explanation.ts'
import type { CommandIo } from './command-io.ts'
import { jsonFlag, localTable, readCommand } from './command-line.ts'
import { explainText } from './explain-text.ts'
import { readableDisk, settingsFor } from './local-command.ts'

export const EXPLAIN_HELP = `nightshift explain TASK KEY: all that happened to one request

  --task-dir DIR   folder that holds the files of the task (default tasks)
  --json           print one JSON object, as docs/commands.md describes it
  --help           this text

Reads the ledger only: it needs no key and no lock, changes nothing, and may be
called while the task runs. A KEY that begins with "-" is given after "--".`

const form = {
  usage: 'nightshift explain TASK KEY',
  table: localTable,
  flags: z.object(jsonFlag),
} as const

/**
 * `nightshift explain`: resolves with the exit code. Throws `UsageError`, NightshiftError `unknown_key`, or what keeps
 * the files from being read.
 */
export async function explain(argv: readonly string[], io: CommandIo): Promise<number> {
  const command = readCommand(argv, form)
  if (!command) {
    io.stdout(EXPLAIN_HELP)
    return 0
  }
  const [task = '', key = ''] = command.words
  const { taskDir: directory, name } = settingsFor(task, command.options, io).options
  const found = await readExplanation(readableDisk(io), { directory, name }, key)
  io.stdout(command.flags.json ? JSON.stringify(found, null, 2) : explainText(found, io.columns).join('\n'))
  return 0
}
