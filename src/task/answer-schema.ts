import { z } from 'zod'
import { TaskError } from '../errors.ts'
import type { Endpoint } from '../openai/wire.ts'
import { assertNever } from '../util/exhaustive.ts'
import { absentReadings } from './absent-nulls.ts'
import { isRecord, type JsonNode } from './json-node.ts'
import { jsonErrorText } from './json-position.ts'
import { type StrictForm, strictForm } from './strict-json-schema.ts'

/** What the text of a reply is worth: the typed answer, or why there is none. */
export type ParsedAnswer<Answer> =
  | { readonly ok: true; readonly answer: Answer }
  | {
      readonly ok: false
      /** `invalid_json`: no JSON at all. `invalid_answer`: the schema does not accept it. */
      readonly code: 'invalid_json' | 'invalid_answer'
      /** What is wrong and where, for people and for the log. */
      readonly problem: string
    }

/** A task's answer schema in OpenAI's strict form. */
export interface StrictSchema<Answer = unknown> {
  /** What the API calls the schema: 1 to 64 letters, digits, `_` or `-`. */
  readonly name: string
  readonly jsonSchema: JsonNode
  /**
   * Reads the text of a reply and checks it against the whole schema, constraints and refinements included.
   * Throws `TaskError` (`async_schema`) when the schema has asynchronous parts.
   */
  parse(text: string): ParsedAnswer<Answer>
}

/**
 * `where` names the owner of the schema in messages. Throws `TaskError` (`schema_not_expressible`) naming the path
 * of what strict mode cannot say, and what to use instead.
 */
export function toStrictSchema<Answer>(schema: z.ZodType<Answer>, where: string): StrictSchema<Answer> {
  const form = strictForm(schema, where)
  return {
    name: schemaName(form.schema.title),
    jsonSchema: form.schema,
    parse: (text) => parseAnswer(schema, form, text, where),
  }
}

/**
 * The body with the schema in the endpoint's own form, or the body itself when it has a format of its own.
 * Throws `TaskError` (`schema_not_applicable`) for embeddings, which have no answer.
 */
export function applyToBody(endpoint: Endpoint, body: JsonNode, strict: StrictSchema): JsonNode {
  const schema = { name: strict.name, strict: true, schema: strict.jsonSchema }
  switch (endpoint) {
    case '/v1/chat/completions':
      if (body.response_format) return body
      return { ...body, response_format: { type: 'json_schema', json_schema: schema } }
    case '/v1/responses': {
      const text = isRecord(body.text) ? body.text : {}
      if (text.format) return body
      return { ...body, text: { ...text, format: { type: 'json_schema', ...schema } } }
    }
    case '/v1/embeddings':
      throw new TaskError(
        'schema_not_applicable',
        'an answer schema is set, but /v1/embeddings answers with numbers; remove answerSchema or change the endpoint',
      )
    default:
      return assertNever(endpoint)
  }
}

function parseAnswer<Answer>(
  schema: z.ZodType<Answer>,
  form: StrictForm,
  text: string,
  where: string,
): ParsedAnswer<Answer> {
  const json = parseJson(text)
  if (!json.ok) return { ok: false, code: 'invalid_json', problem: json.problem }
  let first: z.ZodError | undefined
  for (const reading of absentReadings(form, json.value)) {
    const parsed = check(schema, form.wrapped ? unwrapped(reading) : reading, where)
    if (parsed.success) return { ok: true, answer: parsed.data }
    first ??= parsed.error
  }
  return { ok: false, code: 'invalid_answer', problem: first ? z.prettifyError(first) : 'nothing was read' }
}

function check<Answer>(schema: z.ZodType<Answer>, value: unknown, where: string) {
  try {
    return schema.safeParse(value)
  } catch (error) {
    if (!(error instanceof z.core.$ZodAsyncError)) throw error
    const message = `${where}: the answer schema has asynchronous refinements or transforms; check such things in processResponse`
    throw new TaskError('async_schema', message, { cause: error })
  }
}

/** A body with a format of its own may have asked for the bare value. */
const unwrapped = (value: unknown): unknown =>
  isRecord(value) && 'value' in value && Object.keys(value).length === 1 ? value.value : value

type ParsedJson =
  | { readonly ok: true; readonly value: unknown }
  | { readonly ok: false; readonly problem: string }

function parseJson(text: string): ParsedJson {
  try {
    return { ok: true, value: JSON.parse(text) }
  } catch (error) {
    return { ok: false, problem: jsonErrorText(text, error) }
  }
}

function schemaName(title: unknown): string {
  const name = typeof title === 'string' ? title.replace(/[^a-zA-Z0-9_-]+/g, '_').slice(0, 64) : ''
  return /[a-zA-Z0-9]/.test(name) ? name : 'answer'
}
