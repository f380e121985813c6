import type { EmulatedRequest } from './answers.ts'
import { asksForFlex } from './flex.ts'
import { type Counted, counted, type Placed, type Surroundings } from './occurrences.ts'
import type { Reply } from './reply.ts'
import { changedReply } from './reply-change.ts'
import type { ReplyFault } from './scenario-reply.ts'

/** What a request's reply is turned into. */
export type ReplyChange = (reply: Reply) => Reply

/** The faults of replies and of lines. Those that happen to a request act one after the other, in their order. */
export class ReplyFaults {
  readonly #surroundings: Surroundings
  readonly #books: readonly Counted<ReplyFault>[]

  constructor(faults: readonly Placed<ReplyFault>[], surroundings: Surroundings) {
    this.#surroundings = surroundings
    this.#books = counted(faults, surroundings)
  }

  /** Whether lines of batches may have to be marked. */
  get marksLines(): boolean {
    return this.#books.some(({ fault }) => fault.fault === 'line-form')
  }

  /** What becomes of the reply to this request. Call it once for each request, when it is asked. */
  next(request: EmulatedRequest, key: number): ReplyChange | undefined {
    const now = this.#surroundings.clock.now()
    const happening = this.#books
      .filter(({ fault }) => concerns(fault, request))
      .map(({ fault, occurrences }) => ({
        fault,
        happens: occurrences.next({ now, key, attempt: request.attempt }),
      }))
      .filter(({ happens }) => happens)
    if (happening.length === 0) return undefined
    return (reply) =>
      happening.reduce((changed, { fault }) => changedReply(fault, { request, reply: changed, now }), reply)
  }
}

function concerns(fault: ReplyFault, { body, via, line }: EmulatedRequest): boolean {
  const onlyVia = viaOf(fault)
  return (
    (onlyVia === undefined || onlyVia === via) &&
    (fault.fault === 'reply-flex-refused'
      ? asksForFlex(body)
      : fault.line === undefined || fault.line === line) &&
    (fault.model === undefined || fault.model === body.model) &&
    (fault.contains === undefined || JSON.stringify(body).includes(fault.contains))
  )
}

function viaOf(fault: ReplyFault): EmulatedRequest['via'] | undefined {
  switch (fault.fault) {
    case 'line-error':
    case 'line-form':
      return 'batch'
    case 'reply-flex-refused':
      return 'direct'
    default:
      return fault.via
  }
}
