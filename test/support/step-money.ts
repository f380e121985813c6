import type { QueueFile } from '../../src/batch/queue-file.ts'
import type { Step, StepOf } from '../../src/batch/steps.ts'
import type { TokenForecast } from '../../src/tokens/forecast.ts'

/** What each line of a walk is expected to cost, can cost, and is charged when its answer is lost: nano-USD. */
export const EXPECTED = 10
export const MOST = 40
export const LOST = 30

/** Direct sets that are sent under a hard cap. */
export const hasCap = ({ id }: Pick<QueueFile, 'id'>): boolean => id % 2 === 0

/** What so many lines are expected to take. */
export const linesTokens = (lines: number): TokenForecast => ({
  requests: lines,
  input: 25 * lines,
  output: 5 * lines,
  mostInput: 50 * lines,
  mostOutput: 10 * lines,
  longest: 50,
  unbounded: 0,
})

/** What a step says of answers beside their usage and cost. */
export const receipt = (n: number): Pick<StepOf<'received'>, 'listNanoUsd' | 'expected' | 'unmetered'> => ({
  listNanoUsd: 14,
  expected: { input: n, output: n, costNanoUsd: n },
  unmetered: n % 3,
})

/** What is reserved after some steps, added up step by step by whoever it is for. */
export class NaiveReserves {
  readonly #files = new Map<number, number>()
  readonly #tags = new Map<number, string>()
  readonly #doubted = new Set<number>()
  /** Of attempts whose batch may still turn up, by their tags. */
  readonly #atLarge = new Map<string, number | undefined>()
  readonly #strays = new Map<string, number>()
  /** The queue file that each pending request is in. */
  readonly #places = new Map<number, number>()

  get total(): number {
    return [...this.#files.values(), ...this.#strays.values()].reduce((sum, amount) => sum + amount, 0)
  }

  note(step: Step): void {
    switch (step.kind) {
      case 'add':
        for (let n = 0; n < step.keys.length; n++) this.#places.set(step.first + n, step.file)
        break
      case 'intent':
        this.#tags.set(step.file, step.tag)
        this.#files.delete(step.file)
        this.#add(step.file, step.reserved)
        break
      case 'doubt':
      case 'fenced':
        this.#doubted.add(step.file)
        break
      case 'abandoned':
        this.#giveUp(step.file)
        break
      case 'created':
        this.#created(step)
        break
      case 'dropped':
        this.#set(step.file, 0)
        break
      case 'wiped':
        for (const file of this.#files.keys()) this.#giveUp(file)
        break
      case 'stray':
        this.#seen(step)
        break
      case 'stray-received':
      case 'stray-settled':
        this.#strays.set(step.batchId, 0)
        break
      default:
        this.#noteCalls(step)
    }
  }

  #noteCalls(step: Step): void {
    switch (step.kind) {
      case 'reserve':
        this.#set(step.file, step.reserved)
        break
      case 'sent':
        this.#add(step.file, step.reserved)
        break
      case 'uncertain':
        this.#add(step.file, -(step.released ?? 0))
        break
      case 'received':
        if (step.requests) this.#add(step.file, -(step.released ?? 0))
        else this.#set(step.file, 0)
        break
      case 'requeue':
        this.#add(this.#places.get(step.requests[0] ?? 0) ?? 0, -(step.released ?? 0))
        for (const request of step.requests) this.#places.set(request, step.file)
        break
      default:
    }
  }

  #set(file: number, amount: number): void {
    this.#files.set(file, amount)
  }

  #add(file: number, amount: number | undefined): void {
    if (amount !== undefined) this.#set(file, (this.#files.get(file) ?? 0) + amount)
  }

  /** Nothing is reserved for an attempt that was given up, until a batch of it turns up. */
  #giveUp(file: number): void {
    if (this.#doubted.has(file)) this.#atLarge.set(this.#tags.get(file) ?? '', this.#files.get(file))
    this.#doubted.delete(file)
    this.#set(file, 0)
  }

  #created({ file, tag }: StepOf<'created'>): void {
    this.#doubted.delete(file)
    if (tag === undefined) return
    this.#set(file, this.#atLarge.get(tag) ?? this.#files.get(file) ?? 0)
    this.#atLarge.delete(tag)
    this.#tags.set(file, tag)
  }

  #seen({ batchId, tag, file }: StepOf<'stray'>): void {
    if (this.#strays.has(batchId)) return
    const attempt = this.#atLarge.has(tag) ? this.#atLarge.get(tag) : this.#files.get(file ?? 0)
    this.#strays.set(batchId, attempt ?? 0)
    this.#atLarge.delete(tag)
  }
}
