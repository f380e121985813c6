import type { Endpoint, WireBatchError } from '../openai/wire.ts'
import { asString, isObject, type JsonObject, parseJson } from './json.ts'
import { embeddingInputs, promptTokens } from './prompt.ts'

/** What came of reading a batch's input file. `tokens` is what its prompts count for in the enqueued-token limit. */
export type Verdict =
  | { readonly kind: 'valid'; readonly total: number; readonly model: string; readonly tokens: number }
  | { readonly kind: 'invalid'; readonly errors: readonly WireBatchError[] }

export interface ValidationRules {
  readonly endpoint: Endpoint
  readonly maxRequests: number
  readonly maxEmbeddingInputs: number
  readonly knows: (model: string) => boolean
}

const MAX_ERRORS = 100

/** Reads all lines of an input file and judges them as the API does: one error for each bad line, at most 100. */
export async function validateInput(
  groups: AsyncIterable<readonly string[]>,
  rules: ValidationRules,
): Promise<Verdict> {
  const check = new InputCheck(rules)
  for await (const lines of groups) {
    for (const line of lines) check.add(line)
    if (check.hopeless) break
  }
  return check.verdict()
}

interface Fault {
  readonly code: string
  readonly message: string
  readonly param?: string
}

class InputCheck {
  readonly #rules: ValidationRules
  readonly #ids = new Set<string>()
  readonly #errors: WireBatchError[] = []
  #line = 0
  #total = 0
  #inputs = 0
  #tokens = 0
  #model: string | undefined

  constructor(rules: ValidationRules) {
    this.#rules = rules
  }

  /** Nothing that follows could change the verdict. */
  get hopeless(): boolean {
    return this.#errors.length >= MAX_ERRORS || this.#total > this.#rules.maxRequests
  }

  add(text: string): void {
    this.#line += 1
    if (text.trim() === '' || this.hopeless) return
    this.#total += 1
    const fault = this.#check(text)
    if (fault) this.#errors.push({ param: null, ...fault, line: this.#line })
  }

  verdict(): Verdict {
    const whole = this.#wholeFileFault()
    if (whole) return { kind: 'invalid', errors: [{ param: null, line: null, ...whole }] }
    if (this.#errors.length > 0) return { kind: 'invalid', errors: this.#errors }
    return { kind: 'valid', total: this.#total, model: this.#model ?? '', tokens: this.#tokens }
  }

  #wholeFileFault(): Fault | undefined {
    const { maxRequests, maxEmbeddingInputs } = this.#rules
    if (this.#total === 0) {
      return { code: 'empty_file', message: 'The input file is empty. A batch needs at least one request.' }
    }
    if (this.#total > maxRequests) {
      const message = `The input file has more than ${maxRequests} requests, the limit of one batch.`
      return { code: 'too_many_tasks', message }
    }
    if (this.#inputs > maxEmbeddingInputs) {
      const message = `The input file has more than ${maxEmbeddingInputs} embedding inputs, the limit of one batch.`
      return { code: 'too_many_tasks', message }
    }
    return undefined
  }

  #check(text: string): Fault | undefined {
    const line = parseJson(text)
    if (!isObject(line)) {
      return { code: 'invalid_json_line', message: 'This line is not parseable as valid JSON.' }
    }
    return this.#checkLine(line) ?? this.#checkBody(line.body)
  }

  #checkLine(line: JsonObject): Fault | undefined {
    for (const name of ['custom_id', 'method', 'url', 'body']) {
      if (line[name] === undefined || line[name] === null || line[name] === '') return missing(name)
    }
    const { custom_id: id, method, url } = line
    if (typeof id !== 'string') return wrongType('custom_id', 'a string')
    if (this.#ids.has(id)) {
      const message = `The custom_id '${id}' was used in an earlier line. Each request needs its own.`
      return { code: 'duplicate_custom_id', message, param: 'custom_id' }
    }
    this.#ids.add(id)
    if (method !== 'POST') {
      const message = `The method ${JSON.stringify(method)} is not supported. It must be 'POST'.`
      return { code: 'invalid_method', message, param: 'method' }
    }
    if (url === this.#rules.endpoint) return undefined
    const message = 'The URL provided for this request does not prefix-match the batch endpoint.'
    return { code: 'invalid_url', message, param: 'url' }
  }

  #checkBody(body: unknown): Fault | undefined {
    if (!isObject(body)) return wrongType('body', 'an object')
    const model = asString(body.model)
    if (model === undefined || model === '') return missing('body.model')
    this.#model ??= model
    if (model !== this.#model) {
      const message = `The model '${model}' differs from '${this.#model}' of the first request. A batch has one model.`
      return { code: 'mismatched_model', message, param: 'body.model' }
    }
    if (!this.#rules.knows(model)) {
      const message = `The provided model '${model}' is not supported by the Batch API.`
      return { code: 'model_not_found', message, param: 'body.model' }
    }
    if (body.stream === true) {
      const message = 'Streaming is not supported by the Batch API: leave out stream.'
      return { code: 'invalid_request', message, param: 'body.stream' }
    }
    this.#inputs += this.#rules.endpoint === '/v1/embeddings' ? embeddingInputs(body).length : 0
    this.#tokens += promptTokens(this.#rules.endpoint, body)
    return undefined
  }
}

const missing = (param: string): Fault => ({
  code: 'missing_required_parameter',
  message: `Missing required parameter: '${param}'.`,
  param,
})

const wrongType = (param: string, wanted: string): Fault => ({
  code: 'invalid_type',
  message: `Invalid type for '${param}': expected ${wanted}.`,
  param,
})
