import { Buffer } from 'node:buffer'
import { stat } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { z } from 'zod'
import { UsageError } from '../errors.ts'
import { reportPage } from '../monitor/report/page.ts'
import { readPlotLibrary } from '../monitor/report/plot-library.ts'
import { reportJson } from '../monitor/report/report-json.ts'
import { readReport } from '../monitor/report/task-report.ts'
import { nodeFileSystem } from '../state/file-system.ts'
import { replaceFile } from '../state/replace-file.ts'
import { formatBytes } from '../util/format.ts'
import { quoteValue } from '../util/option-names.ts'
import { systemCode } from '../util/system-code.ts'
import type { CommandIo } from './command-io.ts'
import { jsonFlag, localTable, readCommand } from './command-line.ts'
import { readableDisk, settingsFor } from './local-command.ts'

export const REPORT_HELP = `nightshift report TASK: one HTML page about a task, with charts

  --task-dir DIR   folder that holds the files of the task (default tasks)
  --out FILE       where the page goes: a path that ends in .html, or - for
                   standard output (default TASK_report.html in this folder)
  --json           print the same as one JSON object, as docs/commands.md
                   describes it; the page is only written when --out is given
  --help           this text

The page needs no network and no server: open it in a browser, print it, send it
to somebody. It holds examples of failed requests with their replies.

Reads the task's files only: it needs no key and no lock, changes nothing, and
may be called while the task runs.`

const form = {
  usage: 'nightshift report TASK',
  table: localTable,
  flags: z.object({ ...jsonFlag, out: z.string().optional() }),
} as const

/**
 * `nightshift report`: resolves with the exit code. Throws `UsageError`, what keeps the files from being read, or
 * StateError `write_failed` and the like when the page cannot be written.
 */
export async function report(argv: readonly string[], io: CommandIo): Promise<number> {
  const command = readCommand(argv, form)
  if (!command) {
    io.stdout(REPORT_HELP)
    return 0
  }
  const { taskDir: directory, name } = settingsFor(command.words[0] ?? '', command.options, io).options
  const { json, out } = command.flags
  await checkPlace(out, json)
  const found = await readReport(readableDisk(io), { directory, name }, io.clock.now())
  if (json) io.stdout(JSON.stringify(reportJson(found), null, 2))
  if (json && out === undefined) return 0
  const page = reportPage(found, await readPlotLibrary())
  if (out === '-') io.stdout(page.trimEnd())
  else await write(out ?? `${name}_report.html`, page, json ? () => {} : io.stdout)
  return 0
}

/**
 * A path that is mistyped must not cost a file of the task, nor the time that it takes to read it. A place that is
 * lost while that goes on is told of when the page is written.
 */
async function checkPlace(out: string | undefined, json: boolean): Promise<void> {
  if (out === '-' && json)
    throw new UsageError('bad_option', '--out - and --json both print to standard output; give one of them')
  if (out === undefined || out === '-') return
  if (!/\.html?$/i.test(out))
    throw badPlace(out, 'must be the path of a file that ends in .html, or - for standard output')
  if (await isFolder(out)) throw badPlace(out, 'is a folder: name a file in it that ends in .html')
  const folder = dirname(resolve(out))
  if (!(await isFolder(folder))) throw badPlace(out, `there is no folder ${folder}: make it, or name another`)
}

const badPlace = (out: string, what: string): UsageError =>
  new UsageError('bad_option', `--out is ${quoteValue(out)}, but ${what}`)

async function isFolder(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory()
  } catch (error) {
    if (systemCode(error) === 'ENOENT' || systemCode(error) === 'ENOTDIR') return false
    throw error
  }
}

async function write(out: string, page: string, say: (line: string) => void): Promise<void> {
  const path = resolve(out)
  await replaceFile(nodeFileSystem, path, page)
  say(`${path} (${formatBytes(Buffer.byteLength(page))})`)
}
