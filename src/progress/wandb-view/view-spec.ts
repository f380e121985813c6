import { createHash } from 'node:crypto'
import type { PanelPlan, SectionPlan, ViewPlan } from './view-plan.ts'

/** JSON as W&B keeps it for a view. What it may hold is W&B's own affair, and more than we write or know. */
export type Json = string | number | boolean | null | readonly Json[] | JsonObject
export type JsonObject = { readonly [name: string]: Json }

/** Columns of the table of runs, beside the run's name. */
const COLUMNS = [
  'run:state',
  'summary:Requests/succeeded',
  'summary:Requests/pending',
  'summary:Cost/spent_usd',
]

const PANEL_COLUMNS = 3
const PANEL_WIDTH = 8
const PANEL_HEIGHT = 6

/**
 * The view as W&B stores it. The same plan gives the same JSON each time, ids included, so that a view that is set up
 * again stays the same view.
 */
export function viewSpec({ sections, texts }: ViewPlan): JsonObject {
  return {
    section: {
      name: '',
      openRunSet: 0,
      openViz: true,
      customRunColors: {},
      runSets: [runSet(texts)],
      settings: { ...plotSettings('_timestamp'), maxRuns: 10, shouldAutoGeneratePanels: false },
      panelBankConfig: {
        state: 1,
        settings: { autoOrganizePrefix: 1, showEmptySections: false, sortAlphabetically: false },
        sections: sections.map(panelSection),
      },
      panelBankSectionConfig: {
        name: 'Report Panels',
        isOpen: false,
        pinned: false,
        panels: [],
        type: 'grid',
        sorted: 0,
        flowConfig: FLOW,
        localPanelSettings: plotSettings('_step'),
      },
    },
    vizExpanded: false,
    libraryExpanded: true,
  }
}

/** How many panels a view has, whoever made it. */
export const panelCount = (spec: JsonObject): number =>
  sectionsOf(spec).reduce((sum, section) => sum + listAt(section, 'panels').length, 0)

/** The sections of a view, from the top; none where the JSON is not as expected. */
export const sectionsOf = (spec: JsonObject): readonly JsonObject[] =>
  listAt(objectAt(objectAt(spec, 'section'), 'panelBankConfig'), 'sections').filter(isObject)

export const isObject = (value: unknown): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

export function objectAt(value: JsonObject, name: string): JsonObject {
  const found = value[name]
  return isObject(found) ? found : {}
}

export function listAt(value: JsonObject, name: string): readonly Json[] {
  const found = value[name]
  return isList(found) ? found : []
}

/** `Array.isArray` does not see that a readonly list is one. */
export const isList = (value: Json | undefined): value is readonly Json[] => Array.isArray(value)

const FLOW: JsonObject = {
  snapToColumns: true,
  columnsPerPage: PANEL_COLUMNS,
  rowsPerPage: 2,
  gutterWidth: 16,
  boxWidth: 460,
  boxHeight: 300,
}

/** Figures are exact: nothing is smoothed, and what stands out is the very thing to see. */
const plotSettings = (xAxis: string): JsonObject => ({
  smoothingWeight: 0,
  smoothingType: 'none',
  smoothingActive: false,
  xAxis,
  xAxisActive: xAxis !== '_step',
  ignoreOutliers: false,
  useRunsTableGroupingInPanels: true,
  pointVisualizationMethod: 'bucketing-gorilla',
})

function panelSection({ name, isOpen, panels }: SectionPlan): JsonObject {
  const axes = new Set(panels.map(({ xAxis }) => xAxis))
  const [xAxis = '_step'] = axes
  return {
    name,
    isOpen,
    type: 'flow',
    sorted: 0,
    flowConfig: { ...FLOW, rowsPerPage: Math.max(1, Math.ceil(panels.length / PANEL_COLUMNS)) },
    localPanelSettings: plotSettings(xAxis),
    panels: panels.map((panel, index) => linePlot(name, panel, index)),
  }
}

const AXIS_TITLES = { _timestamp: 'Time', _step: 'Step' } as const

function linePlot(
  section: string,
  { title, metrics, regex, unit, xAxis }: PanelPlan,
  index: number,
): JsonObject {
  return {
    __id__: stableId(`panel ${section}/${title} ${metrics.join(' ')}`),
    viewType: 'Run History Line Plot',
    isAuto: false,
    layout: {
      x: (index % PANEL_COLUMNS) * PANEL_WIDTH,
      y: Math.floor(index / PANEL_COLUMNS) * PANEL_HEIGHT,
      w: PANEL_WIDTH,
      h: PANEL_HEIGHT,
    },
    config: {
      chartTitle: title,
      metrics: [...metrics],
      ...(regex !== undefined && { metricRegex: regex, useMetricRegex: true }),
      xAxis,
      xAxisTitle: AXIS_TITLES[xAxis],
      ...(unit !== '' && { yAxisTitle: unit }),
      // Rows have only what changed, so that metrics of one plot have points at different times: lines, not areas.
      plotType: 'line',
      smoothingType: 'none',
      smoothingWeight: 0,
      ignoreOutliers: false,
    },
  }
}

function runSet(texts: readonly string[]): JsonObject {
  const columns = ['run:displayName', ...COLUMNS, ...texts.map((name) => `summary:${name}`)]
  const pinned = Object.fromEntries(columns.slice(0, 1 + COLUMNS.length).map((name) => [name, true]))
  return {
    id: stableId('runs'),
    name: 'Run set',
    enabled: true,
    runFeed: {
      version: 2,
      columnVisible: Object.fromEntries(columns.map((name) => [name, true])),
      columnPinned: pinned,
      columnWidths: {},
      columnOrder: columns,
      pageSize: 10,
      onlyShowSelected: false,
    },
    search: { query: '' },
    filters: { op: 'OR', filters: [{ op: 'AND', filters: [] }] },
    grouping: [],
    sort: { keys: [{ key: { section: 'run', name: 'createdAt' }, ascending: false }] },
    selections: NO_SELECTIONS,
    expandedRowAddresses: [],
  }
}

/** Every run is shown. */
export const NO_SELECTIONS: JsonObject = { root: 1, bounds: [], tree: [] }

const ID_LENGTH = 11

/** An id of the form that W&B gives to views, run sets and panels: 11 lower-case letters and digits. */
export const stableId = (text: string): string =>
  BigInt(`0x${createHash('sha256').update(text).digest('hex')}`)
    .toString(36)
    .slice(0, ID_LENGTH)
