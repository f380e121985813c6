import { assertNever } from '../../../util/exhaustive.ts'
import type { StoredAnswer, StoredRequest } from '../../domain/request.ts'

export interface RequestFacts {
  readonly request: StoredRequest
  /** For one that is done. */
  readonly answer: StoredAnswer | undefined
  /** Remote id of the batch that it is in, or that its answer is from. */
  readonly batchId: string | undefined
}

/** A request as its caller may ask for it, as JSON text. The answer's body stands in it as the server wrote it. */
export function requestView({ request, answer, batchId }: RequestFacts): string {
  const { id, endpoint, model, mode, priority, route, attempts } = request
  const view = {
    id,
    object: 'request',
    status: statusOf(request),
    endpoint,
    model,
    mode,
    priority,
    route: answer?.route ?? route,
    batch_id: batchId ?? null,
    attempts,
    created_at: seconds(request.createdAt),
    deadline_at: seconds(request.deadlineAt),
    finished_at: seconds(request.finishedAt),
    delivered_at: seconds(request.deliveredAt),
    cost_usd: request.costNanoUsd === undefined ? null : request.costNanoUsd / 1e9,
  }
  return `${JSON.stringify(view).slice(0, -1)},"result":${answer ? resultView(answer) : 'null'}}`
}

function resultView({ status, requestId, body }: StoredAnswer): string {
  const head = JSON.stringify({ status_code: status, request_id: requestId ?? null })
  return `${head.slice(0, -1)},"body":${isJson(body) ? body : JSON.stringify(body)}}`
}

/** What the server answered may be the page of some proxy. */
function isJson(text: string): boolean {
  try {
    JSON.parse(text)
    return true
  } catch (error) {
    if (error instanceof SyntaxError) return false
    throw error
  }
}

function statusOf({ state, ending }: StoredRequest): string {
  switch (state) {
    case 'queued':
      return 'queued'
    case 'batched':
    case 'calling':
      return 'in_progress'
    case 'done':
      return ending === 'succeeded' ? 'completed' : (ending ?? 'failed')
    default:
      return assertNever(state)
  }
}

/** As OpenAI has its times. */
const seconds = (ms: number | undefined): number | null => (ms === undefined ? null : Math.floor(ms / 1000))
