import { usageSoFar } from '../requester/context.ts'
import { FAILED_FILE } from '../requester/files.ts'
import type { GPTRequester, RunOutcome } from '../requester/requester.ts'
import type { ResolvedOptions } from '../util/options.ts'
import type { TaskOutput } from './output.ts'
import type { PilotEnd } from './pilot.ts'
import { PROJECTED } from './project-output.ts'
import type { RunSummary } from './task-types.ts'

export interface RunTally {
  readonly added: number
  readonly judged: number
  readonly elapsedMs: number
  readonly pilot: PilotEnd | undefined
}

const NANO = 1e9

/** Where the task stands after a run. */
export function summarise(
  requester: GPTRequester,
  output: TaskOutput,
  options: ResolvedOptions,
  { pilot, ...tally }: RunTally,
): RunSummary {
  const { state } = requester
  const { spending, counters } = state
  const outcome = requester.outcome
  const kind = !options.run ? 'no-run' : endOf(outcome.kind, pilot)
  return {
    name: options.name,
    complete: kind === 'complete',
    outcome: kind,
    details: outcome.details,
    ...(pilot?.report && { pilot: pilot.report }),
    ...counters,
    ...tally,
    usage: usageSoFar(state),
    cost: spending.costNanoUsd / NANO,
    receipt: requester.receipt,
    batches: state.tally.batches,
    directSets: state.tally.directSets,
    retries: state.tally.retries,
    output: outputFiles(requester, output, state.output.part),
    failedFile: requester.fileLength(FAILED_FILE) > 0 ? requester.path(FAILED_FILE) : undefined,
  }
}

/** After a pilot nothing is pending, and yet the task is not complete. */
const endOf = (kind: RunOutcome, pilot: PilotEnd | undefined): RunSummary['outcome'] =>
  pilot?.report && !pilot.goesOn && kind === 'complete' ? 'pilot' : kind

function outputFiles(requester: GPTRequester, output: TaskOutput, parts: number): string[] {
  if (requester.fileLength(output.suffix(1)) === 0) return []
  if (output.project) return [requester.path(PROJECTED)]
  return Array.from({ length: parts }, (_, index) => requester.path(output.suffix(index + 1)))
}
