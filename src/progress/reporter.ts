import type { ProgressEvent } from './events.ts'

/** A sink for progress. Every hook is optional; a throwing or slow reporter never harms the run. */
export interface Reporter {
  /** Called synchronously for each fact; must return at once. */
  onEvent?(event: ProgressEvent): void
  /** Called once at the end; waited for at most a few seconds. */
  close?(): Promise<void>
}
