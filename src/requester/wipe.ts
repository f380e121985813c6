import type { StepOf } from '../batch/steps.ts'
import { UsageError } from '../errors.ts'
import type { Draft } from './draft.ts'
import { FAILED_FILE, filesOf } from './files.ts'
import { paramsFrom } from './opening.ts'
import type { TaskStore } from './store.ts'

/**
 * The end of a wipe, as one commit: forgets what its scope says, and the files that go with it. Everything that was
 * remote has been cancelled and collected before. What was spent stays counted.
 */
export async function commitWiped(
  store: TaskStore,
  createParams: () => unknown | Promise<unknown>,
): Promise<StepOf<'wiped'>> {
  const { wipe: scope, counters, thrownAway } = store.durable.state
  if (!scope) throw new UsageError('no_wipe', 'there is no wipe to finish')
  const params = scope === 'task' ? await paramsFrom(createParams) : undefined
  const step: StepOf<'wiped'> = {
    kind: 'wiped',
    scope,
    pending: counters.pending,
    failed: scope === 'requests' ? 0 : counters.failed,
    thrownAway: scope === 'task' ? counters.succeeded + thrownAway : 0,
  }
  await store.commit((draft) => {
    const files = [...draft.state.files.keys()]
    draft.apply(step)
    if (scope === 'task') draft.apply({ kind: 'params', params })
    for (const file of files) forgetAll(draft, filesOf(file))
    if (scope !== 'requests' && draft.length(FAILED_FILE) > 0) draft.truncate(FAILED_FILE, 0)
    if (scope === 'task')
      forgetAll(
        draft,
        store.sideFiles.filter((suffix) => suffix.startsWith('_output')),
      )
  })
  return step
}

function forgetAll(draft: Draft, suffixes: readonly string[]): void {
  for (const suffix of suffixes) draft.forget(suffix)
}
