import { LIST_PAGE } from '../batch/polling.ts'
import type { Page, PageQuery } from '../batch/remote-api.ts'
import type { WireBatch, WireFile } from '../openai/wire.ts'
import type { Context } from './context.ts'
import { withPatience } from './patience.ts'

/** Metadata key under which a batch carries its tag. */
export const TAG_KEY = 'nightshift_tag'

/** Name an input file is uploaded under. */
export const uploadName = (tag: string): string => `nightshift-${tag}.jsonl`

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
    after = page.next
  } while (after !== undefined)
}

/** The batch that an attempt to create led to: it carries the tag, or at least the attempt's input file. */
export async function findBatch(
  context: Context,
  attempt: { readonly tag: string; readonly inputFileId: string },
): Promise<WireBatch | undefined> {
  const list = context.api.listBatches.bind(context.api)
  for await (const batch of everything(context, 'listing batches', list)) {
    if (batch.metadata?.[TAG_KEY] === attempt.tag || batch.input_file_id === attempt.inputFileId) return batch
  }
  return undefined
}

/** An upload whose answer was lost. */
export async function findUpload(context: Context, tag: string): Promise<WireFile | undefined> {
  const list = context.api.listBatchFiles.bind(context.api)
  for await (const file of everything(context, 'listing files', list)) {
    if (file.filename === uploadName(tag)) return file
  }
  return undefined
}
