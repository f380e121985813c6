import type { Endpoint } from '../openai/wire.ts'
import { assertNever } from '../util/exhaustive.ts'
import { inPhase, type QueueFile } from './queue-file.ts'
import { readReply } from './reply.ts'
import type { RequestTable } from './request-table.ts'

/** Answers that are used again are put together, and handed out, as many at a time: in bytes and in requests. */
export const REUSE_CHUNK = { requests: 500, bytes: 4_000_000 } as const

const isFilling = inPhase('filling')

/** A file of answers used again that takes no more of them. */
export const isFull = ({ requests, bytes }: Pick<QueueFile, 'requests' | 'bytes'>): boolean =>
  requests >= REUSE_CHUNK.requests || bytes >= REUSE_CHUNK.bytes

/** Files of answers used again that are to be handed out now: the full ones, and when there is nothing else, all. */
export const filesToGive = (files: Iterable<QueueFile>, hasOthers: boolean): number[] =>
  [...files]
    .filter(isFilling)
    .filter((file) => isFull(file) || !hasOthers)
    .map(({ id }) => id)

/** What becomes of requests that wait for the answer to an identical one: they get it, are asked for themselves, or go on waiting. */
export type Fate = 'share' | 'alone' | 'wait'

export interface LeaderVerdict {
  readonly verdict: 'accepted' | 'rejected' | 'queued-again'
  /** It goes on with another body. */
  readonly isRepaired: boolean
  /** It has an answer that identical requests may be given. */
  readonly isReusable: boolean
}

/** An answer that did not do for one request is not given to another: each has its own verdict. */
export function fateOfFollowers({ verdict, isRepaired, isReusable }: LeaderVerdict): Fate {
  switch (verdict) {
    case 'accepted':
      return isReusable ? 'share' : 'alone'
    case 'rejected':
      return 'alone'
    case 'queued-again':
      return isRepaired ? 'alone' : 'wait'
    default:
      return assertNever(verdict)
  }
}

/** Ends of an answer that is not whole. */
const CUT: ReadonlySet<string> = new Set(['length', 'content_filter', 'incomplete'])

/** An answer that others may be given later on: not refused and not cut, in none of its choices, whoever accepted it. */
export function isWholeAnswer(endpoint: Endpoint, body: unknown): boolean {
  const reply = readReply(endpoint, body)
  if (reply.kind === 'problem') return false
  return reply.choices.every(
    ({ refusal, finishReason = '' }) => refusal === undefined && !CUT.has(finishReason),
  )
}

/** The first of the requests that wait behind one, in order, as many as are served together; `bytes` is what each takes. */
export function followersOf(
  requests: Pick<RequestTable, 'follower'>,
  request: number,
  bytes: number,
): number[] {
  const most = Math.max(1, Math.min(REUSE_CHUNK.requests, Math.floor(REUSE_CHUNK.bytes / bytes)))
  const followers: number[] = []
  for (let next = requests.follower(request); next !== 0; next = requests.follower(next)) {
    if (followers.length === most) break
    followers.push(next)
  }
  return followers
}
