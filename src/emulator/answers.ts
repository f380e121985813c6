import type { Endpoint } from '../openai/wire.ts'
import type { GivenUsage } from './given-usage.ts'
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

/** An answer together with the tokens it used, made by `withUsage`. */
export interface BilledAnswer {
  readonly [KIND]: 'billed'
  readonly answer: string | object
  readonly usage: GivenUsage
}

/**
 * What an answer function gives: a string is the assistant's text; any other object or array is the assistant's
 * text as JSON; `withUsage` says the tokens too; `httpAnswer` and `rawBody` say the whole reply. For embeddings only
 * the last two are meant: the others are answered with simulated vectors.
 */
export type Answer = string | object | BilledAnswer | HttpAnswer | RawBody

/** Decides what a request is answered with. A throw becomes a 500. */
export type AnswerFunction = (request: EmulatedRequest) => Answer | Promise<Answer>

/** Answers with any status and any JSON body, for instance an error in OpenAI's form. */
export const httpAnswer = (status: number, body: unknown): HttpAnswer => ({ [KIND]: 'http', status, body })

/** Answers with status 200 and this JSON body, as it is. */
export const rawBody = (body: unknown): RawBody => ({ [KIND]: 'raw', body })

/**
 * Answers with this text, or this object as JSON, and names these tokens in place of the counted ones; a batch sums
 * them up. Cached tokens are asked for like this: `withUsage('yes', { input: 1000, cachedInput: 900 })`.
 */
export const withUsage = (answer: string | object, usage: GivenUsage): BilledAnswer => ({
  [KIND]: 'billed',
  answer,
  usage,
})

export const isBilledAnswer = (answer: Answer): answer is BilledAnswer =>
  typeof answer === 'object' && KIND in answer && answer[KIND] === 'billed'

export const isHttpAnswer = (answer: Answer): answer is HttpAnswer =>
  typeof answer === 'object' && KIND in answer && answer[KIND] === 'http'

export const isRawBody = (answer: Answer): answer is RawBody =>
  typeof answer === 'object' && KIND in answer && answer[KIND] === 'raw'
