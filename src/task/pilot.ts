import { UsageError } from '../errors.ts'
import type { PilotReport } from '../requester/pilot-report.ts'
import type { GPTRequester } from '../requester/requester.ts'
import type { AnyRequests } from '../requester/survey.ts'

export interface PilotOptions {
  readonly requester: GPTRequester
  /** How many requests the pilot has. */
  readonly size: number
  readonly generate: () => AnyRequests
  /** Handles results until there are none left. */
  readonly process: () => Promise<void>
  readonly isStopping: () => boolean
  /** Whether the rest is to be sent, too. */
  readonly confirm: (report: PilotReport) => Promise<boolean>
}

export interface PilotEnd {
  /** Undefined when the pilot itself could not be completed. */
  readonly report: PilotReport | undefined
  /** The rest is to be sent. */
  readonly goesOn: boolean
}

const UNFINISHED: PilotEnd = { report: undefined, goesOn: false }

/**
 * Sends some requests of a task, directly and spread over it, and nothing else; then asks whether to go on. Requests
 * that were judged before, or are pending, count as part of the pilot. Throws UsageError `pilot_late`.
 */
export async function runPilot(options: PilotOptions): Promise<PilotEnd> {
  const { requester, size, generate, process, isStopping, confirm } = options
  mustBeEarly(requester, size)
  const survey = await requester.survey(generate(), Math.max(0, size - requester.state.counters.requests))
  if (!survey) return UNFINISHED
  requester.sendDirectly(true)
  if (survey.picked.length > 0) await requester.direct(survey.picked)
  await process()
  if (requester.state.counters.pending > 0 || isStopping()) return UNFINISHED
  requester.sendDirectly(false)
  const report = await requester.pilotReport(survey.rest)
  // With nothing left there is nothing to ask.
  const goesOn = report.rest.requests === 0 || (await confirm(report))
  return { report, goesOn: goesOn && !isStopping() }
}

/** What is under way already cannot be held back until the pilot is over. */
function mustBeEarly(requester: GPTRequester, size: number): void {
  const { counters, files } = requester.state
  const batched = [...files.values()].filter(({ phase, live }) => !BEFORE_BATCHES.has(phase) && live > 0)
  if (counters.pending <= size && batched.length === 0) return
  const what =
    batched.length > 0
      ? `${batched.length} of its batches are under way`
      : `${counters.pending} of its requests are waiting`
  throw new UsageError(
    'pilot_late',
    `--pilot ${size} is for a task that has hardly begun, and ${what}; run it without --pilot`,
  )
}

/** Phases of requests that are in no batch. */
const BEFORE_BATCHES: ReadonlySet<string> = new Set(['open', 'direct', 'filling', 'reused'])
