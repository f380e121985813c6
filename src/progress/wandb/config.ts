import type { ResolvedOptions } from '../../util/options.ts'

/**
 * The config of a run at W&B: every option by its name, as it counts, null where it was not given. Keys are no options;
 * what says where the run goes at W&B is not repeated.
 */
export const wandbConfig = (options: ResolvedOptions): Readonly<Record<string, unknown>> =>
  Object.fromEntries(
    Object.entries(options)
      .filter(([name]) => !name.startsWith('wandb'))
      .map(([name, value]) => [name, value ?? null]),
  )

const COMPLETE: ReadonlySet<string> = new Set(['complete', 'no-run', 'dry-run', 'quote'])

/** The exit code of a run, from the outcome in its history: what W&B is told. 0 is shown as finished, others as failed. */
export function exitCodeOf(outcome: string): number {
  if (COMPLETE.has(outcome)) return 0
  return outcome === 'interrupted' ? 130 : 3
}

/** As `exitCodeOf`, for a run that threw. */
export const FAILED = 1
