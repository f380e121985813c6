import { isUtf8 } from 'node:buffer'
import { errorText } from '../errors.ts'
import { cutText, oneLine } from '../util/text.ts'
import { MAX_EMBEDDING_INPUTS } from './embedding-inputs.ts'
import { isObject, type LineFacts, lintLine, shown } from './lint-line.ts'
import { LINT_RULES, type LintCode, type LintSeverity, type Report } from './lint-rules.ts'

export interface LintFinding {
  readonly severity: LintSeverity
  readonly code: LintCode
  /** From 1; undefined when it is about the file as a whole. */
  readonly line: number | undefined
  readonly message: string
}

export interface LintOptions {
  /** Takes each finding as soon as it is made: in the order of the lines, those about the whole file last. */
  readonly onFinding: (finding: LintFinding) => void
  /** Of the file, to be checked as well. Default: not checked. */
  readonly name?: string | undefined
  /** What the file was written as, when that is known. Default: whatever its first request says. */
  readonly expected?:
    | {
        readonly endpoint: string
        readonly model: string
        readonly requests: number
        readonly bytes: number
      }
    | undefined
}

/** What a file holds. */
export interface LintTotals {
  /** Findings of each severity. */
  readonly errors: number
  readonly warnings: number
  readonly requests: number
  readonly bytes: number
  /** Of the first request that names one that exists. */
  readonly endpoint: string | undefined
  /** How many requests are for each model; beyond 20 models under `(others)`. */
  readonly models: Readonly<Record<string, number>>
  /** Of an embeddings file; otherwise 0. */
  readonly inputs: number
  /** How many findings of each code there were. */
  readonly counts: Readonly<Partial<Record<LintCode, number>>>
}

export const MAX_BATCH_REQUESTS = 50_000
/** The documented limit is 200 MB, and servers have been seen to count it in MiB. */
const NEAR_LIMIT_BYTES = 200_000_000
export const MAX_BATCH_BYTES = 200 * 1024 * 1024
/** Ids are remembered up to here; a file with more requests is refused for that alone. */
const MOST_IDS = 2 * MAX_BATCH_REQUESTS
const MOST_MODELS = 20
const OTHERS = '(others)'

const NEWLINE = 0x0a
const RETURN = 0x0d
const BOM = '\uFEFF'
/** First bytes of what is no text in UTF-8 at all. */
const FOREIGN: readonly (readonly [string, string])[] = [
  ['fffe', 'UTF-16'],
  ['feff', 'UTF-16'],
  ['1f8b', 'a gzip archive'],
  ['504b0304', 'a zip archive'],
]

/**
 * Checks the input file of a batch, block by block, as a server will: what it finds is what a server would refuse the
 * batch for, or fail one request for. Memory does not grow with the file, but for the ids of 100,000 requests.
 */
export class BatchLint {
  readonly #options: LintOptions
  readonly #ids = new Map<string, number>()
  readonly #models = new Map<string, number>()
  readonly #counts = new Map<LintCode, number>()
  readonly #report: Report = (code, message) => this.#find(code, this.#line, message)
  readonly #found = { error: 0, warning: 0 }
  #line = 0
  #requests = 0
  #bytes = 0
  #inputs = 0
  #blank = { first: 0, lines: 0 }
  #url: { readonly value: string; readonly from: string } | undefined
  #model: { readonly value: string; readonly from: string } | undefined
  #isForeign = false

  constructor(options: LintOptions) {
    this.#options = options
    const { expected } = options
    if (!expected) return
    this.#url = { value: expected.endpoint, from: 'the batch' }
    this.#model = { value: expected.model, from: 'the batch' }
  }

  /** Takes the next part of the file: whole lines, of which only the file's last may lack its line break. */
  add(block: Buffer): void {
    if (this.#bytes === 0) this.#checkBeginning(block)
    this.#bytes += block.length
    if (this.#isForeign) return
    const isClean = isUtf8(block)
    for (let from = 0; from < block.length; ) {
      const newline = block.indexOf(NEWLINE, from)
      const end = newline < 0 ? block.length : newline
      this.#addLine(block, from, end, isClean)
      from = end + 1
    }
  }

  /** Looks at the file as a whole, once all of it was added. `bytes`: its size, if not all of it was. */
  end(bytes = this.#bytes): LintTotals {
    if (this.#blank.lines > 0 && this.#requests > 0)
      this.#findBlank('blank_end', 'end the file after its last request')
    this.#checkSize(bytes)
    return {
      errors: this.#found.error,
      warnings: this.#found.warning,
      requests: this.#requests,
      bytes,
      endpoint: this.#url?.value,
      models: Object.fromEntries(this.#models),
      inputs: this.#inputs,
      counts: Object.fromEntries(this.#counts),
    }
  }

  #checkBeginning(block: Buffer): void {
    const start = block.toString('hex', 0, 4)
    const kind = FOREIGN.find(([bytes]) => start.startsWith(bytes))?.[1]
    if (kind === undefined) return
    this.#isForeign = true
    this.#find('not_utf8', 1, `the file looks like ${kind}: write it as plain text in UTF-8`)
  }

  #addLine(block: Buffer, from: number, lineEnd: number, isClean: boolean): void {
    this.#line++
    const hasReturn = lineEnd > from && block[lineEnd - 1] === RETURN
    const end = hasReturn ? lineEnd - 1 : lineEnd
    const text = block.toString('utf8', from, end)
    if (!/\S/.test(text)) {
      this.#addBlank()
      return
    }
    if (this.#blank.lines > 0)
      this.#findBlank('blank_line', 'a server that takes each line for JSON refuses it')
    if (hasReturn && !this.#counts.has('crlf'))
      this.#report('crlf', 'the line ends in CR LF, as others may: end lines in LF alone')
    if (!isClean && !isUtf8(block.subarray(from, end)))
      this.#report('not_utf8', 'the line has bytes that are not UTF-8: write the file in UTF-8')
    if (text.startsWith(BOM)) {
      this.#report('bom', 'the line begins with a byte order mark (EF BB BF): write the file without')
      this.#addRequest(text.slice(1))
    } else this.#addRequest(text)
  }

  #addRequest(json: string): void {
    this.#requests++
    if (this.#requests === MAX_BATCH_REQUESTS + 1)
      this.#report('too_many_requests', `the file has more than ${MAX_BATCH_REQUESTS} requests: split it`)
    const value = this.#parse(json)
    if (isObject(value)) this.#compare(lintLine(value, this.#report))
    else if (value !== undefined)
      this.#report('not_an_object', `the line is ${shown(value)}: each line must be one request, an object`)
  }

  #parse(text: string): unknown {
    try {
      return JSON.parse(text)
    } catch (error) {
      const first = this.#requests === 1 && ['{', '['].includes(text.trim())
      const hint = first ? 'the file looks like one long JSON text: ' : ''
      const why = cutText(oneLine(errorText(error)), 160)
      this.#report('not_json', `${hint}each line must be one request as JSON (${why})`)
      return undefined
    }
  }

  #addBlank(): void {
    if (this.#blank.lines === 0) this.#blank = { first: this.#line, lines: 0 }
    this.#blank.lines++
  }

  #findBlank(code: LintCode, advice: string): void {
    const { first, lines } = this.#blank
    this.#blank = { first: 0, lines: 0 }
    const what = lines === 1 ? 'the line is blank' : `${lines} lines from here on are blank`
    this.#find(code, first, `${what}: ${advice}`)
  }

  /** Checks a line against those before it. */
  #compare({ id, url, model, inputs }: LineFacts): void {
    if (id !== undefined) this.#compareId(id)
    if (url !== undefined) {
      this.#url ??= { value: url, from: `line ${this.#line}` }
      if (url !== this.#url.value)
        this.#report('mixed_urls', `url is "${url}", but that of ${this.#url.from} is "${this.#url.value}"`)
    }
    if (model !== undefined) this.#compareModel(model)
    const before = this.#inputs
    this.#inputs += inputs
    if (before <= MAX_EMBEDDING_INPUTS && this.#inputs > MAX_EMBEDDING_INPUTS) {
      const message = `with this request the file has more than ${MAX_EMBEDDING_INPUTS} embedding inputs: split it`
      this.#report('too_many_inputs', message)
    }
  }

  #compareId(id: string): void {
    const before = this.#ids.get(id)
    if (before !== undefined)
      this.#report('duplicate_custom_id', `custom_id ${shown(id)} is that of line ${before}, too`)
    else if (this.#ids.size < MOST_IDS) this.#ids.set(id, this.#line)
  }

  #compareModel(model: string): void {
    this.#model ??= { value: model, from: `line ${this.#line}` }
    if (model !== this.#model.value) {
      const { value, from } = this.#model
      const message = `body.model is ${shown(model)}, but that of ${from} is ${shown(value)}: a batch has one model`
      this.#report('mixed_models', message)
    }
    const name = this.#models.has(model) || this.#models.size < MOST_MODELS ? model : OTHERS
    this.#models.set(name, (this.#models.get(name) ?? 0) + 1)
  }

  #checkSize(bytes: number): void {
    const { expected, name } = this.#options
    const whole = (code: LintCode, message: string) => this.#find(code, undefined, message)
    if (name !== undefined && !/\.jsonl$/i.test(name))
      whole('bad_file_name', `the name is ${shown(name)}: the server only takes files that end in ".jsonl"`)
    if (bytes > MAX_BATCH_BYTES)
      whole('file_too_large', `the file has ${bytes} bytes, more than 200 MiB: split it`)
    else if (bytes > NEAR_LIMIT_BYTES)
      whole('file_near_limit', `the file has ${bytes} bytes, which may count as more than 200 MB: split it`)
    if (bytes === this.#bytes && this.#requests === 0 && !this.#isForeign)
      whole('empty_file', 'the file has no request: a batch needs at least one')
    if (!expected || (expected.bytes === bytes && expected.requests === this.#requests)) return
    const was = `${expected.requests} requests in ${expected.bytes} bytes`
    whole(
      'wrong_size',
      `the file has ${this.#requests} requests in ${bytes} bytes, but was written with ${was}`,
    )
  }

  #find(code: LintCode, line: number | undefined, message: string): void {
    this.#counts.set(code, (this.#counts.get(code) ?? 0) + 1)
    const { severity } = LINT_RULES[code]
    this.#found[severity]++
    this.#options.onFinding({ severity, code, line, message })
  }
}
