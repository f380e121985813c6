import { assertNever } from '../../../util/exhaustive.ts'
import { openaiErrorText } from '../../body/openai-error.ts'
import type { StoredAnswer } from '../../domain/request.ts'
import type { GatewayStore } from '../../store/store.ts'
import type { Caller } from '../access/access.ts'
import { HttpError, STAY_AWAY } from '../http-error.ts'
import { jsonReply, type Reply } from '../reply.ts'
import { requestView } from './request-view.ts'

export type RequestStore = Pick<GatewayStore, 'request' | 'answers' | 'openBatches' | 'cancelRequest'>

export interface RequestRoutesParts {
  readonly store: RequestStore
  /** Its answer was given to a caller that had nowhere else to take it from. */
  readonly onTaken: (id: string) => void
}

/** `/v1/requests/{id}`: what became of a call, and its cancellation. */
export class RequestRoutes {
  readonly #parts: RequestRoutesParts

  constructor(parts: RequestRoutesParts) {
    this.#parts = parts
  }

  async get(id: string, { tenant }: Caller): Promise<Reply> {
    const { store, onTaken } = this.#parts
    const request = await store.request(id, tenant)
    if (!request) throw noRequest(id)
    const answer = request.state === 'done' ? (await store.answers([id])).get(id) : undefined
    const batchId = answer?.batchId ?? (await this.#batchId(request.batch))
    // Who sent it to be done in the background takes its answer here. Others may only look, and take it where they wait.
    if (answer && request.mode === 'async' && request.deliveredAt === undefined) onTaken(id)
    return jsonReply(200, requestView({ request, answer, batchId }), idHeaders(id))
  }

  async cancel(id: string, caller: Caller): Promise<Reply> {
    const outcome = await this.#parts.store.cancelRequest(id, caller.tenant, CANCELLED)
    switch (outcome) {
      case 'ended':
      case 'sent':
        return this.get(id, caller)
      case 'done':
        throw new HttpError(
          409,
          'request_finished',
          `The request ${id} is done: it cannot be cancelled any more.`,
          {
            headers: STAY_AWAY,
          },
        )
      case 'absent':
        throw noRequest(id)
      default:
        return assertNever(outcome)
    }
  }

  async #batchId(number: number | undefined): Promise<string | undefined> {
    if (number === undefined) return undefined
    const open = await this.#parts.store.openBatches()
    return open.find((batch) => batch.number === number)?.batchId
  }
}

const CANCELLED_STATUS = 499

/** What whoever waits for a cancelled request hears. */
const CANCELLED: Pick<StoredAnswer, 'status' | 'body'> = {
  status: CANCELLED_STATUS,
  body: openaiErrorText({
    status: CANCELLED_STATUS,
    code: 'request_cancelled',
    message: 'The request was cancelled by its caller.',
  }),
}

const idHeaders = (id: string) => ({ 'x-request-id': id, 'x-nightshift-request-id': id })

const noRequest = (id: string): HttpError =>
  new HttpError(404, 'request_not_found', `No request found with id '${id}'.`, { param: 'id' })
