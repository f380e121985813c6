import type { WireBatch } from '../openai/wire.ts'
import type { ListedBatch } from './strays.ts'

/** Metadata key under which a batch carries its tag. */
export const TAG_KEY = 'nightshift_tag'

/** Name an input file is uploaded under. */
export const uploadName = (tag: string): string => `nightshift-${tag}.jsonl`

/** Batch inputs and outputs are deleted by us; should that never happen, by the server after 30 days. */
export const REMOTE_FILE_SECONDS = 30 * 24 * 3600

/** What a listing says about a batch, as far as it concerns whose it is. */
export const listed = ({ id, metadata, input_file_id, status }: WireBatch): ListedBatch => ({
  id,
  tag: metadata?.[TAG_KEY],
  inputFileId: input_file_id,
  status,
})
