import { isRemote, isUnpushed, type QueueFile } from './queue-file.ts'

/** The caps on what is sent, resolved to plain numbers. All are inclusive: reaching one is allowed, passing it is not. */
export interface SendLimits {
  readonly maxTaskRequests: number
  readonly maxSessionRequests: number
  readonly maxRemoteBatches: number
  readonly maxRemoteRequests: number
  readonly maxRemoteBytes: number
}

/** What counts against them. */
export interface Sent {
  /** Over the life of the task, repeats included. */
  readonly taskRequests: number
  /** Since this run began. */
  readonly sessionRequests: number
}

/** Why a batch may not be sent now. `task` and `session` limits stay for the run; `remote` ones pass. */
export type Blocked =
  | 'max task requests'
  | 'max session requests'
  | 'max remote batches'
  | 'max remote requests'
  | 'max remote size'

export const isLasting = (reason: Blocked): boolean =>
  reason === 'max task requests' || reason === 'max session requests'

/** Bytes of a limit given in MB (10^6 bytes) after its safety factor; never under 1 MB. */
export const limitBytes = (megabytes: number, safety: number): number =>
  Math.max(Math.round((megabytes * 1_000_000) / safety), 1_000_000)

/** All reasons not to submit this batch now; none means go. A blocked batch does not block smaller ones after it. */
export function blockedBy(
  file: QueueFile,
  files: Iterable<QueueFile>,
  sent: Sent,
  limits: SendLimits,
): Blocked[] {
  const remote = remoteLoad(files)
  const pending = file.requests
  const checks: readonly (readonly [Blocked, boolean])[] = [
    ['max task requests', sent.taskRequests + remote.promised + pending > limits.maxTaskRequests],
    ['max session requests', sent.sessionRequests + remote.promised + pending > limits.maxSessionRequests],
    ['max remote batches', remote.batches + 1 > limits.maxRemoteBatches],
    ['max remote requests', remote.requests + pending > limits.maxRemoteRequests],
    ['max remote size', remote.bytes + file.bytes > limits.maxRemoteBytes],
  ]
  return checks.filter(([, exceeded]) => exceeded).map(([reason]) => reason)
}

/** How many direct calls may still be sent, given what is promised to batches on their way. */
export function directAllowance(files: Iterable<QueueFile>, sent: Sent, limits: SendLimits): number {
  const { promised } = remoteLoad(files)
  const task = limits.maxTaskRequests - sent.taskRequests
  const session = limits.maxSessionRequests - sent.sessionRequests
  return Math.max(0, Math.min(task, session) - promised)
}

/** What is remote or on its way there. `promised`: requests of batches whose create is not yet confirmed. */
function remoteLoad(files: Iterable<QueueFile>) {
  const load = { batches: 0, requests: 0, bytes: 0, promised: 0 }
  for (const file of files) {
    const onItsWay = isUnpushed(file) && file.phase !== 'sealed'
    if (!onItsWay && !isRemote(file)) continue
    load.batches++
    load.requests += file.requests
    load.bytes += file.bytes
    if (onItsWay) load.promised += file.requests
  }
  return load
}
