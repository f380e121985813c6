import type { TaskStatus } from '../../requester/status.ts'
import { amount } from '../../util/amount.ts'
import { formatCount } from '../../util/format.ts'
import type { RunRecord } from './run-history.ts'

/** How a task stands, in one word and in one sentence or two. */
export interface Outcome {
  /**
   * `stopped`: it ended before all was done, and can be gone on with. `crashed`: its last run ended without saying so.
   * `waiting`: there is something left to do, and nothing more is known. `empty`: it has no requests.
   */
  readonly kind: 'running' | 'complete' | 'stopped' | 'failed' | 'crashed' | 'waiting' | 'empty'
  readonly text: string
}

/** Decides what to call the standing of a task. `lastRun`: as its history tells it, if it has one. */
export function outcomeOf(status: TaskStatus, lastRun: RunRecord | undefined): Outcome {
  const { holder, requests } = status
  const standing = standingText(status)
  if (holder?.state === 'running') return { kind: 'running', text: `A run is at work. ${standing}` }
  if (holder?.state === 'unknown')
    return {
      kind: 'running',
      text: `A process on another machine holds the task; whether it still runs cannot be seen from here. ${standing}`,
    }
  if (lastRun?.end?.kind === 'failed')
    return { kind: 'failed', text: `The last run failed: ${ended(lastRun.end.text)} ${standing}` }
  if (lastRun ? !lastRun.end : holder?.state === 'gone')
    return {
      kind: 'crashed',
      text: `The last run ended without saying so, as after a kill or a power cut. Running the task again goes on from here. ${standing}`,
    }
  if (requests.total === 0) return { kind: 'empty', text: 'The task has no requests yet.' }
  const why = STOPS[lastRun?.end?.text ?? '']
  if (why !== undefined)
    return { kind: 'stopped', text: `The last run stopped before the end: ${why}. ${standing}` }
  return requests.pending === 0
    ? { kind: 'complete', text: standing }
    : { kind: 'waiting', text: `No run is at work. ${standing}` }
}

/** Outcomes of a run that leave something to do. */
const STOPS: Readonly<Record<string, string>> = {
  limits: 'a limit was reached',
  'failed-batches': 'a batch failed as a whole',
  'pass-ratio': 'too many answers could not be used',
  waited: 'it waited as long as it was to wait',
  deadline: 'its deadline came',
  'only-process': 'it was to collect answers only',
  interrupted: 'it was interrupted',
  pilot: 'it was a pilot only',
}

const ended = (text: string): string => (/[.!?]$/.test(text) ? text : `${text}.`)

function standingText({ requests: { total, succeeded, failed, pending } }: TaskStatus): string {
  if (total === 0) return 'There are no requests yet.'
  const done = [
    `${amount(succeeded, 'request')} succeeded`,
    ...(failed > 0 ? [`${formatCount(failed)} failed`] : []),
  ]
  const left = pending > 0 ? `, ${formatCount(pending)} still to be done` : ''
  return `${done.join(', ')}${left}.`
}
