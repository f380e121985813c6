/** A figure that rows of the history have, as docs/metrics.md lists it. */
export interface PlottedMetric {
  /** `Section/name`; a part in angle brackets, as in `TaskMeta/<name>`, stands for any text. */
  readonly name: string
  /** What it counts in, as it stands beside the axis: `USD`, `thousand tokens`. Empty for bare numbers. */
  readonly unit: string
  /** Words cannot be plotted: they become columns of the table of runs. */
  readonly isText?: boolean | undefined
}

/** One line plot. `regex` takes every metric that it matches, for names that only a task knows. */
export interface PanelPlan {
  readonly title: string
  readonly metrics: readonly string[]
  readonly regex?: string | undefined
  readonly unit: string
  readonly xAxis: XAxis
}

/** `_timestamp`: the time of day; `_step`: one row of the history after the other. */
export type XAxis = '_timestamp' | '_step'

export interface SectionPlan {
  readonly name: string
  readonly isOpen: boolean
  readonly panels: readonly PanelPlan[]
}

/** What the view shows: its sections from the top, and the texts that become columns of the table of runs. */
export interface ViewPlan {
  readonly sections: readonly SectionPlan[]
  readonly texts: readonly string[]
}

/** What one looks at first stands first, unfolded. A section that is not named here comes last. */
const SECTIONS: readonly { readonly name: string; readonly isOpen?: true }[] = [
  { name: 'Requests', isOpen: true },
  { name: 'Cost', isOpen: true },
  { name: 'Rate', isOpen: true },
  { name: 'Batch', isOpen: true },
  { name: 'Task' },
  { name: 'TaskMeta' },
  { name: 'Output' },
  { name: 'Queue' },
  { name: 'Metrics' },
  { name: 'Direct' },
  { name: 'Pushed' },
  { name: 'Usage' },
  { name: 'Result', isOpen: true },
  { name: 'Generation' },
]

/** Metrics that say more in one plot than each alone. Every other one has a plot of its own. */
const TOGETHER: readonly {
  readonly section: string
  readonly title: string
  readonly names: readonly string[]
}[] = [
  { section: 'Requests', title: 'Requests by outcome', names: ['total', 'succeeded', 'failed', 'pending'] },
  { section: 'Requests', title: 'Pending requests by place', names: ['queued', 'in_flight'] },
  {
    section: 'Requests',
    title: 'Asked again, or reused',
    names: ['retries', 'expired', 'reused'],
  },
  {
    section: 'Cost',
    title: 'Spent, set aside, and the cap',
    names: ['spent_usd', 'reserved_usd', 'uncertain_usd', 'cap_usd'],
  },
  { section: 'Cost', title: 'Expected against real cost', names: ['expected_usd', 'compared_usd'] },
  { section: 'Cost', title: 'Cost by way of sending', names: ['batch_usd', 'direct_usd', 'flex_usd'] },
  {
    section: 'Task',
    title: 'Samples by outcome',
    names: [
      'samples_committed',
      'samples_pending',
      'samples_responded',
      'samples_succeeded',
      'samples_failed',
      'samples_mixed_success',
    ],
  },
  { section: 'Queue', title: 'Queue', names: ['pool_len', 'queue_len', 'num_requests'] },
  {
    section: 'Queue',
    title: 'Tokens in the queue',
    names: ['input_ktok', 'max_output_ktok', 'pred_output_ktok'],
  },
  {
    section: 'Queue',
    title: 'Predicted cost of the queue',
    names: ['pred_cost_direct', 'pred_cost_batch'],
  },
  {
    section: 'Batch',
    title: 'Batches by state',
    names: ['num_total', 'num_completed', 'num_ongoing', 'num_unpushed', 'num_remote'],
  },
  {
    section: 'Batch',
    title: 'Requests at the server',
    names: [
      'remote_requests',
      'remote_requests_completed',
      'remote_requests_failed',
      'remote_requests_running',
    ],
  },
  {
    section: 'Batch',
    title: 'Requests in batches by state',
    names: ['ongoing_requests', 'unpushed_requests'],
  },
  {
    section: 'Batch',
    title: 'Tokens in batches by state',
    names: ['ongoing_input_ktok', 'unpushed_input_ktok', 'remote_input_ktok'],
  },
  {
    section: 'Batch',
    title: 'Cost of batches by state',
    names: ['ongoing_pred_cost', 'unpushed_pred_cost', 'remote_pred_cost', 'completed_cost'],
  },
  {
    section: 'Batch',
    title: 'Size of batches by state',
    names: ['ongoing_json_size_mb', 'unpushed_json_size_mb', 'remote_json_size_mb'],
  },
  { section: 'Pushed', title: 'Requests sent', names: ['task_requests', 'session_requests'] },
  { section: 'Pushed', title: 'Tokens sent', names: ['task_input_ktok', 'session_input_ktok'] },
  {
    section: 'Pushed',
    title: 'Predicted cost of what was sent',
    names: ['task_pred_cost', 'session_pred_cost'],
  },
  { section: 'Usage', title: 'Tokens used', names: ['prompt_ktok', 'completion_ktok', 'total_ktok'] },
  {
    section: 'Usage',
    title: 'Prompt tokens and the cache',
    names: ['prompt_ktok_cached', 'prompt_ktok_cache_write'],
  },
  {
    section: 'Result',
    title: 'Requests of each batch by outcome',
    names: ['num_requests', 'num_succeeded', 'num_failed', 'num_retry', 'num_expired', 'num_untried'],
  },
  { section: 'Result', title: 'Cost of each batch', names: ['cost_usd', 'expected_usd'] },
  {
    section: 'Result',
    title: 'Tokens of each batch',
    names: ['prompt_ktok', 'prompt_ktok_cached', 'completion_ktok', 'completion_ktok_reasoning'],
  },
]

/** Decides what the view shows. Every metric that is no text is in at least one panel. */
export function planView(metrics: readonly PlottedMetric[]): ViewPlan {
  const numbers = metrics.filter(({ isText }) => !isText)
  const bySection = Map.groupBy(numbers, ({ name }) => sectionOf(name))
  const known = SECTIONS.map(({ name }) => name)
  const names = [...known, ...[...bySection.keys()].filter((name) => !known.includes(name))]
  const sections = names.flatMap((name) => {
    const panels = panelsOf(name, bySection.get(name) ?? [])
    const isOpen = SECTIONS.some((section) => section.name === name && section.isOpen)
    return panels.length === 0 ? [] : [{ name, isOpen, panels }]
  })
  return { sections, texts: metrics.filter(({ isText }) => isText).map(({ name }) => name) }
}

const sectionOf = (name: string): string => name.slice(0, Math.max(0, name.indexOf('/')))

function panelsOf(section: string, metrics: readonly PlottedMetric[]): PanelPlan[] {
  const grouped = TOGETHER.filter((group) => group.section === section).flatMap((group) => {
    const members = metrics.filter(({ name }) => group.names.includes(name.slice(section.length + 1)))
    return members.length === 0 ? [] : [groupPanel(group.title, group.names, members)]
  })
  const shown = new Set(grouped.flatMap((panel) => panel.metrics))
  return [...grouped, ...metrics.filter(({ name }) => !shown.has(name)).map(ownPanel)]
}

function groupPanel(title: string, order: readonly string[], members: readonly PlottedMetric[]): PanelPlan {
  const rank = ({ name }: PlottedMetric) => order.indexOf(name.slice(name.indexOf('/') + 1))
  const sorted = members.toSorted((one, other) => rank(one) - rank(other))
  const units = new Set(members.map(({ unit }) => unit))
  const [unit = ''] = units.size === 1 ? units : []
  return { title, metrics: sorted.map(({ name }) => name), unit, xAxis: xAxisOf(members[0]?.name ?? '') }
}

function ownPanel({ name, unit }: PlottedMetric): PanelPlan {
  const title = panelTitle(name)
  const plan = { title, unit, xAxis: xAxisOf(name) }
  return name.includes('<') ? { ...plan, metrics: [], regex: regexOf(name) } : { ...plan, metrics: [name] }
}

/** Batches end one after another, often several at one time: beside each other they are easier to compare. */
const xAxisOf = (name: string): XAxis => (sectionOf(name) === 'Result' ? '_step' : '_timestamp')

const PLACEHOLDER = /<[^>]*>/g

const regexOf = (name: string): string =>
  `^${name
    .split(PLACEHOLDER)
    .map((part) => part.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&'))
    .join('.+')}$`

const UNIT_WORDS: ReadonlySet<string> = new Set(['ktok', 'usd', 'mb', 'hours'])

/** `Usage/prompt_ktok_cached` is "Prompt cached": what it counts in stands beside the axis. */
function panelTitle(name: string): string {
  const own = name.slice(name.indexOf('/') + 1).replaceAll(PLACEHOLDER, '')
  const words = own
    .split('_')
    .filter((word, at) => word && !UNIT_WORDS.has(word) && !(at === 0 && word === 'num'))
  const text = words.join(' ')
  return text === '' ? sectionOf(name) : text.charAt(0).toUpperCase() + text.slice(1)
}
