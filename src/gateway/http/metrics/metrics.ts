import { VERSION } from '../../../util/version.ts'
import type { Ending, Route } from '../../domain/request.ts'
import type { StoreCounts } from '../../store/store.ts'
import { Counter, labelText } from './counter.ts'
import { Histogram } from './histogram.ts'

/** What is asked for when the page is. */
export interface Gauges {
  /** Undefined when the store cannot be asked. */
  readonly counts: StoreCounts | undefined
  /** Calls that wait for an answer. */
  readonly held: number
  readonly nowMs: number
}

/** Something that ended, and what it was charged. Amounts in nano-USD; undefined: not known. */
export interface Ended {
  readonly ending: Ending
  readonly route: Route
  readonly costNanoUsd: number | undefined
  /** What it would have cost by a direct call. */
  readonly directNanoUsd: number | undefined
}

/** Amounts are added up in whole nano-USD, and shown in USD. */
const NANO = 1e9

/** What this process counts. Counts begin with it: Prometheus adds up over restarts and replicas. */
export class Metrics {
  readonly #responses = new Counter(['route', 'status'])
  readonly #acceptances = new Counter(['kind'])
  readonly #accepting = new Histogram()
  readonly #ended = new Counter(['ending', 'route'])
  readonly #cost = new Counter(['route'], NANO)
  readonly #direct = new Counter(['route'], NANO)
  readonly #upstream = new Counter(['kind', 'result'])
  readonly #storeErrors = new Counter(['code'])

  /** A call was answered. `route`: the pattern of its path, of which there are few. */
  answered(route: string, status: number): void {
    this.#responses.add([route, String(status)])
  }

  accepted(kind: string, ms: number): void {
    this.#acceptances.add([kind])
    this.#accepting.observe(ms / 1000)
  }

  ended({ ending, route, costNanoUsd, directNanoUsd }: Ended): void {
    this.#ended.add([ending, route])
    if (costNanoUsd === undefined) return
    this.#cost.add([route], costNanoUsd)
    this.#direct.add([route], directNanoUsd ?? costNanoUsd)
  }

  upstreamCall(kind: string, result: string): void {
    this.#upstream.add([kind, result])
  }

  storeError(code: string): void {
    this.#storeErrors.add([code])
  }

  /** The page, in Prometheus' text format. */
  text({ counts, held, nowMs }: Gauges): string {
    return [
      ...metric('info', 'gauge', 'The version that runs.', (name) => [
        `${name}${labelText({ version: VERSION })} 1`,
      ]),
      ...metric('up', 'gauge', 'Whether the store can be asked.', (name) => [`${name} ${counts ? 1 : 0}`]),
      ...metric('held_calls', 'gauge', 'Calls that wait for an answer, at this replica.', (name) => [
        `${name} ${held}`,
      ]),
      ...(counts ? storeLines(counts, nowMs) : []),
      ...metric('http_responses_total', 'counter', 'Calls answered.', (name) => this.#responses.lines(name)),
      ...metric('accepted_total', 'counter', 'Calls put on record, by what they were.', (name) =>
        this.#acceptances.lines(name),
      ),
      ...metric('accept_seconds', 'histogram', 'From the arrival of a call until it was on record.', (name) =>
        this.#accepting.lines(name),
      ),
      ...metric('requests_ended_total', 'counter', 'Requests that ended.', (name) => this.#ended.lines(name)),
      ...metric(
        'cost_usd_total',
        'counter',
        'What requests cost that ended with an answer or an error, where it is known.',
        (name) => this.#cost.lines(name),
      ),
      ...metric(
        'direct_cost_usd_total',
        'counter',
        'What the same answers would have cost by direct calls.',
        (name) => this.#direct.lines(name),
      ),
      ...metric('upstream_calls_total', 'counter', 'Calls to the server that does the work.', (name) =>
        this.#upstream.lines(name),
      ),
      ...metric(
        'store_errors_total',
        'counter',
        'Times that the store did not do what it was asked to.',
        (name) => this.#storeErrors.lines(name),
      ),
      '',
    ].join('\n')
  }
}

type Kind = 'gauge' | 'counter' | 'histogram'

function metric(
  name: string,
  kind: Kind,
  help: string,
  lines: (name: string) => readonly string[],
): string[] {
  const full = `nightshift_${name}`
  return [`# HELP ${full} ${help}`, `# TYPE ${full} ${kind}`, ...lines(full)]
}

function storeLines(
  { queued, batched, calling, batches, oldestUnsentAt }: StoreCounts,
  nowMs: number,
): string[] {
  const states = Object.entries({ queued, batched, calling })
  const age = oldestUnsentAt === undefined ? 0 : Math.max(0, nowMs - oldestUnsentAt) / 1000
  return [
    ...metric('requests', 'gauge', 'Requests that are not done.', (name) =>
      states.map(([state, count]) => `${name}${labelText({ state })} ${count}`),
    ),
    ...metric(
      'batches',
      'gauge',
      "Batches that are not done, by the server's word for their state.",
      (name) => Object.entries(batches).map(([status, count]) => `${name}${labelText({ status })} ${count}`),
    ),
    ...metric('queue_age_seconds', 'gauge', 'Age of the oldest request that waits to be sent.', (name) => [
      `${name} ${age}`,
    ]),
  ]
}
