import { resolve } from 'node:path'
import type { HistoryFile } from './history-file.ts'

export interface DeliveryPlace {
  readonly task: string
  readonly taskDir: string
  /** Folder for what is kept about the delivery. */
  readonly stateDir: string
}

const ID_LENGTH = 12

/**
 * What the names of the files of a delivery begin with: in the folder of the task, its name. Another folder may be
 * shared by tasks of one name; there a hash of the first line of the history, which says when and as what the task was
 * begun, tells them apart, wherever they are moved to. Undefined there as long as the history has no first line.
 */
export async function deliveryName(
  { task, taskDir, stateDir }: DeliveryPlace,
  history: HistoryFile,
): Promise<string | undefined> {
  if (resolve(stateDir) === resolve(taskDir)) return task
  const id = await history.firstLine()
  return id === undefined ? undefined : `${task}_${id.slice(0, ID_LENGTH)}`
}
