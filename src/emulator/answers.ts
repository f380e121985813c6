import type { Endpoint } from '../openai/wire.ts'
import type { JsonObject } from './json.ts'

/** One question put to whoever answers: a line of a batch, or a direct call. */
export interface EmulatedRequest {
  readonly endpoint: Endpoint
  readonly body: JsonObject
  /** Only in a batch. */
  readonly customId?: string
  /** Its line in the input file, from 1. Only in a batch. */
  readonly line?: number
  readonly via: 'batch' | 'direct'
  /** How often this exact body was asked before, from 0. */
  readonly attempt: number
}

const KIND: unique symbol = Symbol.for('nightshift.emulator.answer')

/** A whole HTTP answer, made by `httpAnswer`. */
export interface HttpAnswer {
  readonly [KIND]: 'http'
  readonly status: number
  readonly body: unknown
}

/** A whole body answered with status 200, made by `rawBody`. */
export interface RawBody {
  readonly [KIND]: 'raw'
  readonly body: unknown
}

/**
 * What an answer function gives: a string is the assistant's text; any other object or array is the assistant's
 * text as JSON; `httpAnswer` and `rawBody` say the whole reply. For embeddings only the last two are meant: the
 * others are answered with simulated vectors.
 */
export type Answer = string | object | HttpAnswer | RawBody

/** Decides what a request is answered with. A throw becomes a 500. */
export type AnswerFunction = (request: EmulatedRequest) => Answer | Promise<Answer>

/** Answers with any status and any JSON body, for instance an error in OpenAI's form. */
export const httpAnswer = (status: number, body: unknown): HttpAnswer => ({ [KIND]: 'http', status, body })

/** Answers with status 200 and this JSON body, as it is. */
export const rawBody = (body: unknown): RawBody => ({ [KIND]: 'raw', body })

export const isHttpAnswer = (answer: Answer): answer is HttpAnswer =>
  typeof answer === 'object' && KIND in answer && answer[KIND] === 'http'

export const isRawBody = (answer: Answer): answer is RawBody =>
  typeof answer === 'object' && KIND in answer && answer[KIND] === 'raw'
