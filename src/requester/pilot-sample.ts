import type { Step, StepOf } from '../batch/steps.ts'
import type { FileSystem } from '../state/file-system.ts'
import type { TokenUsage } from '../tokens/usage.ts'
import { stepsIn } from './ledger-steps.ts'
import { ledgerPath, readTask } from './read-only-view.ts'

/** One reply to a direct call; what several that were received together used is divided among them. */
export interface SampledReply {
  readonly usage: TokenUsage
  readonly costNanoUsd: number
}

/** A request with a final verdict that was sent directly. */
export interface SampledRequest {
  readonly model: string
  /** Prompt tokens, as estimated when it was sent last. */
  readonly expectedInput: number
  /** Of all its attempts. */
  readonly replies: readonly SampledReply[]
}

export type PilotSample = readonly SampledRequest[]

/** Reads from a task's ledger what its direct calls used, so that a pilot may be spread over several runs. */
export async function readPilotSample(fs: FileSystem, directory: string, name: string): Promise<PilotSample> {
  const calls = new Calls()
  const path = ledgerPath(directory, name)
  const { requests } = await readTask(fs, directory, name, (line) => {
    for (const step of stepsIn(line, path)) calls.note(step)
  })
  return calls.sample((request) => {
    const { state } = requests.get(request)
    return state === 'succeeded' || state === 'failed'
  })
}

interface Call {
  model: string
  expectedInput: number
  readonly replies: SampledReply[]
}

class Calls {
  readonly #models = new Map<number, string>()
  readonly #calls = new Map<number, Call>()

  note(step: Step): void {
    if (step.kind === 'open') this.#models.set(step.file, step.model)
    else if (step.kind === 'sent') this.#noteSent(step)
    else if (step.kind === 'received') this.#noteReceived(step)
  }

  sample(isJudged: (request: number) => boolean): PilotSample {
    return [...this.#calls].filter(([request]) => isJudged(request)).map(([, call]) => call)
  }

  #noteSent({ file, requests, tokens }: StepOf<'sent'>): void {
    const model = this.#models.get(file) ?? ''
    const expectedInput = (tokens?.input ?? 0) / requests.length
    for (const request of requests) {
      const replies = this.#calls.get(request)?.replies ?? []
      this.#calls.set(request, { model, expectedInput, replies })
    }
  }

  #noteReceived({ requests = [], usage, costNanoUsd = 0 }: StepOf<'received'>): void {
    const each = divided(usage, requests.length)
    for (const request of requests)
      this.#calls.get(request)?.replies.push({ usage: each, costNanoUsd: costNanoUsd / requests.length })
  }
}

const divided = (usage: TokenUsage, by: number): TokenUsage => ({
  input: usage.input / by,
  cachedInput: usage.cachedInput / by,
  cacheWrite: usage.cacheWrite / by,
  output: usage.output / by,
  reasoning: usage.reasoning / by,
})
