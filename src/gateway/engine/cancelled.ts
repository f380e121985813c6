import { openaiErrorText } from '../body/openai-error.ts'
import type { Outcome, Route } from '../domain/request.ts'

/** Not 409, nor any other status that a client would take for a wish to be asked again: that would send it anew. */
const CANCELLED_STATUS = 499

/** What the request of a batch gets that its caller cancelled. */
export const cancelledWithBatch = (id: string, route: Route): Outcome => ({
  kind: 'ended',
  id,
  ending: 'cancelled',
  status: CANCELLED_STATUS,
  body: openaiErrorText({
    status: CANCELLED_STATUS,
    code: 'batch_cancelled',
    message: 'the batch that held this request was cancelled before it was answered',
  }),
  costNanoUsd: 0,
  route,
})
