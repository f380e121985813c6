import { asObject, parseJson } from './json.ts'
import { linesOf } from './lines.ts'
import { type Counted, counted, type Placed, type Surroundings } from './occurrences.ts'
import type { BatchFault } from './scenario-batch.ts'

/** Says which faults happen to a new batch. They are decided when it is created, and kept with it. */
export class BatchFaultBook {
  readonly #surroundings: Surroundings
  readonly #books: readonly Counted<BatchFault>[]

  constructor(faults: readonly Placed<BatchFault>[], surroundings: Surroundings) {
    this.#surroundings = surroundings
    this.#books = counted(faults, surroundings)
  }

  /** `input`: the content of the batch's input file. It is read only as far as a fault asks for it. */
  async created(input: () => AsyncIterable<Uint8Array>): Promise<readonly BatchFault[]> {
    if (this.#books.length === 0) return []
    const found = await search(
      input(),
      this.#books.map(({ fault }) => fault),
    )
    const now = this.#surroundings.clock.now()
    return this.#books.flatMap(({ fault, occurrences }) => {
      const line = found.get(fault)
      return line !== undefined && occurrences.next({ now }) ? [withLine(fault, line)] : []
    })
  }
}

/** Where a fault was found that is not about a text. */
const NOWHERE = 0

/** Those of the faults whose `model` and `contains` fit the input, with the first line that has the text. */
async function search(
  input: AsyncIterable<Uint8Array>,
  faults: readonly BatchFault[],
): Promise<ReadonlyMap<BatchFault, number>> {
  const found = new Map<BatchFault, number>()
  for (const fault of faults) if (fault.contains === undefined) found.set(fault, NOWHERE)
  if (faults.every(({ contains, model }) => contains === undefined && model === undefined)) return found
  let model: unknown
  let before = 0
  for await (const lines of linesOf(input)) {
    model ??= asObject(asObject(parseJson(lines.find((line) => line.trim() !== '') ?? '')).body).model
    for (const fault of faults) {
      const { contains } = fault
      if (contains === undefined || found.has(fault)) continue
      const at = lines.findIndex((line) => line.includes(contains))
      if (at >= 0) found.set(fault, before + at + 1)
    }
    before += lines.length
    if (model !== undefined && found.size === faults.length) break
  }
  return new Map([...found].filter(([fault]) => fault.model === undefined || fault.model === model))
}

function withLine(fault: BatchFault, found: number): BatchFault {
  if (fault.fault !== 'batch-end' || !fault.errors) return fault
  const line = found === NOWHERE ? null : found
  const errors = fault.errors.map((error) => (error.line === 'found' ? { ...error, line } : error))
  return { ...fault, errors }
}
