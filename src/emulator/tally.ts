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
  readonly ok: boolean
  /** Of the line in its file, with its line end. */
  readonly bytes: number
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

  add({ ok, bytes, usage }: TallyEntry): void {
    const { succeeded, failed, outputBytes, errorBytes, input, cached, output, reasoning } = this.at(
      this.#count,
    )
    this.#count += 1
    this.#sums.set(
      [
        succeeded + (ok ? 1 : 0),
        failed + (ok ? 0 : 1),
        outputBytes + (ok ? bytes : 0),
        errorBytes + (ok ? 0 : bytes),
        input + usage.input,
        cached + usage.cached,
        output + usage.output,
        reasoning + usage.reasoning,
      ],
      this.#count * FIELDS,
    )
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
}
