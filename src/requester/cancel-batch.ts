import { isCancelRefusal } from '../batch/remote-refusals.ts'
import { RemoteError } from '../errors.ts'
import type { Context } from './context.ts'
import { withPatience } from './patience.ts'

/** Asks the server to stop working on a batch. One that is over cannot be cancelled: a look at it tells how it ended. */
export async function cancelBatch(context: Context, batchId: string): Promise<void> {
  const { api, stop } = context
  await withPatience(context, `cancelling batch ${batchId}`, async () => {
    try {
      await api.cancelBatch(batchId, stop)
    } catch (error) {
      if (!(error instanceof RemoteError) || !isCancelRefusal(error)) throw error
    }
  })
}
