import { hash } from 'node:crypto'
import type { z } from 'zod'
import type { Endpoint } from '../openai/wire.ts'
import { applyToBody, type StrictSchema, toStrictSchema } from './answer-schema.ts'
import type { RequestInHand } from './task-types.ts'

/** The answer schemas of one run: each is brought into its strict form once. */
export class AnswerSchemas<Answer> {
  readonly #owner: string
  readonly #schemaFor: (request: RequestInHand) => z.ZodType<Answer> | undefined
  readonly #strict = new Map<z.ZodType<Answer>, StrictSchema<Answer>>()

  /** `owner` names the task in messages. */
  constructor(owner: string, schemaFor: (request: RequestInHand) => z.ZodType<Answer> | undefined) {
    this.#owner = owner
    this.#schemaFor = schemaFor
  }

  /** Throws TaskError `schema_not_expressible`. */
  for(request: RequestInHand): StrictSchema<Answer> | undefined {
    const schema = this.#schemaFor(request)
    return schema && this.strict(schema)
  }

  strict(schema: z.ZodType<Answer>): StrictSchema<Answer> {
    const known = this.#strict.get(schema)
    if (known) return known
    const strict = toStrictSchema(schema, `the answer schema of ${this.#owner}`)
    this.#strict.set(schema, strict)
    return strict
  }

  /** The body with the request's schema in it, if it has one. */
  apply(endpoint: Endpoint, body: object, request: RequestInHand): object {
    const strict = this.for(request)
    return strict ? applyToBody(endpoint, { ...body }, strict) : body
  }
}

/** Tells one schema from another in later runs; empty without one. */
export const schemaHash = (strict: StrictSchema | undefined): string =>
  strict ? hash('sha256', JSON.stringify(strict.jsonSchema), 'hex').slice(0, 16) : ''
