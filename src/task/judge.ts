import type { SampleStanding } from '../batch/request-table.ts'
import { retry, type Verdict } from '../batch/verdict.ts'
import { errorText, NightshiftError, TaskError } from '../errors.ts'
import type { RequestResult } from '../requester/request-result.ts'
import type { GPTRequester } from '../requester/requester.ts'
import type { AnswerSchemas } from './answer-schemas.ts'
import { CommitWindow } from './commit-window.ts'
import { type Reading, readResult } from './read-result.ts'
import type { TaskHooks } from './task-hooks.ts'

export interface JudgeOptions<Answer> {
  readonly hooks: Pick<TaskHooks<Answer>, 'processResponse' | 'processFailure'>
  readonly schemas: AnswerSchemas<Answer>
  readonly maxRetries: number
}

/** Shows results to the task's hooks, and has their verdicts written. */
export class Judge<Answer> {
  readonly #options: JudgeOptions<Answer>
  readonly #window = new CommitWindow()
  #judged = 0
  /** What a hook is looking at, by sample: of each at most one reply. */
  readonly #inHand = new Map<string, 'succeeded' | 'failed'>()
  #more = new Set<string>()

  constructor(options: JudgeOptions<Answer>) {
    this.#options = options
  }

  get judged(): number {
    return this.#judged
  }

  /** How many samples asked for more since `forgetMore`. */
  get samplesWithMore(): number {
    return this.#more.size
  }

  /** A pass over the generator begins, which gives the samples what they asked for. */
  forgetMore(): void {
    this.#more = new Set()
  }

  /** A sample's standing, where a reply that a hook has in hand counts as answered. */
  standing(sample: string, known: SampleStanding | undefined): SampleStanding | undefined {
    const answered = known && this.#inHand.get(sample)
    return answered ? { ...known, pending: known.pending - 1, [answered]: known[answered] + 1 } : known
  }

  /** Asks the hook, and follows the commit of its verdict without waiting for it. */
  async take(requester: GPTRequester, result: RequestResult): Promise<void> {
    const { schemas, maxRetries } = this.#options
    const reading = readResult(result, schemas.for(result), maxRetries)
    const verdict = await this.#verdictOn(result, reading)
    if (verdict.kind !== 'retry' && verdict.more) this.#more.add(result.sample)
    this.#judged++
    // What is accepted in place of an answer is for this task to decide, each time.
    const isReusable = reading.kind === 'response'
    await this.#window.follow(requester.judge(result, verdict, { isReusable }), () => requester.halt())
  }

  /** Waits until all verdicts are durable. Throws the first failure. */
  settled(): Promise<void> {
    return this.#window.settled()
  }

  async #verdictOn(result: RequestResult, reading: Reading<Answer>): Promise<Verdict> {
    const { hooks } = this.#options
    // It says nothing of the request, which was not tried.
    if (reading.kind === 'failure' && result.via === 'reused') return retry(reading.failure.message)
    const hook = reading.kind === 'response' ? 'processResponse' : 'processFailure'
    this.#inHand.set(result.sample, reading.kind === 'response' ? 'succeeded' : 'failed')
    try {
      const verdict: unknown =
        reading.kind === 'response'
          ? await hooks.processResponse(reading.response)
          : await hooks.processFailure(reading.failure)
      return checkedVerdict(verdict, hook)
    } catch (error) {
      throw verdictFailed(hook, result.key, error)
    } finally {
      this.#inHand.delete(result.sample)
    }
  }
}

const VERDICTS = ['accept', 'retry', 'reject']

function checkedVerdict(verdict: unknown, hook: string): Verdict {
  const isVerdict =
    typeof verdict === 'object' &&
    verdict !== null &&
    'kind' in verdict &&
    VERDICTS.includes(String(verdict.kind))
  if (isVerdict) return verdict as Verdict
  throw new TaskError(
    'no_verdict',
    `${hook} must return accept(...), retry(...) or reject(...), and returned ${JSON.stringify(verdict) ?? String(verdict)}`,
  )
}

function verdictFailed(hook: string, key: string, cause: unknown): TaskError {
  const code = NightshiftError.is(cause) ? cause.code : 'hook_failed'
  const message = `${hook} failed for key ${JSON.stringify(key)}: ${errorText(cause)}. Verdicts before it are kept; the next run delivers this reply again.`
  return new TaskError(code, message, { cause })
}
