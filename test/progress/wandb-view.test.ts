import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { UsageError } from '../../src/errors.ts'
import { specForOtherProject } from '../../src/progress/wandb-view/copy-spec.ts'
import {
  checkedPart,
  checkedViewName,
  ownViewName,
  viewPlaceOf,
  viewUrl,
} from '../../src/progress/wandb-view/view-name.ts'
import { type PlottedMetric, planView } from '../../src/progress/wandb-view/view-plan.ts'
import {
  type JsonObject,
  listAt,
  objectAt,
  panelCount,
  sectionsOf,
  viewSpec,
} from '../../src/progress/wandb-view/view-spec.ts'

const metric = (name: string, unit = ''): PlottedMetric => ({ name, unit })

const metrics = fc.uniqueArray(
  fc.record({
    name: fc
      .tuple(
        fc.constantFrom('Requests', 'Cost', 'Task', 'Result', 'Usage', 'TaskMeta', 'Weather'),
        fc.constantFrom(
          'succeeded',
          'failed',
          'total',
          'spent_usd',
          'cap_usd',
          'prompt_ktok',
          'wind',
          '<key>',
        ),
      )
      .map((parts) => parts.join('/')),
    unit: fc.constantFrom('', 'USD', 'thousand tokens'),
    isText: fc.boolean(),
  }),
  { selector: ({ name }) => name },
)

const plotted = (all: readonly PlottedMetric[]) => planView(all).sections.flatMap(({ panels }) => panels)

describe('what a view shows', () => {
  test('every number is in exactly one plot of its own section, every text is a column', () => {
    fc.assert(
      fc.property(metrics, (all) => {
        const { sections, texts } = planView(all)
        const shown = sections.flatMap(({ panels }) =>
          panels.flatMap(({ metrics, regex }) =>
            regex === undefined
              ? metrics
              : all.filter((one) => isMatched(regex, one)).map(({ name }) => name),
          ),
        )
        expect([...shown, ...texts].toSorted()).toEqual(all.map(({ name }) => name).toSorted())
        for (const { name, panels } of sections)
          for (const panel of panels)
            for (const one of panel.metrics) expect(one.startsWith(`${name}/`)).toBe(true)
      }),
    )
  })

  const isMatched = (regex: string, { name, isText }: PlottedMetric): boolean =>
    !isText && name.includes('<') && new RegExp(regex).test(name.replace('<key>', 'x'))

  test('figures that belong together share a plot, in their order; what there is no figure for is left out', () => {
    const all = ['Requests/failed', 'Requests/weird', 'Requests/succeeded'].map((name) =>
      metric(name, 'requests'),
    )
    expect(planView(all).sections).toEqual([
      {
        name: 'Requests',
        isOpen: true,
        panels: [
          {
            title: 'Requests by outcome',
            metrics: ['Requests/succeeded', 'Requests/failed'],
            unit: 'requests',
            xAxis: '_timestamp',
          },
          { title: 'Weird', metrics: ['Requests/weird'], unit: 'requests', xAxis: '_timestamp' },
        ],
      },
    ])
  })

  test('plots of one batch after the other go by step, all others by time', () => {
    const axes = plotted([metric('Result/duration_hours', 'h'), metric('Cost/spent_usd', 'USD')]).map(
      ({ metrics: [name], xAxis, title }) => [name, title, xAxis],
    )
    expect(axes).toEqual([
      ['Cost/spent_usd', 'Spent, set aside, and the cap', '_timestamp'],
      ['Result/duration_hours', 'Duration', '_step'],
    ])
  })

  test('a name that only the task knows is taken by its pattern, and by no other', () => {
    const [panel] = plotted([metric('Task/committed_<name>')])
    const regex = new RegExp(panel?.regex ?? '')
    expect(
      ['Task/committed_chars', 'Task/committed_', 'Task/samples', 'aTask/committed_x'].map((name) =>
        regex.test(name),
      ),
    ).toEqual([true, false, false, false])
  })
})

describe('the JSON of a view', () => {
  const spec = viewSpec(
    planView([metric('Cost/spent_usd', 'USD'), { name: 'Result/model', unit: '', isText: true }]),
  )

  test('is the same each time, and says what W&B plots', () => {
    const again = viewSpec(
      planView([metric('Cost/spent_usd', 'USD'), { name: 'Result/model', unit: '', isText: true }]),
    )
    expect(JSON.stringify(again)).toBe(JSON.stringify(spec))
    const [section] = sectionsOf(spec)
    expect(section).toMatchObject({ name: 'Cost', isOpen: true, type: 'flow' })
    expect(listAt(section ?? {}, 'panels')).toMatchObject([
      {
        __id__: expect.stringMatching(/^[a-z0-9]{11}$/),
        viewType: 'Run History Line Plot',
        config: {
          chartTitle: 'Spent, set aside, and the cap',
          metrics: ['Cost/spent_usd'],
          xAxis: '_timestamp',
          yAxisTitle: 'USD',
        },
      },
    ])
  })

  test('texts are columns of the table of runs', () => {
    const [runs] = listAt(objectAt(spec, 'section'), 'runSets')
    expect(runs).toMatchObject({ runFeed: { columnOrder: expect.arrayContaining(['summary:Result/model']) } })
  })

  test('ids of panels differ', () => {
    fc.assert(
      fc.property(metrics, (all) => {
        const made = viewSpec(planView(all))
        const ids = sectionsOf(made).flatMap((section) =>
          listAt(section, 'panels').map((panel) => JSON.stringify(panel)),
        )
        const unique = new Set(ids.map((text) => JSON.parse(text).__id__))
        expect(unique.size).toBe(panelCount(made))
      }),
    )
  })
})

describe('a view for another project', () => {
  const source: JsonObject = {
    version: -1,
    ref: { viewID: 'theirs', type: 'section' },
    section: {
      name: 'kept',
      customRunColors: { ref: {}, abc12345: 'red' },
      customRunNames: { abc12345: 'the good one' },
      settings: { smoothingWeight: 0.5 },
      runSets: [
        {
          id: 'r1',
          project: { name: 'theirs', entityName: 'they', id: 'UHJvamVjdA==' },
          search: { query: '^prod' },
          filters: {
            op: 'OR',
            filters: [
              {
                op: 'AND',
                filters: [
                  { op: '=', key: { section: 'run', name: 'name' }, value: 'abc12345' },
                  { op: '=', key: { section: 'run', name: 'state' }, value: 'finished' },
                ],
              },
            ],
          },
          selections: { root: 0, bounds: [], tree: ['abc12345'] },
          expandedRowAddresses: [{ row: 'abc12345' }],
        },
      ],
      panelBankConfig: {
        state: 1,
        ref: { viewID: 'theirs' },
        sections: [
          {
            name: 'Charts',
            ref: {},
            panels: [
              {
                __id__: 'p1',
                viewType: 'Run History Line Plot',
                config: {
                  metrics: ['loss'],
                  overrideColors: { 'abc12345:loss': { color: 'red' } },
                  overrideLineWidths: { 'abc12345:loss': 3 },
                  overrideMarks: { 'abc12345:loss': 'dashed' },
                  overrideSeriesTitles: { 'abc12345:loss': 'the good one', loss: 'Loss' },
                  futureField: [1],
                },
              },
              { __id__: 'p2', viewType: 'Something new', config: null },
            ],
          },
        ],
      },
    },
  }

  test('has nothing that is of a run or of the source project, and all the rest', () => {
    expect(specForOtherProject(source)).toEqual({
      version: -1,
      section: {
        name: 'kept',
        customRunColors: {},
        settings: { smoothingWeight: 0.5 },
        runSets: [
          {
            id: 'r1',
            search: { query: '^prod' },
            filters: {
              op: 'OR',
              filters: [
                {
                  op: 'AND',
                  filters: [{ op: '=', key: { section: 'run', name: 'state' }, value: 'finished' }],
                },
              ],
            },
            selections: { root: 1, bounds: [], tree: [] },
            expandedRowAddresses: [],
          },
        ],
        panelBankConfig: {
          state: 1,
          sections: [
            {
              name: 'Charts',
              panels: [
                {
                  __id__: 'p1',
                  viewType: 'Run History Line Plot',
                  config: { metrics: ['loss'], overrideSeriesTitles: { loss: 'Loss' }, futureField: [1] },
                },
                { __id__: 'p2', viewType: 'Something new', config: null },
              ],
            },
          ],
        },
      },
    })
    expect(JSON.stringify(specForOtherProject(source))).not.toMatch(/abc12345|theirs|the good one/)
  })

  test('a flat list of filters begins without a connector', () => {
    const condition = (name: string, connector?: string): JsonObject => ({
      op: '=',
      key: { section: 'run', name },
      value: 'x',
      ...(connector !== undefined && { connector }),
    })
    const filters = [condition('name'), condition('state', 'AND'), condition('group', 'OR')]
    const copy = specForOtherProject({
      section: { runSets: [{ filters: { filterFormat: 'filterV2', filters } }] },
    })
    const [runs] = listAt(objectAt(copy, 'section'), 'runSets')
    expect(runs).toMatchObject({
      filters: { filterFormat: 'filterV2', filters: [condition('state'), condition('group', 'OR')] },
    })
  })

  test('of our own view is our own view', () => {
    const own = viewSpec(planView([metric('Cost/spent_usd', 'USD')]))
    expect(specForOtherProject(own)).toEqual(own)
  })
})

describe('names and addresses', () => {
  const place = { entity: 'me', project: 'jobs', viewName: 'nw-u38mn3ltgfn-v' }

  test.each([
    'me/jobs/u38mn3ltgfn',
    'me/jobs/nw-u38mn3ltgfn-v',
    'https://wandb.ai/me/jobs?nw=u38mn3ltgfn',
    'https://wandb.ai/me/jobs/workspace?nw=u38mn3ltgfn&foo=1',
    'https://wandb.ai/me/jobs/?nw=u38mn3ltgfn',
  ])('%s is a view', (text) => {
    expect(viewPlaceOf(text)).toEqual(place)
  })

  test('a name in full is taken as it is', () => {
    expect(viewPlaceOf('me/jobs/nw-default-w')).toMatchObject({ viewName: 'nw-default-w' })
  })

  test('a personal workspace is named otherwise', () => {
    expect(viewPlaceOf('https://wandb.ai/me/jobs?nw=nwuserme-2')).toMatchObject({
      viewName: 'nw-nwuserme-2-w',
    })
  })

  test.each([
    '',
    'view',
    'me/jobs',
    'me//view',
    'me/jobs/view/more',
    'https://wandb.ai/me/jobs',
    'https://',
    'a/b/c d',
  ])('"%s" is none', (text) => {
    expect(() => viewPlaceOf(text)).toThrow(UsageError)
    expect(() => viewPlaceOf(text)).toThrow(/^--from is .*entity\/project\/view/)
  })

  test('the address of a view leads back to it', () => {
    const url = viewUrl('https://wandb.ai', place)
    expect(url).toBe('https://wandb.ai/me/jobs?nw=u38mn3ltgfn')
    expect(viewPlaceOf(url)).toEqual(place)
  })

  test('our view keeps its name, and another project or name gets another', () => {
    const name = ownViewName('me', 'jobs', 'Nightshift')
    expect(name).toMatch(/^nw-[a-z0-9]{11}-v$/)
    expect(ownViewName('me', 'jobs', 'Nightshift')).toBe(name)
    const others = [ownViewName('me', 'jobs', 'Other'), ownViewName('me', 'other', 'Nightshift')]
    expect(new Set([name, ...others]).size).toBe(3)
  })

  test('names that W&B would not take are refused before it is asked', () => {
    for (const bad of ['', '  ', 'a\nb', 'x'.repeat(129), 'night 🌙'])
      expect(() => checkedViewName(bad)).toThrow(/^--name is /)
    expect(checkedViewName(' Night shift (2) ')).toBe('Night shift (2)')
    for (const bad of ['', 'a/b', 'a b', 'a?b'])
      expect(() => checkedPart('--entity', bad)).toThrow(/^--entity is /)
    expect(checkedPart('--project', 'my_project-1')).toBe('my_project-1')
  })
})
