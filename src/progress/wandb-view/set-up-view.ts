import { NightshiftError } from '../../errors.ts'
import { parsedJson } from '../../util/parsed-json.ts'
import { specForOtherProject } from './copy-spec.ts'
import type { ViewApi } from './view-api.ts'
import { ownViewName, type ViewPlace } from './view-name.ts'
import { isObject, type JsonObject, panelCount, sectionsOf } from './view-spec.ts'

/** Where the view goes, and what people will see as its name. */
export interface ViewTarget {
  readonly entity: string
  readonly project: string
  readonly displayName: string
}

/** What was done. */
export interface SavedView extends ViewPlace {
  readonly displayName: string
  /** False: a view that stood there under that name was changed. */
  readonly isNew: boolean
  readonly sections: number
  readonly panels: number
}

/**
 * Saves a view in a project, in place of the one that an earlier call saved there under that name. Throws
 * NightshiftError `wandb_no_project`, `wandb_no_runs`, and what ViewApi throws. Nothing is saved then.
 */
export async function setUpView(api: ViewApi, target: ViewTarget, spec: JsonObject): Promise<SavedView> {
  const { entity, project, displayName } = target
  await mustHaveRuns(api, target)
  const viewName = ownViewName(entity, project, displayName)
  const before = await api.view({ entity, project, viewName })
  const saved = await api.save({ id: before?.id, entity, project, viewName, displayName, spec })
  return {
    entity,
    project,
    displayName,
    viewName: saved,
    isNew: before === undefined,
    sections: sectionsOf(spec).length,
    panels: panelCount(spec),
  }
}

/** A view of another project, fit for any. Throws NightshiftError `wandb_no_view`, and what ViewApi throws. */
export async function copiedSpec(api: ViewApi, from: ViewPlace): Promise<JsonObject> {
  const view = await api.view(from)
  const where = `${from.entity}/${from.project}`
  if (!view)
    throw new NightshiftError(
      'wandb_no_view',
      `there is no view ${from.viewName} in ${where}, or the API key may not see it; take what follows "nw=" in its address`,
    )
  const spec = parsedSpec(view.spec)
  if (spec) return specForOtherProject(spec)
  throw new NightshiftError(
    'wandb_changed',
    `view ${from.viewName} of ${where} is stored in a form that this release does not know, so that it cannot be copied`,
  )
}

async function mustHaveRuns(api: ViewApi, { entity, project }: ViewTarget): Promise<void> {
  const count = await api.runCount(entity, project)
  const where = `${entity}/${project}`
  if (count === undefined)
    throw new NightshiftError(
      'wandb_no_project',
      `there is no project ${where} at W&B, or the API key may not see it; run a task with W&B on first, or name another by --entity and --project`,
    )
  if (count === 0)
    throw new NightshiftError(
      'wandb_no_runs',
      `project ${where} has no runs yet, and W&B shows no view without one; run a task with W&B on first`,
    )
}

function parsedSpec(text: string): JsonObject | undefined {
  const spec = parsedJson(text)
  return isObject(spec) && isObject(spec.section) && sectionsOf(spec).length > 0 ? spec : undefined
}
