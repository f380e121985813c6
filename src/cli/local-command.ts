import { NightshiftError } from '../errors.ts'
import { type FileSystem, nodeFileSystem } from '../state/file-system.ts'
import type { OptionInput } from '../util/option-entry.ts'
import { resolveOptions, type Settings } from '../util/options.ts'
import type { CommandIo } from './command-io.ts'
import type { localTable } from './command-line.ts'

/** The options of a command that takes a task by its name. Throws `UsageError`. */
export const settingsFor = (
  name: string,
  options: OptionInput<typeof localTable>,
  { env }: CommandIo,
): Settings => resolveOptions({ ...options, name }, env)

/** The disk, until the command is to end: then every read throws NightshiftError `interrupted`. */
export function readableDisk({ signal }: CommandIo): FileSystem {
  const open: FileSystem['open'] = async (path, mode) => {
    const file = await nodeFileSystem.open(path, mode)
    const read: typeof file.read = (into, position) => {
      if (signal.aborted) throw new NightshiftError('interrupted', 'interrupted', { retryable: true })
      return file.read(into, position)
    }
    return {
      read,
      append: (bytes) => file.append(bytes),
      truncate: (length) => file.truncate(length),
      sync: () => file.sync(),
      size: () => file.size(),
      close: () => file.close(),
    }
  }
  return { ...nodeFileSystem, open }
}
