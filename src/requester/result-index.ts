import { parseCustomId } from '../batch/custom-id.ts'
import { parseResultLine, type ResultLine } from '../batch/line-outcome.ts'
import type { RequestTable } from '../batch/request-table.ts'
import { type Line, readLineChunks } from '../state/json-lines.ts'
import type { TaskStore } from './store.ts'

/** Where the result line of each request of one file is. */
export type ResultIndex = ReadonlyMap<number, { readonly offset: number; readonly bytes: number }>

export interface ResultScan {
  readonly index: ResultIndex
  /** Lines that are no result of a request in this file: not JSON, unknown or repeated ids. */
  readonly oddLines: number
}

/**
 * Reads a result file once. `onReply` sees each line that can be read, of this file's requests or not, so that
 * whatever was produced is counted; of lines with the same id only the first, which is the one that wins.
 */
export async function scanResults(
  store: TaskStore,
  file: { readonly id: number; readonly suffix: string },
  onReply: (line: ResultLine, request: number | undefined) => void = () => {},
): Promise<ResultScan> {
  const index = new Map<number, { offset: number; bytes: number }>()
  /** Ids of lines that belong to no request of this file. */
  const strangers = new Set<string>()
  let oddLines = 0
  for await (const lines of readLineChunks(store.fs, store.path(file.suffix))) {
    for (const line of lines) {
      if (line.text.trim() === '') continue
      const result = parseResultLine(line.text)
      const request = result && requestOf(result.custom_id, store.durable.requests, file.id)
      const isFirst = request === undefined ? !strangers.has(result?.custom_id ?? '') : !index.has(request)
      if (request === undefined || !isFirst) oddLines++
      else index.set(request, place(line))
      if (!result || !isFirst) continue
      if (request === undefined) strangers.add(result.custom_id)
      onReply(result, request)
    }
  }
  return { index, oddLines }
}

const place = ({ offset, bytes }: Line) => ({ offset, bytes })

/** The request a custom id names, if its current line is in the file and is the one that was named. */
export function requestOf(id: string, requests: RequestTable, file: number): number | undefined {
  const parsed = parseCustomId(id)
  if (!parsed || parsed.request < 1 || parsed.request > requests.last) return undefined
  const record = requests.get(parsed.request)
  return record.state === 'pending' && record.file === file && record.queued === parsed.queued
    ? parsed.request
    : undefined
}
