import { RequestIndex } from '../batch/request-index.ts'
import { initialState } from '../batch/task-state.ts'
import type { FileSystem } from '../state/file-system.ts'
import { readLedger } from '../state/ledger.ts'
import type { View } from './draft.ts'
import { replay } from './replay.ts'

/** The task as its ledger tells it, without a lock and without changing anything. Empty when there is no ledger. */
export async function readTask(fs: FileSystem, directory: string, name: string): Promise<View> {
  const path = `${directory}/${name}_ledger.jsonl`
  const requests = new RequestIndex()
  let state = initialState
  if ((await fs.size(path)) === undefined) return { state, requests }
  await readLedger(fs, path, {
    onLine: (line) => {
      state = replay(state, requests, line, path)
    },
  })
  return { state, requests }
}
