import { expect, test } from 'vitest'
import { assertNever } from '../../src/util/exhaustive.ts'
import {
  type Ending,
  type Evidence,
  type Fault,
  hurryBackoffs,
  live,
  type Trial,
  type Way,
} from '../support/fault-world.ts'
import { ledgerFacts } from '../support/ledger-facts.ts'
import { isDirect } from '../support/wire-facts.ts'
import { type Allowance, brokenPromises } from './promises.ts'

/** A line of the fault matrix. */
export interface FaultCase extends Pick<Trial, 'options' | 'emulator' | 'flex' | 'mending'> {
  readonly name: string
  /** The sentence it stands for: `3.2` is a point of the issue, `api 6` and `runner 8.3/5` are lines of the references. */
  readonly of: string
  /** The ways in which the fault can act. */
  readonly ways: readonly Way[]
  readonly faults: readonly Fault[]
  /** The first fault happens to the thing with this number only; to each of them in turn, in runs of its own. */
  readonly nth?: readonly number[]
  /** What is different from a run without faults. */
  readonly expected?: Expected
  /** The same, for one way. */
  readonly batch?: Expected
  readonly direct?: Expected
}

/** What a run with faults leads to. Left out: as in a run without. */
export interface Expected extends Allowance {
  /** The outcome of the run, or the code of the error it ends with. Default: complete. */
  readonly ends?: string
  /** How often requests were queued again, by reason. */
  readonly requeued?: Readonly<Record<string, number>> | 'any'
  /** Direct calls of which it is unknown whether they were paid. */
  readonly uncertain?: number | 'any'
  /** Codes of the warnings. */
  readonly warnings?: readonly string[]
  /** How often the server answered a request, be it with an error. */
  readonly answered?: number | 'any'
  /** Direct calls that the run with the faults made. Default: any number. */
  readonly calls?: number
  /** Batches that were created, failed ones included. */
  readonly batches?: number | 'any'
}

const REQUESTS = 12

/** The same as `Expected`, as it was. */
const observed = (evidence: Evidence) => ({
  ends: endOf(evidence.first),
  requeued: ledgerFacts(evidence.steps).requeued,
  uncertain: sum(ledgerFacts(evidence.steps).uncertain.values()),
  // The server's own count differs wherever a line is not what it was: test/requester/money-facts.test.ts.
  warnings: evidence.warnings.filter((code) => code !== 'usage_differs'),
  answered: answersOf(evidence),
  batches: evidence.batches.length,
  calls: evidence.firstExchanges.filter(isDirect).length,
})

const endOf = ({ summary, error }: Ending): string => summary?.outcome ?? error?.code ?? ''

function answersOf({ way, asks, batches }: Evidence): number {
  switch (way) {
    case 'batch':
      return sum(batches.map(({ kept }) => (kept ? kept.succeeded + kept.failed : 0)))
    case 'direct':
      return sum(asks.values())
    default:
      return assertNever(way)
  }
}

const sum = (numbers: Iterable<number>): number => [...numbers].reduce((total, one) => total + one, 0)

const BATCHES = { batch: 3, direct: 0 } as const

/** What is queued again makes more batches, how many is a matter of timing. */
const plain = (way: Way, { requeued }: Expected) => ({
  ends: 'complete',
  requeued: {},
  uncertain: 0,
  warnings: [],
  answered: REQUESTS,
  calls: 'any' as const,
  batches: requeued === undefined ? BATCHES[way] : ('any' as const),
})

/** The trials of a case in one way: one, or one for each `nth`. */
export const trialsOf = (fault: FaultCase, way: Way): readonly Trial[] =>
  (fault.nth ?? [undefined]).map((nth) => ({
    way,
    faults: fault.faults.map((one, index) => (index === 0 && nth !== undefined ? onlyNth(one, nth) : one)),
    ...(fault.options && { options: fault.options }),
    ...(fault.emulator && { emulator: fault.emulator }),
    ...(fault.flex && { flex: fault.flex }),
    ...(fault.mending && { mending: fault.mending }),
  }))

const onlyNth = (fault: Fault, nth: number): Fault => ({ ...fault, when: { ...fault.when, nth } })

/** One test for each case and way: it ends as the table says, with all promises intact. */
export function testCases(cases: readonly FaultCase[]): void {
  hurryBackoffs()
  for (const fault of cases)
    for (const way of fault.ways)
      test(`${fault.name}, by ${way} (${fault.of})`, { timeout: 60_000 }, () => testCase(fault, way))
}

async function testCase(fault: FaultCase, way: Way): Promise<void> {
  const { failed = {}, unbilled = false, unnamed = false, ...changes } = { ...fault.expected, ...fault[way] }
  const wanted = { ...plain(way, changes), ...changes }
  const anyOf = Object.entries(wanted).filter(([, value]) => value === 'any')
  const isOpen = new Set(anyOf.map(([name]) => name))
  for (const trial of trialsOf(fault, way)) {
    const evidence = await live(trial)
    const broken = brokenPromises(evidence, { failed, unbilled, unnamed })
    const about = JSON.stringify(trial.faults)
    const seen = observed(evidence)
    // What is said to be of any number is as it was seen.
    const open = Object.entries(seen).filter(([name]) => isOpen.has(name))
    expect({ ...seen, broken }, about).toEqual({ ...wanted, ...Object.fromEntries(open), broken: [] })
  }
}
