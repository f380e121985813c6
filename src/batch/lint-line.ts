import { quoteValue } from '../util/option-names.ts'
import { oneLine } from '../util/text.ts'
import { inputsOfBody } from './embedding-inputs.ts'
import type { Report } from './lint-rules.ts'

type Fields = Readonly<Record<string, unknown>>

/** What a line says that has to fit the other lines. Undefined: it does not say so, or not in a way that counts. */
export interface LineFacts {
  readonly id?: string | undefined
  readonly url?: string | undefined
  readonly model?: string | undefined
  readonly inputs: number
}

interface EndpointRule {
  /** Of each group one field must be there. */
  readonly needs: readonly (readonly string[])[]
  /** The server has a model of its own for requests that name none. */
  readonly modelOptional?: true
}

/** The endpoints that take batches, as of November 2026, and what their bodies cannot lack. */
const ENDPOINT_RULES: Readonly<Record<string, EndpointRule>> = {
  '/v1/chat/completions': { needs: [['messages']] },
  '/v1/responses': { needs: [['input', 'prompt', 'conversation']] },
  '/v1/embeddings': { needs: [['input']] },
  '/v1/completions': { needs: [['prompt']] },
  '/v1/moderations': { needs: [['input']], modelOptional: true },
  '/v1/images/generations': { needs: [['prompt']], modelOptional: true },
  '/v1/images/edits': { needs: [['prompt'], ['image', 'images']], modelOptional: true },
  '/v1/videos': { needs: [['prompt']], modelOptional: true },
}

/** What it is, in a sentence: `custom_id is 5`, `url is missing`. */
const state = (name: string, value: unknown): string =>
  `${name} is ${value === undefined || value === null ? 'missing' : shown(value)}`

const FIELDS = new Set(['custom_id', 'method', 'url', 'body'])
/** What every server with batches takes, Anthropic's included. OpenAI's own rule is looser. */
const PORTABLE_ID = /^[a-zA-Z0-9_-]{1,64}$/

/** A value as a message may show it. */
export const shown = (value: unknown): string => oneLine(quoteValue(value))

export const isObject = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** Checks one request for all that can be told from it alone. */
export function lintLine(line: Fields, report: Report): LineFacts {
  for (const name in line) {
    if (!FIELDS.has(name))
      report('unknown_field', `${shown(name)} is no field of a batch line: remove it, or move it into body`)
  }
  const { custom_id: id, method, url, body } = line
  const facts = { id: checkId(id, report), url: checkUrl(url, report) }
  if (method !== 'POST') report('bad_method', `${state('method', method)}: it must be "POST"`)
  if (isObject(body)) return { ...facts, ...lintBody(body, facts.url, report) }
  report('bad_body', `${state('body', body)}: it must be the request's JSON object`)
  return { ...facts, inputs: 0 }
}

function checkId(id: unknown, report: Report): string | undefined {
  if (id === undefined || id === null) {
    report('no_custom_id', 'custom_id is missing: give each request one of its own')
    return undefined
  }
  if (typeof id !== 'string' || id === '') {
    report('bad_custom_id', `custom_id is ${shown(id)}: it must be a text that is not empty`)
    return undefined
  }
  if (!PORTABLE_ID.test(id))
    report('odd_custom_id', `custom_id ${shown(id)} is not made of 1 to 64 letters, digits, "_" or "-"`)
  return id
}

function checkUrl(url: unknown, report: Report): string | undefined {
  if (typeof url !== 'string' || url === '') {
    report('no_url', `${state('url', url)}: it must be the path of an endpoint, such as "/v1/responses"`)
    return undefined
  }
  if (Object.hasOwn(ENDPOINT_RULES, url)) return url
  report('unknown_url', `url is ${shown(url)}: ${urlAdvice(url)}`)
  return undefined
}

function urlAdvice(url: string): string {
  if (Object.hasOwn(ENDPOINT_RULES, `/v1${url}`)) return `write "/v1${url}"; without /v1 is Azure's way`
  const paths = Object.keys(ENDPOINT_RULES)
  const meant = paths.find((path) => url.includes(path))
  return meant === undefined ? `endpoints with batches are ${paths.join(', ')}` : `write "${meant}" alone`
}

function lintBody(body: Fields, url: string | undefined, report: Report): Omit<LineFacts, 'id' | 'url'> {
  const rule = url === undefined ? undefined : ENDPOINT_RULES[url]
  const { model } = body
  const hasModel = typeof model === 'string' && model !== ''
  if (!hasModel && !(model === undefined && rule?.modelOptional))
    report('no_model', `${state('body.model', model)}: name the model`)
  checkExtras(body, report)
  for (const names of rule?.needs ?? []) checkNeeded(body, names, `${url}`, report)
  return {
    model: hasModel ? model : undefined,
    inputs: url === '/v1/embeddings' ? inputsOfBody(body) : 0,
  }
}

function checkExtras(body: Fields, report: Report): void {
  const { stream, stream_options: streamOptions, service_tier: tier } = body
  if (stream === true) report('streaming', 'body.stream is true: a batch cannot stream; leave it out')
  else if (streamOptions !== undefined && streamOptions !== null)
    report('stream_options', 'body.stream_options needs a stream, and a batch cannot stream: leave it out')
  if (tier !== undefined && tier !== null)
    report('service_tier', `body.service_tier is ${shown(tier)}: a batch is a tier of its own; leave it out`)
}

function checkNeeded(body: Fields, names: readonly string[], url: string, report: Report): void {
  const given = names.map((name) => body[name]).find((value) => value !== undefined && value !== null)
  const text = names.map((name) => `body.${name}`).join(' or ')
  if (given === undefined) report('missing_field', `${text} is missing: ${url} needs it`)
  else if (given === '' || (Array.isArray(given) && given.length === 0))
    report('missing_field', `${text} is empty: ${url} needs it`)
}
