import { type Fate, followersOf } from '../batch/reuse.ts'
import type { Draft } from './draft.ts'
import { addedColumns, enqueueAgain, type PreparedRequest } from './queue.ts'
import type { RequestResult } from './request-result.ts'
import { replyJson, shareAnswer } from './reused-lines.ts'
import { type TwinIndex, twinName } from './twin-index.ts'
import type { Valuer } from './valuer.ts'

/** A request, and what those that are identical to it have in common. */
interface Named {
  readonly request: PreparedRequest
  readonly name: string
}

/**
 * Adds new requests of which only the first of each kind is asked: by `enqueue`, unless one like it waits for its
 * answer already. The others wait behind it, without a line of their own.
 */
export function enqueueDistinct(
  draft: Draft,
  requests: readonly PreparedRequest[],
  index: TwinIndex,
  enqueue: (requests: readonly PreparedRequest[]) => void,
): void {
  const named = requests.map((request) => ({ request, name: twinName(request) }))
  const seen = new Set<string>()
  const [firsts, others]: [Named[], Named[]] = [[], []]
  for (const one of named) {
    const isTwin = seen.has(one.name) || index.lastOf(one.name, draft.requests) !== 0
    seen.add(one.name)
    if (isTwin) others.push(one)
    else firsts.push(one)
  }
  enqueue(firsts.map(({ request }) => request))
  for (const { request, name } of firsts) index.set(name, draft.requests.find(request.key) ?? 0)
  const isWaitedFor = ({ name }: Named) => index.lastOf(name, draft.requests) !== 0
  // What can never be sent fails, each for itself.
  enqueue(others.filter((one) => !isWaitedFor(one)).map(({ request }) => request))
  addTwins(draft, others.filter(isWaitedFor), index)
}

function addTwins(draft: Draft, twins: readonly Named[], index: TwinIndex): void {
  if (twins.length === 0) return
  const first = draft.requests.last + 1
  const after = twins.map(({ name }, offset) => {
    const last = index.get(name)
    index.set(name, first + offset)
    return last
  })
  const columns = addedColumns(twins.map(({ request }) => request))
  draft.apply({ kind: 'add', file: 0, first, ...columns, bytes: 0, after })
}

type Answered = Pick<RequestResult, 'request' | 'endpoint' | 'model' | 'bodyText' | 'outcome'>

/**
 * What the verdict on one request means for those that wait behind it. Some of them at a time: who waits behind the
 * last of these goes on waiting, for its verdict.
 */
export function passOn(draft: Draft, result: Answered, fate: Fate, valuer: Valuer): void {
  const { request, endpoint, model, bodyText, outcome } = result
  if (fate === 'wait' || draft.requests.follower(request) === 0) return
  const reply = fate === 'share' ? replyJson(outcome) : undefined
  const followers = followersOf(draft.requests, request, bodyText.length + (reply?.length ?? 0))
  const line = { endpoint, model, bodyText }
  if (reply !== undefined) {
    shareAnswer(draft, { ...line, reply, of: request }, followers, valuer)
    return
  }
  let leader = request
  for (const follower of followers) {
    enqueueAgain(draft, follower, line, { why: 'alone', of: leader }, valuer)
    leader = follower
  }
}
