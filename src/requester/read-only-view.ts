import { RequestIndex } from '../batch/request-index.ts'
import { initialState, type TaskState } from '../batch/task-state.ts'
import { StateError } from '../errors.ts'
import type { FileSystem } from '../state/file-system.ts'
import { type LedgerExtent, type LedgerLine, readLedger } from '../state/ledger.ts'
import { LEDGER_SUFFIX } from '../state/ledger-line.ts'
import { systemCode } from '../util/system-code.ts'
import type { View } from './draft.ts'
import { replay } from './replay.ts'

/** Is shown each ledger line, with the state after it. */
export type LineWatcher = (line: LedgerLine, state: TaskState) => void

/** A task as its ledger tells it. */
export interface ReadView extends View {
  /** How far the ledger was read; bytes after that are a commit that is being written, or was cut short. */
  readonly extent: LedgerExtent
}

const NOTHING: LedgerExtent = { seq: 0, validBytes: 0, tornBytes: 0 }

export const ledgerPath = (directory: string, name: string): string => `${directory}/${name}${LEDGER_SUFFIX}`

/** The task as its ledger tells it, without a lock and without changing anything. Empty when there is no ledger. */
export async function readTask(
  fs: FileSystem,
  directory: string,
  name: string,
  watch: LineWatcher = () => {},
): Promise<ReadView> {
  const path = ledgerPath(directory, name)
  const requests = new RequestIndex()
  let state = initialState
  if ((await fs.size(path)) === undefined) return { state, requests, extent: NOTHING }
  const extent = await readLedger(fs, path, {
    onLine: (line) => {
      state = replay(state, requests, line, path)
      watch(line, state)
    },
  })
  return { state, requests, extent }
}

const SHOWN_TASKS = 5

/** Throws StateError `unknown_task`, naming the tasks there are, when the folder has none of that name. */
export async function mustExist(fs: FileSystem, directory: string, name: string): Promise<void> {
  const path = ledgerPath(directory, name)
  if ((await orNone(fs.size(path))) !== undefined) return
  const others = await tasksIn(fs, directory)
  const shown = others.slice(0, SHOWN_TASKS).join(', ') + (others.length > SHOWN_TASKS ? ', ...' : '')
  const known = others.length > 0 ? `The tasks of that folder: ${shown}` : 'That folder has no tasks'
  const message = `there is no task "${name}" in ${directory}: ${path} does not exist. ${known}; --task-dir names another.`
  throw new StateError('unknown_task', message)
}

/** Names of the tasks in a folder, sorted; none when there is no such folder. */
export async function tasksIn(fs: FileSystem, directory: string): Promise<readonly string[]> {
  const ledgers = (await orNone(fs.list(directory)))?.filter((file) => file.endsWith(LEDGER_SUFFIX)) ?? []
  return ledgers.map((file) => file.slice(0, -LEDGER_SUFFIX.length)).sort()
}

async function orNone<Found>(look: Promise<Found>): Promise<Found | undefined> {
  try {
    return await look
  } catch (error) {
    if (systemCode(error) === 'ENOENT' || systemCode(error) === 'ENOTDIR') return undefined
    throw error
  }
}
