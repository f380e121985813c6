import type { StoredAnswer } from '../domain/request.ts'

/** Larger answers are to be fetched. */
const MOST_ANSWER_BYTES = 256 * 1024

/** One message for each end of a request; tried again it is the same. */
export const webhookId = (request: string): string => `evt_${request}`

/**
 * What a webhook says, as JSON text. The answer in it is the server's own text; one that is too large is null, and can
 * be had at `url` of the gateway, as every answer can.
 */
export function webhookBody(answer: StoredAnswer): string {
  const { id, ending, status, body, requestId, route, batchId, finishedAt } = answer
  const bytes = Buffer.byteLength(body)
  const facts = {
    id,
    ending,
    status,
    url: `/v1/requests/${id}`,
    route,
    batch_id: batchId ?? null,
    upstream_request_id: requestId ?? null,
    answer_bytes: bytes,
  }
  const event = {
    id: webhookId(id),
    object: 'event',
    type: `request.${ending}`,
    created_at: Math.floor(finishedAt / 1000),
  }
  const given = bytes <= MOST_ANSWER_BYTES ? body : 'null'
  return `${opened(event)},"data":${opened(facts)},"answer":${given}}}`
}

/** A JSON object that more is to be written into. */
const opened = (object: object): string => JSON.stringify(object).slice(0, -1)
