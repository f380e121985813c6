import { assertNever } from '../../../util/exhaustive.ts'
import { errorEvent } from '../../answers/error-events.ts'
import { HEARTBEAT } from '../../answers/event-text.ts'
import { openaiErrorText } from '../../body/openai-error.ts'
import type { StoredAnswer } from '../../domain/request.ts'
import type { Reply, ReplyHeaders } from '../reply.ts'
import type { Wake } from '../waiting/waiter.ts'
import { answerEvents, CLOSING_TEXT, type Form } from './answer-reply.ts'

/** Proxies are asked to pass each event on as it comes. */
const STREAM_HEADERS: ReplyHeaders = {
  'content-type': 'text/event-stream; charset=utf-8',
  'cache-control': 'no-cache',
  'x-accel-buffering': 'no',
}

/** About as much goes out at once. */
const PIECE_LENGTH = 32_768

/** The stream of an answer that is there. */
export function eventReply(answer: StoredAnswer, form: Form, headers: ReplyHeaders): Reply {
  const events = pieces(answerEvents(answer, form))
  const body = new ReadableStream<Uint8Array>({
    pull: (controller) => sendNext(controller, events),
  })
  return { status: 200, headers: { ...form.headers, ...STREAM_HEADERS, ...headers }, body }
}

export interface WaitingStream {
  readonly form: Form
  readonly headers: ReplyHeaders
  /** Waits for the next thing to say. */
  readonly next: () => Promise<Wake>
  /** The answer is there: what follows are its events. */
  readonly onAnswer: (answer: StoredAnswer) => void
  /** It ends without an answer. */
  readonly onEnd: () => Promise<void>
}

/** A stream that says now and then that it lives, until the answer is there. Its first sign of life is due now. */
export function waitingReply(stream: WaitingStream): Reply {
  const { form, headers } = stream
  let events: Iterator<Uint8Array> | undefined
  const body = new ReadableStream<Uint8Array>({
    start: (controller) => controller.enqueue(encoded(HEARTBEAT)),
    pull: async (controller) => {
      events ??= await nextEvents(stream, controller)
      if (events) sendNext(controller, events)
    },
    cancel: () => stream.onEnd(),
  })
  return { status: 200, headers: { ...form.headers, ...STREAM_HEADERS, ...headers }, body }
}

/** Undefined after a sign of life. */
async function nextEvents(
  { form, next, onAnswer, onEnd }: WaitingStream,
  controller: ReadableStreamDefaultController<Uint8Array>,
): Promise<Iterator<Uint8Array> | undefined> {
  const wake = await next()
  switch (wake.kind) {
    case 'time':
      controller.enqueue(encoded(HEARTBEAT))
      return undefined
    case 'answer':
      onAnswer(wake.answer)
      return pieces(answerEvents(wake.answer, form))
    case 'gone':
      await onEnd()
      return pieces([])
    case 'closing':
      await onEnd()
      return pieces([errorEvent(form.endpoint, CLOSING)])
    default:
      return assertNever(wake)
  }
}

const CLOSING = {
  status: 503,
  body: openaiErrorText({ status: 503, code: 'gateway_stopping', message: CLOSING_TEXT }),
}

function sendNext(
  controller: ReadableStreamDefaultController<Uint8Array>,
  pieces: Iterator<Uint8Array>,
): void {
  const { done, value } = pieces.next()
  if (done) controller.close()
  else controller.enqueue(value)
}

function* pieces(events: Iterable<string>): Generator<Uint8Array> {
  let text = ''
  for (const event of events) {
    text += event
    if (text.length < PIECE_LENGTH) continue
    yield encoded(text)
    text = ''
  }
  if (text !== '') yield encoded(text)
}

const encoded = (text: string): Uint8Array => Buffer.from(text)
