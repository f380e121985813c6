import { type Reply, readReply } from '../batch/reply.ts'
import type { Endpoint, EndpointBodies } from '../openai/wire.ts'
import type { RequestResult } from '../requester/request-result.ts'
import type { StrictSchema } from './answer-schema.ts'
import type { TaskAttempt, TaskFailure, TaskResponse } from './task-types.ts'

/** What a result is for the task: a usable reply, or a failed attempt. */
export type Reading<Answer> =
  | { readonly kind: 'response'; readonly response: TaskResponse<Answer> }
  | { readonly kind: 'failure'; readonly failure: TaskFailure }

const NANO = 1e9

/** Judges a reply by the endpoint's rules and the answer schema. */
export function readResult<Answer>(
  result: RequestResult,
  schema: StrictSchema<Answer> | undefined,
  maxRetries: number,
): Reading<Answer> {
  const { outcome, endpoint } = result
  const attemptsLeft = Math.max(0, maxRetries - result.attempt)
  const failure = (problem: Problem, reply?: Reply): Reading<Answer> => ({
    kind: 'failure',
    failure: withAttempt(result, {
      ...NOTHING,
      ...problem,
      attemptsLeft,
      reply: outcome.kind === 'reply' ? outcome.body : undefined,
      ...(reply && { text: reply.text, choices: reply.choices, toolCalls: reply.toolCalls }),
    }),
  })
  if (outcome.kind === 'failure') return failure(outcome.failure)
  const reply = readReply(endpoint, outcome.body, parsedBody(result))
  if (reply.kind === 'problem') return failure(reply.failure)
  const answer = schema ? readAnswer(reply, schema) : NO_SCHEMA
  if (!answer.ok) return failure(answer, reply)
  const { text, choices, toolCalls, embeddings, warnings } = reply
  const said = { reply: outcome.body, text, choices, toolCalls, embeddings, warnings }
  return { kind: 'response', response: withAttempt(result, { ...said, answer: answer.answer as Answer }) }
}

interface Problem {
  readonly code: string
  readonly message: string
  readonly status?: number
  readonly retryable: boolean
}

type AnswerReading = { readonly ok: true; readonly answer: unknown } | ({ readonly ok: false } & Problem)

const NO_SCHEMA: AnswerReading = { ok: true, answer: undefined }
const NOTHING = { status: undefined, text: '', choices: [], toolCalls: [] } as const

const problem = (code: string, message: string): AnswerReading => ({
  ok: false,
  code,
  message,
  retryable: true,
})

/** A reply that is asked for an answer must hold one, whole: a refusal or a cut is a failure of the attempt. */
function readAnswer(reply: Reply, schema: StrictSchema): AnswerReading {
  const [first] = reply.choices
  if (first?.refusal) return problem('refusal', `the model refused: ${first.refusal}`)
  if (first?.finishReason === 'length')
    return problem('length', 'the answer was cut off at the output token limit')
  if (first?.finishReason === 'content_filter')
    return problem('content_filter', 'the content filter cut the answer off')
  if (reply.text === '' && reply.toolCalls.length > 0) {
    return problem(
      'no_answer',
      `the model called ${reply.toolCalls.map(({ name }) => name).join(', ')} instead of answering`,
    )
  }
  const parsed = schema.parse(reply.text)
  return parsed.ok ? parsed : problem(parsed.code, parsed.problem)
}

/** What was asked for, as far as the reply is compared with it. Parsing a body costs as much as all the rest. */
const parsedBody = ({ bodyText, endpoint }: RequestResult): Record<string, unknown> =>
  endpoint === '/v1/embeddings' || bodyText.includes('"n":') ? JSON.parse(bodyText) : {}

/** Adds what every attempt has. The body is parsed only when somebody looks at it: few do. */
function withAttempt<Rest extends object>(result: RequestResult, rest: Rest): TaskAttempt & Rest {
  const { key, sample, meta, params, attempt, usage, costNanoUsd, bodyText } = result
  const cost = costNanoUsd === undefined ? undefined : costNanoUsd / NANO
  let body: EndpointBodies[Endpoint] | undefined
  return {
    ...rest,
    key,
    sample,
    meta,
    params,
    attempt: attempt + 1,
    usage,
    cost,
    get body() {
      body ??= JSON.parse(bodyText) as EndpointBodies[Endpoint]
      return body
    },
  }
}
