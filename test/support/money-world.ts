import { z } from 'zod'
import { applyStep } from '../../src/batch/apply-step.ts'
import { type Budget, budgetOf } from '../../src/batch/budget.ts'
import { RequestIndex } from '../../src/batch/request-index.ts'
import { stepSchema } from '../../src/batch/steps.ts'
import { initialState, type TaskState } from '../../src/batch/task-state.ts'
import { accept, retry, type Verdict } from '../../src/batch/verdict.ts'
import {
  type Answer,
  type EmulatedRequest,
  type EmulatorOptions,
  httpAnswer,
  type Scenario,
  withUsage,
} from '../../src/emulator/index.ts'
import type { Endpoint, EndpointBodies } from '../../src/openai/wire.ts'
import { TaskManager, type TaskManagerOptions } from '../../src/task/task-manager.ts'
import type { RunSummary, TaskResponse } from '../../src/task/task-types.ts'
import type { TokenCounter } from '../../src/tokens/counter.ts'
import { dataUrl, png } from '../tokens/pictures.ts'
import { crashing, type Harness, harness, taskLines } from './task-harness.ts'

/** USD per million tokens, from the vendor's page. Undefined: such tokens are charged as ordinary input. */
export interface ListPrice {
  readonly input: number
  readonly cached?: number
  readonly cacheWrite?: number
  readonly output: number
}

/** What the server bills for one answer, in tokens. */
export interface Used {
  readonly input: number
  readonly cached: number
  readonly written: number
  readonly output: number
}

/** What tokens cost by a price list, in nano-USD, not rounded. A list in USD per million tokens is one in pico-USD per token times 10^-6. */
export function billNanoUsd({ input, cached, written, output }: Used, price: ListPrice, share = 1): number {
  const { cached: cachedPrice = price.input, cacheWrite = price.input } = price
  const plain = input - cached - written
  const usd = plain * price.input + cached * cachedPrice + written * cacheWrite + output * price.output
  return share * usd * 1000
}

const PICTURES = { small: dataUrl(png(20, 20)), large: dataUrl(png(1400, 700)) } as const

/** One request of a random task, and how the server treats it. */
export interface Spec {
  readonly words: number
  readonly mostOutput: number
  readonly choices: number
  /** Shares of what is possible, 0 to 1. */
  readonly outputShare: number
  readonly cachedShare: number
  readonly writtenShare: number
  /** Prompt tokens beyond what can be counted. */
  readonly wrapping: number
  /** A picture beside the text. */
  readonly picture?: keyof typeof PICTURES | undefined
  /** So many first tries are answered with this status. */
  readonly failures: number
  readonly status: number
  /** The first answer is asked for again. */
  readonly again: boolean
}

export interface Server {
  readonly endpoint: Endpoint
  readonly model: string
  readonly direct: ListPrice
  readonly batch: ListPrice
  readonly counter: TokenCounter
}

export const keyOf = (index: number): string => `k-${index}`
/** The request's number stands in the text that is asked. */
const KEY = /k-(\d+);/

const textOf = (index: number, { words }: Spec): string => `${keyOf(index)}; ${'money '.repeat(words)}`

export function bodyOf(index: number, spec: Spec, { endpoint, model }: Server) {
  const text = textOf(index, spec)
  switch (endpoint) {
    case '/v1/chat/completions': {
      const url = spec.picture && PICTURES[spec.picture]
      const picture = url && { type: 'image_url' as const, image_url: { url } }
      const content = picture ? [{ type: 'text' as const, text }, picture] : text
      const { mostOutput: max_completion_tokens, choices: n } = spec
      return { model, messages: [{ role: 'user' as const, content }], max_completion_tokens, n }
    }
    case '/v1/responses':
      return { model, input: text, max_output_tokens: spec.mostOutput }
    case '/v1/embeddings':
      return { model, input: [text] }
  }
}

/** A task with these requests. */
export function taskOf(specs: readonly Spec[], server: Server, options: TaskManagerOptions): TaskManager {
  const isAgain = ({ key, attempt }: TaskResponse): boolean =>
    attempt === 1 && specs[Number(key.slice(2))]?.again === true
  class Money extends TaskManager {
    override endpoint = server.endpoint;

    *generateRequests() {
      for (const [index, spec] of specs.entries()) {
        const body: EndpointBodies[Endpoint] = bodyOf(index, spec, server)
        yield { key: keyOf(index), body }
      }
    }

    processResponse(response: TaskResponse): Verdict {
      return isAgain(response) ? retry('once more') : accept({ key: response.key })
    }
  }
  return new Money(options)
}

/** What the server used for one request: what its tokenizer counts and some more, and of the output no more than is allowed. */
export function usedFor(spec: Spec, body: object, { endpoint, model, counter }: Server): Used {
  const { total } = counter.count({ endpoint, model, body: { ...body } })
  const input = total + (endpoint === '/v1/embeddings' ? 0 : spec.wrapping)
  const cached = Math.floor(input * spec.cachedShare)
  const written = Math.floor((input - cached) * spec.writtenShare)
  const choices = endpoint === '/v1/chat/completions' ? spec.choices : 1
  const output = endpoint === '/v1/embeddings' ? 0 : Math.floor(choices * spec.mostOutput * spec.outputShare)
  return { input, cached, written, output }
}

const viewSchema = z.object({
  id: z.string(),
  input_file_id: z.string(),
  request_counts: z.object({ total: z.number(), completed: z.number(), failed: z.number() }),
  metadata: z.record(z.string(), z.string()).nullish(),
})

/** A server that keeps its own account of all that it did, whoever heard of it, and a task on it. */
export class MoneyWorld {
  readonly rig: Harness
  readonly #specs: readonly Spec[]
  readonly #server: Server
  #directNanoUsd = 0
  #calls = 0
  /** What lines of batches cost when they are reached, by the batch's input file and their place. */
  readonly #lines = new Map<string, number>()
  readonly #tries = new Map<number, number>()
  readonly #inputs = new Map<string, readonly string[]>()

  constructor(specs: readonly Spec[], server: Server, emulator: EmulatorOptions & { scenario?: Scenario }) {
    this.#specs = specs
    this.#server = server
    this.rig = harness({
      ...emulator,
      answer: (request) => this.#answer(request),
      intercept: async (request, next) => {
        const isCreate = request.method === 'POST' && new URL(request.url).pathname === '/v1/batches'
        if (isCreate) await this.#noteInput(await request.clone().text())
        return next()
      },
    })
  }

  /** Calls that the model was asked directly. */
  get calls(): number {
    return this.#calls
  }

  run(over: Partial<TaskManagerOptions>): Promise<RunSummary> {
    return taskOf(this.#specs, this.#server, this.rig.options(over)).run()
  }

  /** Runs until nothing arrives any more from the given request on, or to the end; gives the folder that is left. */
  async runUntil(atRequest: number, acted: boolean, over: Partial<TaskManagerOptions>): Promise<string> {
    let seen = 0
    const crash = crashing(this.rig, { at: () => ++seen === atRequest, acted }, over)
    const run = taskOf(this.#specs, this.#server, crash.options).run()
    const dir = over.taskDir ?? this.rig.dir
    const folder = await Promise.race([crash.folder, run.then(() => dir)])
    crash.bury()
    await Promise.allSettled([run])
    return folder
  }

  /** All that was worked on so far, in nano-USD: calls and lines whose answers were lost, too. */
  async billedNanoUsd(): Promise<number> {
    const response = await this.rig.emulator.fetch('http://console.test/v1/batches?limit=100')
    const { data } = z.object({ data: z.array(viewSchema) }).parse(await response.json())
    let sum = this.#directNanoUsd
    for (const { input_file_id, request_counts } of data) {
      const lines = this.#inputs.get(input_file_id) ?? []
      const reached = request_counts.completed + request_counts.failed
      // A block of lines is written last to first.
      for (const customId of lines.toReversed().slice(0, reached)) sum += this.#lines.get(customId) ?? 0
    }
    return sum
  }

  async #noteInput(body: string): Promise<void> {
    const { input_file_id: id } = z.object({ input_file_id: z.string() }).parse(JSON.parse(body))
    const response = await this.rig.emulator.fetch(`http://console.test/v1/files/${id}/content`)
    const lines = (await response.text()).split('\n').filter((line) => line !== '')
    const idOf = (line: string) => z.object({ custom_id: z.string() }).parse(JSON.parse(line)).custom_id
    if (response.status === 200) this.#inputs.set(id, lines.map(idOf))
  }

  #answer({ body, via, customId = '' }: EmulatedRequest): Answer {
    const index = Number(KEY.exec(JSON.stringify(body))?.[1] ?? 'NaN')
    const spec = this.#specs[index]
    if (!spec) throw new Error(`nobody asked this: ${JSON.stringify(body).slice(0, 100)}`)
    const tries = this.#tries.get(index) ?? 0
    this.#tries.set(index, tries + 1)
    if (tries < spec.failures) return httpAnswer(spec.status, { error: { message: 'Not now.', code: null } })
    const used = usedFor(spec, body, this.#server)
    if (via === 'direct') {
      this.#calls++
      this.#directNanoUsd += billNanoUsd(used, this.#server.direct)
    } else this.#lines.set(customId, billNanoUsd(used, this.#server.batch))
    const { input, cached: cachedInput, written: cacheWrite, output } = used
    return withUsage('fine', { input, cachedInput, cacheWrite, output })
  }
}

/** A task after one line of its ledger. */
export interface Moment extends Budget {
  readonly seq: number
  readonly kinds: readonly string[]
  readonly sumNanoUsd: number
}

const lineSchema = z.object({ seq: z.number(), steps: z.array(stepSchema) })

/** The task's money after every line of its ledger. */
export function moments(dir: string): { readonly moments: readonly Moment[]; readonly state: TaskState } {
  const requests = new RequestIndex()
  let state = initialState
  const moments = taskLines(dir, '_ledger.jsonl').map((raw) => {
    const { seq, steps } = lineSchema.parse(raw)
    for (const step of steps) state = applyStep(state, requests, step, 0)
    const budget = budgetOf(state)
    const sumNanoUsd = budget.spentNanoUsd + budget.uncertainNanoUsd + budget.reservedNanoUsd
    return { ...budget, seq, kinds: steps.map(({ kind }) => kind), sumNanoUsd }
  })
  return { moments, state }
}

/** May cost a hundred times what it does: 1,000 output tokens, at 1 USD per million by batch, are 1,000,000 nano-USD. */
export const cheap = (words: number): Spec => ({
  words,
  mostOutput: 1000,
  choices: 1,
  outputShare: 0.01,
  cachedShare: 0,
  writtenShare: 0,
  wrapping: 0,
  failures: 0,
  status: 500,
  again: false,
})
