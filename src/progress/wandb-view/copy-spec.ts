import {
  isList,
  isObject,
  type Json,
  type JsonObject,
  listAt,
  NO_SELECTIONS,
  objectAt,
  sectionsOf,
} from './view-spec.ts'

/**
 * A view for another project: without names and colours of single runs, without the selection of runs and filters by
 * run id, without the tie to the source project, and without what panels override for single runs. Everything else,
 * known to us or not, is kept as it is.
 */
export function specForOtherProject(spec: JsonObject): JsonObject {
  const section = objectAt(spec, 'section')
  const bank = objectAt(section, 'panelBankConfig')
  const loose = section.panelBankSectionConfig
  return {
    ...without(spec, 'ref'),
    section: {
      ...without(section, 'ref', 'customRunNames'),
      customRunColors: {},
      runSets: listAt(section, 'runSets').filter(isObject).map(runSetForOtherProject),
      panelBankConfig: { ...without(bank, 'ref'), sections: sectionsOf(spec).map(sectionForOtherProject) },
      ...(isObject(loose) && { panelBankSectionConfig: sectionForOtherProject(loose) }),
    },
  }
}

/** `ref`s point into the page that saved the view. */
function without(value: JsonObject, ...names: readonly string[]): JsonObject {
  return Object.fromEntries(Object.entries(value).filter(([name]) => !names.includes(name)))
}

function runSetForOtherProject(runSet: JsonObject): JsonObject {
  const { filters, ...kept } = without(runSet, 'ref', 'project')
  return {
    ...kept,
    ...(filters !== undefined && { filters: withoutRunIds(filters) }),
    selections: NO_SELECTIONS,
    expandedRowAddresses: [],
  }
}

/** W&B has two forms of filters, a tree of conditions and a flat list with connectors; both keep them in `filters`. */
function withoutRunIds(filter: Json): Json {
  if (!isObject(filter)) return filter
  const { filters } = filter
  if (!isList(filters)) return filter
  const [first, ...others] = filters.filter((one) => !isRunId(one)).map(withoutRunIds)
  if (first === undefined) return { ...filter, filters: [] }
  const wasFirst = !isRunId(filters[0])
  return {
    ...filter,
    filters: [wasFirst || !isObject(first) ? first : without(first, 'connector'), ...others],
  }
}

function isRunId(filter: Json | undefined): boolean {
  if (!isObject(filter)) return false
  const { section, name } = objectAt(filter, 'key')
  // What W&B calls the name of a run is its id; what people call its name is `displayName`.
  return section === 'run' && (name === 'name' || name === 'id')
}

const sectionForOtherProject = (section: JsonObject): JsonObject => ({
  ...without(section, 'ref'),
  panels: listAt(section, 'panels').map((panel) => (isObject(panel) ? panelForOtherProject(panel) : panel)),
})

function panelForOtherProject(panel: JsonObject): JsonObject {
  const { overrideSeriesTitles, ...kept } = without(
    objectAt(panel, 'config'),
    'overrideColors',
    'overrideLineWidths',
    'overrideMarks',
  )
  const titles = isObject(overrideSeriesTitles) ? titlesOfMetrics(overrideSeriesTitles, kept) : {}
  const config = Object.keys(titles).length === 0 ? kept : { ...kept, overrideSeriesTitles: titles }
  return { ...without(panel, 'ref'), ...(isObject(panel.config) && { config }) }
}

/** Titles of whole metrics hold in any project; the others are of one run's line. */
function titlesOfMetrics(titles: JsonObject, config: JsonObject): JsonObject {
  const metrics = listAt(config, 'metrics')
  return Object.fromEntries(Object.entries(titles).filter(([name]) => metrics.includes(name)))
}
