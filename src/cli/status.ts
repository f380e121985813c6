import { z } from 'zod'
import { readStatus } from '../requester/status.ts'
import type { CommandIo } from './command-io.ts'
import { jsonFlag, localTable, readCommand } from './command-line.ts'
import { readableDisk, settingsFor } from './local-command.ts'
import { statusText } from './status-text.ts'

export const STATUS_HELP = `nightshift status TASK: where a task stands

  --task-dir DIR   folder that holds the files of the task (default tasks)
  --json           print one JSON object, as docs/commands.md describes it
  --help           this text

Reads the ledger only: it needs no key and no lock, changes nothing, and may be
called while the task runs.`

const form = { usage: 'nightshift status TASK', table: localTable, flags: z.object(jsonFlag) } as const

/** `nightshift status`: resolves with the exit code. Throws `UsageError`, or what keeps the ledger from being read. */
export async function status(argv: readonly string[], io: CommandIo): Promise<number> {
  const command = readCommand(argv, form)
  if (!command) {
    io.stdout(STATUS_HELP)
    return 0
  }
  const { taskDir, name } = settingsFor(command.words[0] ?? '', command.options, io).options
  const found = await readStatus(readableDisk(io), taskDir, name)
  const { columns, clock } = io
  io.stdout(
    command.flags.json
      ? JSON.stringify(found, null, 2)
      : statusText(found, { columns, nowMs: clock.now() }).join('\n'),
  )
  return 0
}
