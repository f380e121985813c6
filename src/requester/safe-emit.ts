import { errorText } from '../errors.ts'
import type { ProgressEvent } from '../progress/events.ts'
import { callGuarded } from '../progress/guarded-hook.ts'

type Emit = (event: ProgressEvent) => void

/**
 * Keeps the faults of whoever is told of progress away from the run: events are told where commits are made durable.
 * After the first fault, which is a warning of the process, it is told nothing more.
 */
export function safeEmit(emit: Emit): Emit {
  let hasFailed = false
  const onFailure = (error: unknown): void => {
    if (hasFailed) return
    hasFailed = true
    const message = `emit failed and gets no more events; the run goes on: ${errorText(error)}`
    process.emitWarning(message, 'NightshiftWarning')
  }
  return (event) => {
    if (!hasFailed) callGuarded(() => emit(event), onFailure)
  }
}
