import { isQueued, type QueueFile } from '../batch/queue-file.ts'
import type { RequestTable } from '../batch/request-table.ts'
import type { TaskState } from '../batch/task-state.ts'
import { assertNever } from '../util/exhaustive.ts'

/** `total = succeeded + failed + pending`; `pending = queued + waiting + inFlight + received`. */
export interface RequestPlaces {
  readonly total: number
  readonly succeeded: number
  readonly failed: number
  readonly pending: number
  /** On disk, not sent. */
  readonly queued: number
  /** For the answer to an identical request (`--dedupe`). */
  readonly waiting: number
  /** In a remote batch whose results are not here, or sent directly and not answered. */
  readonly inFlight: number
  /** Answered, and waiting for a verdict. */
  readonly received: number
}

/** Where the requests of a task are. Goes through all of them when some were sent directly and have no verdict. */
export function requestPlaces({ counters, files }: TaskState, table: RequestTable): RequestPlaces {
  const { requests: total, succeeded, failed, pending } = counters
  const places = { queued: 0, waiting: pending, inFlight: 0, received: 0 }
  const direct = new Set<number>()
  for (const file of files.values()) {
    // Those that wait are the ones that are in no file.
    places.waiting -= file.live
    if (file.phase === 'direct') direct.add(file.id)
    else places[placeOf(file)] += file.live
  }
  if (direct.size > 0) countCalls(places, direct, table)
  return { total, succeeded, failed, pending, ...places }
}

type Place = 'queued' | 'inFlight' | 'received'

function placeOf(file: Exclude<QueueFile, { phase: 'direct' }>): Place {
  if (isQueued(file)) return 'queued'
  switch (file.phase) {
    case 'remote':
    case 'ended':
      return 'inFlight'
    case 'received':
    case 'filling':
    case 'reused':
      return 'received'
    default:
      return assertNever(file)
  }
}

const CALL_PLACES = { queued: 'queued', sent: 'inFlight', received: 'received' } as const

/** The requests of a direct set differ: each call stands for itself. */
function countCalls(places: Record<Place, number>, files: ReadonlySet<number>, table: RequestTable): void {
  for (let request = 1; request <= table.last; request++) {
    const { state, file, call } = table.get(request)
    if (state === 'pending' && files.has(file)) places[CALL_PLACES[call]]++
  }
}
