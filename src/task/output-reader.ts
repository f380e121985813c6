import { basename, dirname, join } from 'node:path'
import { errorText, StateError } from '../errors.ts'
import { type FileSystem, nodeFileSystem } from '../state/file-system.ts'
import { type Line, readLineChunks } from '../state/json-lines.ts'
import { systemCode } from '../util/system-code.ts'

/**
 * The accepted values of a task, streamed in the order they were accepted. `path` is one of
 *
 * - a `.jsonl` file: its lines (of a part: that part alone);
 * - a `.json` file: the one value in it;
 * - `<taskDir>/<name>` or `<taskDir>/<name>_output`: the lines of the whole output, all parts in order. The `.json`
 *   file of a `JsonOutput` is read only when it is named itself, or when there are no lines beside it.
 *
 * May be called while the task runs: a last line that is still being written is left out. Throws StateError:
 * `output_not_found`, `output_part_missing` (a part between others is gone), `output_unreadable` (not JSON; names
 * file and byte).
 */
export async function* readOutput(path: string): AsyncGenerator<unknown, void, undefined> {
  for (const file of await outputFiles(nodeFileSystem, path)) {
    if (file.endsWith('.json')) yield parse(await nodeFileSystem.readText(file), file)
    else yield* entriesOf(nodeFileSystem, file)
  }
}

async function* entriesOf(fs: FileSystem, path: string): AsyncGenerator<unknown, void, undefined> {
  for await (const lines of readLineChunks(fs, path)) {
    for (const line of lines) {
      if (line.complete && line.text.trim() !== '') yield parse(line.text, path, line)
    }
  }
}

function parse(text: string, path: string, line?: Line): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    const where = line ? `${path}, byte ${line.offset}` : path
    const message = `${where}: not JSON (${errorText(error)}). The file was changed or damaged; restore it from a copy.`
    throw new StateError('output_unreadable', message, { cause: error })
  }
}

async function outputFiles(fs: FileSystem, path: string): Promise<readonly string[]> {
  // A task may itself be called "a.json", so only a file that is there is taken for one.
  if (/\.jsonl?$/.test(path) && (await fs.size(path)) !== undefined) return [path]
  const directory = dirname(path)
  const names = await namesIn(fs, directory)
  const name = basename(path)
  const stems = [`${name}_output`, ...(name.endsWith('_output') ? [name] : [])]
  const found = stems.map((stem) => filesOf(stem, names)).find((files) => files.length > 0)
  if (found) return found.map((file) => join(directory, file))
  const message = `there is no output at ${path}: give the path of a .jsonl or .json file, or <taskDir>/<name>`
  throw new StateError('output_not_found', message)
}

async function namesIn(fs: FileSystem, directory: string): Promise<readonly string[]> {
  try {
    return await fs.list(directory)
  } catch (error) {
    if (systemCode(error) === 'ENOENT' || systemCode(error) === 'ENOTDIR') return []
    throw error
  }
}

/** The names of one task's output, in the order of its lines; empty when it has none. */
function filesOf(stem: string, names: readonly string[]): readonly string[] {
  const single = names.filter((name) => name === `${stem}.jsonl`)
  const parts = names
    .map((name) => ({ name, part: partNumber(stem, name) }))
    .filter(({ part }) => part > 0)
    .sort((a, b) => a.part - b.part)
  for (const [index, { name, part }] of parts.entries())
    if (part !== index + 1) throw partMissing(name, index + 1)
  const lines = [...single, ...parts.map(({ name }) => name)]
  return lines.length > 0 ? lines : names.filter((name) => name === `${stem}.json`)
}

function partNumber(stem: string, name: string): number {
  const digits = name.startsWith(stem)
    ? /^_part(\d{3,})\.jsonl$/.exec(name.slice(stem.length))?.[1]
    : undefined
  return digits === undefined ? 0 : Number(digits)
}

const partMissing = (next: string, missing: number): StateError =>
  new StateError(
    'output_part_missing',
    `part ${missing} of the output is missing: the next one found is ${next}. Put the file back, or read the parts ` +
      'that are left by naming them.',
  )
