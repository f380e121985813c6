import type { FileIn } from '../batch/queue-file.ts'
import { REMOTE_FILE_SECONDS, TAG_KEY } from '../batch/remote-marks.ts'
import { isFileNotFound, MOST_UNSEEN, UNSEEN_PAUSE_MS } from '../batch/remote-refusals.ts'
import { RemoteError } from '../errors.ts'
import type { WireBatch } from '../openai/wire.ts'
import type { Context } from './context.ts'
import { Patience, pause } from './patience.ts'

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
