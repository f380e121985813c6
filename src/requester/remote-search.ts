import { LIST_PAGE, terminalStatus } from '../batch/polling.ts'
import type { Page, PageQuery } from '../batch/remote-api.ts'
import { listed, uploadName } from '../batch/remote-marks.ts'
import { cameOf } from '../batch/strays.ts'
import { RemoteError } from '../errors.ts'
import type { WireBatch, WireFile } from '../openai/wire.ts'
import type { Context } from './context.ts'
import { withPatience } from './patience.ts'

/** Everything of a remote listing, page after page, each page asked for with patience. */
export async function* everything<Item>(
  context: Context,
  what: string,
  list: (query: PageQuery, signal: AbortSignal) => Promise<Page<Item>>,
): AsyncGenerator<Item> {
  let after: string | undefined
  do {
    const query = { limit: LIST_PAGE, ...(after !== undefined && { after }) }
    const page: Page<Item> = await withPatience(context, what, () => list(query, context.stop))
    yield* page.items
    // What was not listed would be taken for not there, and made again.
    if (page.next !== undefined && page.next === after) throw endless(what, after)
    after = page.next
  } while (after !== undefined)
}

const endless = (what: string, after: string): RemoteError =>
  new RemoteError(
    'bad_reply',
    `${what}: the server gives the same page again and again (after ${after}); does it heed the parameter "after"?`,
  )

/** The batches of the account, newest first. Those that are over have nothing enqueued any more, whosever they are. */
export async function* allBatches(context: Context): AsyncGenerator<WireBatch> {
  const { api, governor } = context
  for await (const batch of everything(context, 'listing batches', (query, signal) =>
    api.listBatches(query, signal),
  )) {
    const { tag } = listed(batch)
    if (tag !== undefined && terminalStatus(batch.status)) await governor.seenEnded(tag)
    yield batch
  }
}

/** The batches that an attempt to create led to, newest first. */
export async function findBatches(
  context: Context,
  attempt: { readonly tag: string; readonly inputFileId: string },
): Promise<WireBatch[]> {
  const found: WireBatch[] = []
  for await (const batch of allBatches(context)) {
    if (cameOf(attempt, listed(batch))) found.push(batch)
  }
  return found
}

/** All remote files that were uploaded under one of these tags. */
export async function findUploads(context: Context, tags: Iterable<string>): Promise<WireFile[]> {
  const names = new Set([...tags].map(uploadName))
  const list = (query: PageQuery, signal: AbortSignal) => context.api.listBatchFiles(query, signal)
  const found: WireFile[] = []
  for await (const file of everything(context, 'listing files', list)) {
    if (file.filename && names.has(file.filename)) found.push(file)
  }
  return found
}
