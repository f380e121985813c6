import type { WireBatchError } from '../openai/wire.ts'
import type { JsonObject } from './json.ts'
import type { EmulatorLatency } from './options.ts'
import type { BatchRecord } from './records.ts'
import type { BatchFault } from './scenario-batch.ts'

type FaultOf<Name extends BatchFault['fault']> = Extract<BatchFault, { fault: Name }>

const faultsOf = <Name extends BatchFault['fault']>(
  { faults = [] }: Pick<BatchRecord, 'faults'>,
  name: Name,
): readonly FaultOf<Name>[] => faults.filter((fault): fault is FaultOf<Name> => fault.fault === name)

/** The durations of a batch, with the time that it is stuck. */
export function latencyOf(batch: BatchRecord, latency: Required<EmulatorLatency>): Required<EmulatorLatency> {
  const stuckMs = (state: FaultOf<'batch-stuck'>['in']): number =>
    faultsOf(batch, 'batch-stuck').reduce((sum, { in: where, ms }) => sum + (where === state ? ms : 0), 0)
  return {
    ...latency,
    validateMs: latency.validateMs + stuckMs('validating'),
    runMs: latency.runMs + stuckMs('in_progress'),
    finalizeMs: latency.finalizeMs + stuckMs('finalizing'),
    cancelMs: latency.cancelMs + stuckMs('cancelling'),
  }
}

export interface PlannedEnd extends Pick<FaultOf<'batch-end'>, 'as' | 'answered'> {
  readonly errors: readonly WireBatchError[] | null
}

/** How the scenario ends a batch, if it does. */
export function plannedEnd(batch: BatchRecord): PlannedEnd | undefined {
  const [fault] = faultsOf(batch, 'batch-end')
  if (!fault) return undefined
  const lineOf = (line: number | 'found' | null) => (line === 'found' ? null : line)
  const errors = fault.errors?.map((error) => ({ ...error, line: lineOf(error.line) })) ?? null
  return { as: fault.as, answered: fault.answered, errors }
}

const concerns = ({ file }: { readonly file: 'output' | 'error' | 'both' }, kind: 'output' | 'error') =>
  file === 'both' || file === kind

/** Whether the scenario leaves a file of a batch without a byte. */
export const isEmptied = (batch: BatchRecord, kind: 'output' | 'error'): boolean =>
  faultsOf(batch, 'batch-file-empty').some((fault) => concerns(fault, kind))

/** What callers are shown of batches, and how often they were shown it. */
export class ShownBatches {
  readonly #looks = new Map<string, number>()

  /** A look at a batch. `view`: how it would be shown without faults. */
  shown(batch: BatchRecord, view: JsonObject, isOver: boolean): JsonObject {
    return (batch.faults ?? []).reduce((shown, fault, index) => {
      const only = 'looks' in fault ? fault.looks : undefined
      const waits = fault.fault === 'batch-file-id' && !isOver
      if (waits || (only !== undefined && this.#look(`${batch.id} ${index}`) > only)) return shown
      return changedView(fault, shown)
    }, view)
  }

  #look(key: string): number {
    const looks = (this.#looks.get(key) ?? 0) + 1
    this.#looks.set(key, looks)
    return looks
  }
}

function changedView(fault: BatchFault, view: JsonObject): JsonObject {
  if (fault.fault === 'batch-status') return { ...view, status: fault.says }
  if (fault.fault === 'batch-file-id') return withFileIds(fault, view)
  if (fault.fault === 'batch-counts') return withCounts(fault, view)
  return fault.fault === 'batch-usage' ? withUsage(fault, view) : view
}

function withFileIds(fault: FaultOf<'batch-file-id'>, view: JsonObject): JsonObject {
  const id = fault.is === 'null' ? null : ''
  return {
    ...view,
    ...(concerns(fault, 'output') && { output_file_id: id }),
    ...(concerns(fault, 'error') && { error_file_id: id }),
  }
}

function withCounts({ are }: FaultOf<'batch-counts'>, view: JsonObject): JsonObject {
  const { request_counts: counts, ...rest } = view
  return are === 'missing' ? rest : { ...rest, request_counts: { ...Object(counts), ...are } }
}

function withUsage({ is }: FaultOf<'batch-usage'>, view: JsonObject): JsonObject {
  const { usage, ...rest } = view
  return is === 'missing' || usage === undefined ? rest : { ...rest, usage: null }
}
