import pLimit from 'p-limit'
import { LIST_PAGE } from '../batch/polling.ts'
import type { Page, PageQuery, RemoteApi } from '../batch/remote-api.ts'
import { TAG_KEY } from '../batch/remote-marks.ts'
import { errorText, RemoteError } from '../errors.ts'
import type { WireBatch } from '../openai/wire.ts'
import type { Inventory, ResultFile } from './housekeeping.ts'
import type { RemoteFacts } from './remote-facts.ts'

/** Calls on the wire at one time. */
const CALLS_AT_ONCE = 8

/** All batches that the server lists, the newest first. Throws `RemoteError`. */
export const listedBatches = (api: RemoteApi, signal: AbortSignal): Promise<WireBatch[]> =>
  allOf((query) => api.listBatches(query, signal))

/** All uploads for batches, then all batches. Throws `RemoteError`. */
export async function takeInventory(api: RemoteApi, signal: AbortSignal): Promise<Inventory> {
  const files = await allOf((query) => api.listBatchFiles(query, signal))
  return { files, batches: await listedBatches(api, signal) }
}

async function allOf<Item>(list: (query: PageQuery) => Promise<Page<Item>>): Promise<Item[]> {
  const items: Item[] = []
  let after: string | undefined
  do {
    const page: Page<Item> = await list({ limit: LIST_PAGE, ...(after !== undefined && { after }) })
    items.push(...page.items)
    after = page.next
  } while (after !== undefined)
  return items
}

/** Output and error files of the task's batches, as far as they still exist: no listing of uploads has them. */
export async function resultFilesOf(
  api: RemoteApi,
  batches: readonly WireBatch[],
  facts: RemoteFacts,
  signal: AbortSignal,
): Promise<ResultFile[]> {
  const wanted = batches.filter((batch) => isOf(batch, facts)).flatMap(resultIdsOf)
  const limit = pLimit(CALLS_AT_ONCE)
  const found = wanted
    .filter(({ id }) => !facts.cleaned.has(id))
    .map((one) => limit(() => retrieve(api, one, signal)))
  return (await Promise.all(found)).filter((one) => one !== undefined)
}

const isOf = ({ id, metadata }: WireBatch, { batches, taskId }: RemoteFacts): boolean =>
  batches.has(id) || (metadata?.[TAG_KEY]?.startsWith(`${taskId}-`) ?? false)

interface ResultId {
  readonly id: string
  readonly batchId: string
  readonly role: ResultFile['role']
}

const resultIdsOf = ({ id: batchId, output_file_id, error_file_id }: WireBatch): ResultId[] => [
  ...(output_file_id === undefined ? [] : [{ id: output_file_id, batchId, role: 'output' as const }]),
  ...(error_file_id === undefined ? [] : [{ id: error_file_id, batchId, role: 'errors' as const }]),
]

async function retrieve(
  api: RemoteApi,
  { id, batchId, role }: ResultId,
  signal: AbortSignal,
): Promise<ResultFile | undefined> {
  try {
    return { file: await api.retrieveFile(id, signal), batchId, role }
  } catch (error) {
    if (error instanceof RemoteError && error.status === 404) return undefined
    throw error
  }
}

/** What became of some calls: the ids of those that were done, and what the server said to the others. */
export interface Done {
  readonly done: readonly string[]
  readonly failed: readonly { readonly id: string; readonly why: string }[]
}

/** Makes one call after another. What the server refuses is noted; a refused key, or an end of the wait, is thrown. */
export async function forEachId(
  ids: readonly string[],
  call: (id: string) => Promise<unknown>,
): Promise<Done> {
  const done: string[] = []
  const failed: { readonly id: string; readonly why: string }[] = []
  for (const id of ids) {
    try {
      await call(id)
      done.push(id)
    } catch (error) {
      if (!(error instanceof RemoteError) || error.status === 401 || error.code === 'aborted') throw error
      failed.push({ id, why: errorText(error) })
    }
  }
  return { done, failed }
}
