import type { Step } from '../batch/steps.ts'
import type { TaskState } from '../batch/task-state.ts'
import { StateError } from '../errors.ts'
import type { FileSystem } from '../state/file-system.ts'
import { stepsOfKinds } from './ledger-steps.ts'
import { ledgerPath, mustExist, readTask } from './read-only-view.ts'

/** What a ledger knows of the server: all that the task ever made there, and what it is done with. */
export interface RemoteFacts {
  /** Tags of the task's batches and uploads begin with it and a hyphen. */
  readonly taskId: string
  readonly state: TaskState
  /** Batches that queue files have or had, by id, and the queue file of each. */
  readonly batches: ReadonlyMap<string, number>
  /** Tags of all attempts to make a batch. They are committed before anything is sent under them. */
  readonly tags: ReadonlySet<string>
  /** Remote files that the task needs no more. */
  readonly released: ReadonlySet<string>
  /** Of those the ones that it deleted itself. */
  readonly cleaned: ReadonlySet<string>
}

const KINDS = [
  'intent',
  'created',
  'abandoned',
  'received',
  'stray',
  'stray-received',
  'stray-settled',
  'swept',
  'cleaned',
] as const satisfies readonly Step['kind'][]
const WANTED: ReadonlySet<(typeof KINDS)[number]> = new Set(KINDS)

/** Reads them, without the task's lock. Throws StateError: `unknown_task`, or what is wrong with the ledger. */
export async function readRemoteFacts(fs: FileSystem, directory: string, name: string): Promise<RemoteFacts> {
  await mustExist(fs, directory, name)
  const ledger = ledgerPath(directory, name)
  const batches = new Map<string, number>()
  const tags = new Set<string>()
  const released = new Set<string>()
  const cleaned = new Set<string>()
  const { state } = await readTask(fs, directory, name, (line) => {
    for (const step of stepsOfKinds(line, ledger, WANTED)) {
      if (step.kind === 'intent') tags.add(step.tag)
      else if (step.kind === 'created') batches.set(step.batchId, step.file)
      else if (step.kind === 'cleaned') for (const id of step.remoteFiles) cleaned.add(id)
      else for (const id of step.litter ?? []) released.add(id)
    }
  })
  if (!state.identity) throw neverBegun(ledger)
  return { taskId: state.identity.taskId, state, batches, tags, released, cleaned }
}

const neverBegun = (ledger: string): StateError =>
  new StateError('unknown_task', `${ledger} is empty: the task was never begun, and has nothing at a server`)
