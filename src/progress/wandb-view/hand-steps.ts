import type { ViewPlace } from './view-name.ts'
import { projectUrl, viewUrl } from './view-name.ts'
import type { ViewPlan } from './view-plan.ts'

export interface HandTarget {
  readonly appUrl: string
  /** Undefined while nobody knows it: it follows from a key. */
  readonly entity: string | undefined
  readonly project: string
  readonly displayName: string
}

const ENTITY = 'YOUR-ENTITY'

/** What a person does in the browser to get the same view, or nearly. One text for each step. */
export function stepsByHand(target: HandTarget, plan: ViewPlan): string[] {
  const open = openedOnce(target)
  const names = plan.sections.map(({ name }) => name).join(', ')
  return [
    ...open,
    `W&B has made a plot for each figure already, in sections by the first part of its name: ${names}. If it has not: open the settings of the workspace (the gear), "Workspace layout", and let panels be organized by their first prefix.`,
    'In the same settings, "Line plots": set the X axis to Wall Time and smoothing to none.',
    ...plotsByHand(plan),
    savedAs(target),
  ]
}

/** The same for the copy of a view. */
export const copyByHand = (target: HandTarget, from: ViewPlace): string[] => [
  `Open ${viewUrl(target.appUrl, from)} and look at its sections and panels.`,
  ...openedOnce(target),
  'Add the same sections and panels: "Add panels" at the top, or in the menu of a section.',
  savedAs(target),
]

const openedOnce = ({ appUrl, entity, project }: HandTarget): string[] => [
  `Run a task once with W&B on (WANDB_API_KEY set, or a netrc entry) and --wandb-project ${project}, so that the project exists and has figures.`,
  `Open ${entity === undefined ? `${appUrl}/${ENTITY}/${project}` : projectUrl(appUrl, entity, project)} and go to its workspace.`,
]

/** Sections whose joined plots are worth the clicks. */
const WORTHWHILE: readonly string[] = ['Requests', 'Cost']

function plotsByHand({ sections }: ViewPlan): string[] {
  const plots = sections
    .filter(({ name }) => WORTHWHILE.includes(name))
    .flatMap(({ panels }) => panels.filter(({ metrics }) => metrics.length > 1))
    .map(({ title, metrics }) => `${title}: ${metrics.join(', ')}.`)
  return [
    `For several figures in one plot: "Add panels", "Line plot", and choose them. These go well together. ${plots.join(' ')}`,
  ]
}

const savedAs = ({ displayName }: HandTarget): string =>
  `In the menu at the top right (the three dots) choose "Save as a new view", and call it ${displayName}.`
