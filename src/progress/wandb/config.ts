import { assertNever } from '../../util/exhaustive.ts'
import type { ResolvedOptions } from '../../util/options.ts'
import { publicValue } from '../../util/public-value.ts'
import { FAILED, finishedAs } from '../history-sender.ts'
import type { RunEnd } from './history-file.ts'

/**
 * The config of a run at W&B: every option by its name, as it counts, null where it was not given. Keys are no options,
 * and of what says where things are only the last part is told; what says where the run goes at W&B is not repeated.
 */
export const wandbConfig = (options: ResolvedOptions): Readonly<Record<string, unknown>> =>
  Object.fromEntries(
    Object.entries(options)
      .filter(([name]) => name !== 'taskDir' && !name.startsWith('wandb'))
      .map(([name, value]) => [name, publicValue(name, value) ?? null]),
  )

/**
 * What W&B is told of the end that a history has: 0 is shown as finished, others as failed. Undefined when it has none:
 * then W&B is told nothing, and shows the run as crashed some minutes later.
 */
export function exitCodeOf(end: RunEnd): number | undefined {
  switch (end.kind) {
    case 'finished':
      return finishedAs(end.outcome).exitCode
    case 'failed':
      return FAILED.exitCode
    case 'unknown':
      return undefined
    default:
      return assertNever(end)
  }
}
