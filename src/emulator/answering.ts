import { errorText } from '../errors.ts'
import type { Endpoint } from '../openai/wire.ts'
import type { Clock } from '../util/clock.ts'
import {
  type Answer,
  type AnswerFunction,
  type EmulatedRequest,
  isBilledAnswer,
  isHttpAnswer,
  isRawBody,
} from './answers.ts'
import { errorBody } from './api-error.ts'
import type { AttemptBook } from './attempts.ts'
import { fingerprint, seedOf } from './chance.ts'
import { envelope } from './envelopes.ts'
import { flexFault } from './flex.ts'
import { usageWith } from './given-usage.ts'
import { type BodyFault, imageFault } from './image-faults.ts'
import { asObject, asString, type JsonObject } from './json.ts'
import type { ResolvedOptions } from './options.ts'
import { choiceCount } from './prompt.ts'
import { errorReply, type Reply, replyOf, serverErrorReply } from './reply.ts'
import type { ReplyFaults } from './reply-faults.ts'
import { type Draft, simulateDrafts } from './simulated-model.ts'
import type { Upstream } from './upstream.ts'

export type Ask = Omit<EmulatedRequest, 'attempt'>

/** Answers a request at once where it can: a promise means that something outside is being waited for. */
export type Answering = (ask: Ask) => Reply | Promise<Reply>

interface Parts {
  readonly attempts: AttemptBook
  readonly upstream: Upstream | undefined
  readonly faults?: ReplyFaults | undefined
}

const SIMULATED_FAILURE = 'The server had an error while processing your request. Sorry about that!'

/** The one place where both lines of batches and direct calls get their answers. */
export function createAnswering(options: ResolvedOptions, { attempts, upstream, faults }: Parts): Answering {
  const knows = modelCheck(options)
  return (ask) => {
    const refusal = refuse(ask, { knows, lenient: upstream !== undefined, options })
    if (refusal) return refusal
    const key = fingerprint(JSON.stringify(ask.body))
    const request: EmulatedRequest = { ...ask, attempt: attempts.next(key) }
    const change = faults?.next(request, key)
    const reply = answerTo(request, key, { options, upstream })
    if (!change) return reply
    return reply instanceof Promise ? reply.then(change) : change(reply)
  }
}

interface Answerers {
  readonly options: ResolvedOptions
  readonly upstream: Upstream | undefined
}

function answerTo(
  request: EmulatedRequest,
  key: number,
  { options, upstream }: Answerers,
): Reply | Promise<Reply> {
  if (request.attempt === 0 && isUnlucky(key, options.failureRate)) return serverErrorReply(SIMULATED_FAILURE)
  if (upstream) return upstream.ask(request)
  return options.answer
    ? custom(options.answer, request, options.clock)
    : simulated(request, key, options.clock)
}

/** Whether a model is accepted. */
export const modelCheck = ({ strictModels, models }: ResolvedOptions): ((model: string) => boolean) => {
  const known = strictModels && models ? new Set(models) : undefined
  return (model) => known?.has(model) ?? true
}

const isUnlucky = (key: number, rate: number): boolean =>
  rate > 0 && seedOf(`unlucky ${key}`) / 0x1_0000_0000 < rate

const simulated = (request: EmulatedRequest, key: number, clock: Clock): Reply =>
  replyOf(200, envelope(request, simulateDrafts(request, key), clock.now()))

function custom(answer: AnswerFunction, request: EmulatedRequest, clock: Clock): Reply | Promise<Reply> {
  try {
    const given = answer(request)
    if (!(given instanceof Promise)) return replyFor(given, request, clock)
    return given.then((late) => replyFor(late, request, clock)).catch(answerFailed)
  } catch (error) {
    return answerFailed(error)
  }
}

const answerFailed = (error: unknown): Reply =>
  serverErrorReply(`The answer function threw: ${errorText(error)}`, 'answer_function_failed')

function replyFor(answer: Answer, request: EmulatedRequest, clock: Clock): Reply {
  if (isHttpAnswer(answer)) return replyOf(answer.status, answer.body)
  if (isRawBody(answer)) return replyOf(200, answer.body)
  if (!isBilledAnswer(answer)) return replyOf(200, bodyWith(answer, request, clock))
  const body = bodyWith(answer.answer, request, clock)
  return replyOf(200, { ...body, usage: usageWith(request.endpoint, asObject(body.usage), answer.usage) })
}

function bodyWith(answer: string | object, request: EmulatedRequest, clock: Clock): JsonObject {
  const draft: Draft = { kind: 'text', text: typeof answer === 'string' ? answer : JSON.stringify(answer) }
  const count = choiceCount(request.endpoint, request.body)
  return envelope(request, Array<Draft>(count).fill(draft), clock.now())
}

interface Strictness {
  readonly knows: (model: string) => boolean
  /** Leave judging the body to another server. */
  readonly lenient: boolean
  readonly options: Pick<ResolvedOptions, 'limits' | 'flexModels'>
}

const NEEDED: Readonly<Record<Endpoint, readonly string[]>> = {
  '/v1/chat/completions': ['messages'],
  '/v1/responses': ['input', 'prompt', 'conversation', 'previous_response_id'],
  '/v1/embeddings': ['input'],
}

function refuse(ask: Ask, { knows, lenient, options }: Strictness): Reply | undefined {
  const { endpoint, body } = ask
  const model = asString(body.model)
  if (model === undefined || model === '') {
    return refusal(400, 'you must provide a model parameter', { param: 'model' })
  }
  if (!knows(model)) {
    const message = `The model \`${model}\` does not exist or you do not have access to it.`
    return refusal(404, message, { code: 'model_not_found' })
  }
  if (lenient) return undefined
  const fault = bodyFault(endpoint, body) ?? imageFault(endpoint, body, options.limits)
  return fault ? refusal(400, fault.message, fault) : flexFault(ask, options.flexModels)
}

function bodyFault(endpoint: Endpoint, body: JsonObject): BodyFault | undefined {
  const needed = NEEDED[endpoint]
  const [param = ''] = needed
  if (!needed.some((name) => body[name] !== undefined && body[name] !== null)) {
    return { message: `Missing required parameter: '${param}'.`, param, code: 'missing_required_parameter' }
  }
  const messages = body.messages
  if (endpoint === '/v1/chat/completions' && !Array.isArray(messages)) {
    const message = `Invalid type for 'messages': expected an array of objects, but got ${typeof messages} instead.`
    return { message, param, code: 'invalid_type' }
  }
  if (
    (Array.isArray(messages) && messages.length === 0) ||
    (endpoint === '/v1/embeddings' && isEmpty(body.input))
  ) {
    const message = `Invalid '${param}': empty. Expected at least one element.`
    return { message, param, code: 'empty_array' }
  }
  return undefined
}

const isEmpty = (input: unknown): boolean => input === '' || (Array.isArray(input) && input.length === 0)

const refusal = (status: number, message: string, options: { param?: string; code?: string }): Reply =>
  errorReply(status, errorBody(message, options))
