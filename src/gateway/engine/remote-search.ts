import { LIST_PAGE } from '../../batch/polling.ts'
import type { Page, PageQuery, RemoteApi } from '../../batch/remote-api.ts'
import { listed, uploadName } from '../../batch/remote-marks.ts'
import { cameOf } from '../../batch/strays.ts'
import { RemoteError } from '../../errors.ts'
import type { WireBatch, WireFile } from '../../openai/wire.ts'

type List<Item> = (query: PageQuery) => Promise<Page<Item>>

/** Everything of a remote listing, page after page. Throws `RemoteError`, also when pages begin to repeat. */
async function* everything<Item extends { readonly id: string }>(
  what: string,
  list: List<Item>,
): AsyncGenerator<Item> {
  const cursors = new Set<string>()
  let after: string | undefined
  do {
    const page: Page<Item> = await list({ limit: LIST_PAGE, ...(after !== undefined && { after }) })
    yield* page.items
    after = page.next
    // What was not listed would be taken for not there, and made again.
    if (after !== undefined && cursors.has(after)) throw endless(what, after)
    if (after !== undefined) cursors.add(after)
  } while (after !== undefined)
}

const endless = (what: string, after: string): RemoteError =>
  new RemoteError(
    'bad_reply',
    `${what}: the server gives the same page again and again (after ${after}); does it heed the parameter "after"?`,
  )

/** The batches of the account, newest first as a rule. */
export const allBatches = (api: RemoteApi, signal: AbortSignal): AsyncGenerator<WireBatch> =>
  everything('listing batches', (query) => api.listBatches(query, signal))

/** The batches that an attempt to create led to, newest first as a rule. */
export async function findBatches(
  api: RemoteApi,
  attempt: { readonly tag: string; readonly inputFileId: string },
  signal: AbortSignal,
): Promise<readonly WireBatch[]> {
  const found: WireBatch[] = []
  for await (const batch of allBatches(api, signal)) if (cameOf(attempt, listed(batch))) found.push(batch)
  return found
}

/** All remote files that were uploaded under one of these tags. */
export async function findUploads(
  api: RemoteApi,
  tags: Iterable<string>,
  signal: AbortSignal,
): Promise<readonly WireFile[]> {
  const names = new Set([...tags].map(uploadName))
  const found: WireFile[] = []
  for await (const file of everything('listing files', (query) => api.listBatchFiles(query, signal)))
    if (file.filename && names.has(file.filename)) found.push(file)
  return found
}
