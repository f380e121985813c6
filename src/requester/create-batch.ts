import type { FileIn } from '../batch/queue-file.ts'
import { RemoteError } from '../errors.ts'
import type { WireBatch } from '../openai/wire.ts'
import type { Context } from './context.ts'
import { Patience, pause } from './patience.ts'
import { TAG_KEY } from './remote-search.ts'
import { REMOTE_FILE_SECONDS } from './uploads.ts'

/** A file is not always visible right after its upload; how often and how long that is waited for. */
const MOST_UNSEEN = 30
const UNSEEN_PAUSE_MS = 2_000

/**
 * Sends the create; again only after a definite refusal that time can mend. `onGivenUp` is called before it throws
 * because that was waited for too long, or the run is to stop: there is no batch for sure then.
 */
export async function createBatch(
  context: Context,
  file: FileIn<'uploaded'>,
  onGivenUp: (why: string) => Promise<void>,
): Promise<WireBatch> {
  const request = {
    inputFileId: file.inputFileId,
    endpoint: file.endpoint,
    metadata: { [TAG_KEY]: file.tag, nightshift_file: String(file.id) },
    outputExpiresAfterSeconds: REMOTE_FILE_SECONDS,
  }
  const patience = new Patience(context, `creating batch ${file.id}`)
  for (let unseen = 0; ; ) {
    try {
      return await context.api.createBatch(request, context.cut)
    } catch (error) {
      if (!(error instanceof RemoteError) || error.acted !== 'no') throw error
      const isUnseen = isFileNotFound(error) && unseen++ < MOST_UNSEEN
      if (!isUnseen && !error.retryable) throw error
      const wait = isUnseen
        ? pause(context, `creating batch ${file.id}: ${error.message}`, UNSEEN_PAUSE_MS)
        : patience.afterFailure(error)
      await orGiveUp(wait, () => onGivenUp(error.message))
    }
  }
}

async function orGiveUp(wait: Promise<void>, giveUp: () => Promise<void>): Promise<void> {
  try {
    await wait
  } catch (end) {
    await giveUp()
    throw end
  }
}

const isFileNotFound = (error: RemoteError): boolean =>
  (error.status === 404 || error.status === 400) &&
  /file/i.test(error.message) &&
  /not (be )?(found|exist)|no such|cannot find|does not exist/i.test(error.message)
