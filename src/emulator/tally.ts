import type { Totals } from './records.ts'
import type { Usage } from './reply.ts'

export const NO_TOTALS: Totals = {
  succeeded: 0,
  failed: 0,
  outputBytes: 0,
  errorBytes: 0,
  input: 0,
  cached: 0,
  output: 0,
  reasoning: 0,
}

const FIELDS = 8

export interface TallyEntry {
  /** Whether the request is counted as completed. */
  readonly succeeded: boolean
  /** What it adds to the two files, line ends included. */
  readonly outputBytes: number
  readonly errorBytes: number
  readonly usage: Usage
}

/** Running totals after each answered line, so that a batch can be cut after any of them. */
export class Tally {
  readonly #sums: Float64Array
  #count = 0

  constructor(lines: number) {
    this.#sums = new Float64Array((lines + 1) * FIELDS)
  }

  /** Lines counted. */
  get count(): number {
    return this.#count
  }

  add(entry: TallyEntry): void {
    const before = this.at(this.#count)
    const { usage } = entry
    this.#count += 1
    this.#set({
      succeeded: before.succeeded + (entry.succeeded ? 1 : 0),
      failed: before.failed + (entry.succeeded ? 0 : 1),
      outputBytes: before.outputBytes + entry.outputBytes,
      errorBytes: before.errorBytes + entry.errorBytes,
      input: before.input + usage.input,
      cached: before.cached + usage.cached,
      output: before.output + usage.output,
      reasoning: before.reasoning + usage.reasoning,
    })
  }

  /** Bytes that belong to the line counted last. */
  addBytes({ outputBytes, errorBytes }: Pick<TallyEntry, 'outputBytes' | 'errorBytes'>): void {
    const last = this.at(this.#count)
    this.#set({
      ...last,
      outputBytes: last.outputBytes + outputBytes,
      errorBytes: last.errorBytes + errorBytes,
    })
  }

  /** What the first `count` lines come to. */
  at(count: number): Totals {
    const start = Math.min(count, this.#count) * FIELDS
    const [succeeded = 0, failed = 0, outputBytes = 0, errorBytes = 0, ...usage] = this.#sums.subarray(
      start,
      start + FIELDS,
    )
    const [input = 0, cached = 0, output = 0, reasoning = 0] = usage
    return { succeeded, failed, outputBytes, errorBytes, input, cached, output, reasoning }
  }

  #set({ succeeded, failed, outputBytes, errorBytes, input, cached, output, reasoning }: Totals): void {
    this.#sums.set(
      [succeeded, failed, outputBytes, errorBytes, input, cached, output, reasoning],
      this.#count * FIELDS,
    )
  }
}
