import { assertNever } from '../util/exhaustive.ts'
import type { QueueFile } from './queue-file.ts'
import type { TaskState } from './task-state.ts'

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

type FilePlaces = Pick<RequestPlaces, 'queued' | 'inFlight' | 'received'>

/** Where the requests of a task are. Takes time by the number of its queue files. */
export function requestPlaces({ counters, files }: Pick<TaskState, 'counters' | 'files'>): RequestPlaces {
  const { requests: total, succeeded, failed, pending } = counters
  const places = { queued: 0, waiting: pending, inFlight: 0, received: 0 }
  for (const file of files.values()) {
    const { queued, inFlight, received } = placesIn(file)
    // Those that wait are the ones that are in no file.
    places.waiting -= file.live
    places.queued += queued
    places.inFlight += inFlight
    places.received += received
  }
  return { total, succeeded, failed, pending, ...places }
}

function placesIn(file: QueueFile): FilePlaces {
  const { live } = file
  switch (file.phase) {
    case 'open':
    case 'sealed':
    case 'intended':
    case 'uploaded':
    case 'doubtful':
    case 'fenced':
      return { ...NOWHERE, queued: live }
    case 'remote':
    case 'ended':
      return { ...NOWHERE, inFlight: live }
    case 'received':
    case 'filling':
    case 'reused':
      return { ...NOWHERE, received: live }
    case 'direct': {
      const { sent = 0, received = 0 } = file.calls ?? {}
      return { queued: live - sent - received, inFlight: sent, received }
    }
    default:
      return assertNever(file)
  }
}

const NOWHERE: FilePlaces = { queued: 0, inFlight: 0, received: 0 }
