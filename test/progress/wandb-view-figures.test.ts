import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { accept } from '../../src/batch/verdict.ts'
import { PLOTTED_METRICS } from '../../src/progress/wandb-view/plotted-metrics.ts'
import { type PanelPlan, planView } from '../../src/progress/wandb-view/view-plan.ts'
import { isObject, listAt, objectAt, viewSpec } from '../../src/progress/wandb-view/view-spec.ts'
import { TaskManager } from '../../src/task/task-manager.ts'
import type { TaskResponse } from '../../src/task/task-types.ts'
import { ask, harness, names, taskLines } from '../support/task-harness.ts'

const { sections, texts } = planView(PLOTTED_METRICS)
const panels = sections.flatMap((section) => section.panels)

const plots = ({ metrics, regex }: PanelPlan, name: string): boolean =>
  metrics.includes(name) || (regex !== undefined && new RegExp(regex).test(name))
const panelsOf = (name: string): PanelPlan[] => panels.filter((panel) => plots(panel, name))

const MOST = { max_completion_tokens: 100 } as const

/** Two files of requests: one by batch, one by direct calls. */
class Both extends TaskManager {
  override createParams() {
    return { temperature: 0.5, style: 'short' }
  }

  *generateRequests() {
    for (const key of names(5)) yield { key, body: { ...ask(key), ...MOST } }
    yield { key: 'other', body: { ...ask('other', 'gpt-5-nano'), ...MOST } }
  }

  processResponse({ key }: TaskResponse) {
    return accept(key)
  }
}

describe('the view of the figures', () => {
  test('has a plot for every number and a column for every text that a run writes down', async () => {
    const rig = harness()
    await new Both(rig.options({ minBatchRequests: 2, maxSpend: 10 })).run()
    const rows = taskLines<Record<string, unknown>>(rig.dir, '_progress.jsonl')
    const figures = rows.flatMap((row) =>
      Object.entries(row).filter(([name]) => !name.startsWith('_') && !name.startsWith('Event/')),
    )
    const kinds = new Map(figures.map(([name, value]) => [name, typeof value]))
    expect(kinds.size).toBeGreaterThan(80)
    for (const [name, kind] of kinds) {
      const where = { name, panels: panelsOf(name).length, isColumn: texts.includes(name) }
      if (name === 'TaskMeta/style') expect(where).toEqual({ name, panels: 1, isColumn: false })
      else if (kind === 'number') expect(where).toEqual({ name, panels: 1, isColumn: false })
      else expect(where).toEqual({ name, panels: 0, isColumn: true })
    }
  })

  test('has one of each section of the reference, and ours', () => {
    expect(sections.map(({ name }) => name)).toEqual([
      ...['Requests', 'Cost', 'Rate', 'Batch', 'Task', 'TaskMeta', 'Output', 'Queue', 'Metrics', 'Direct'],
      ...['Pushed', 'Usage', 'Result', 'Generation'],
    ])
  })

  test('has a plot or a column for every figure of docs/metrics.md', () => {
    const documented = metricsIn(readFileSync('docs/metrics.md', 'utf8'))
    expect(documented.length).toBeGreaterThan(80)
    const missing = documented.filter((name) => panelsOf(example(name)).length === 0 && !texts.includes(name))
    expect(missing).toEqual([])
  })

  test('has no plot and no column of a figure that there is none of', () => {
    const known = new Set(PLOTTED_METRICS.map(({ name }) => name))
    const [runs] = listAt(objectAt(viewSpec({ sections, texts }), 'section'), 'runSets')
    const columns = listAt(objectAt(isObject(runs) ? runs : {}, 'runFeed'), 'columnOrder')
    const shown = columns.flatMap((column) => /^summary:(.*)/.exec(String(column))?.[1] ?? [])
    expect(shown.length).toBeGreaterThan(texts.length)
    const names = [...shown, ...panels.flatMap(({ metrics }) => metrics)]
    expect(names.filter((name) => !known.has(name))).toEqual([])
  })

  test('has no two plots of one name in a section, and none whose figures have different units', () => {
    const units = new Map(PLOTTED_METRICS.map(({ name, unit }) => [name, unit]))
    for (const section of sections) {
      const titles = section.panels.map(({ title }) => title)
      expect(titles).toEqual([...new Set(titles)])
      for (const { title, metrics } of section.panels)
        expect([title, new Set(metrics.map((name) => units.get(name))).size]).toEqual([
          title,
          metrics.length && 1,
        ])
    }
  })
})

/** Names in the first column of the tables; events are rows of another kind. */
const metricsIn = (markdown: string): string[] =>
  [...markdown.matchAll(/^\|[^|`]*`([A-Z]\w*\/[\w<>]+)`/gm)]
    .map(([, name = '']) => name)
    .filter((name) => !name.startsWith('Event/'))

const example = (name: string): string => name.replaceAll(/<[^>]*>/g, 'x')
