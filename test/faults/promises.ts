import { unsettledStrays } from '../../src/batch/strays.ts'
import type { Evidence } from '../support/fault-world.ts'
import { type LedgerFacts, ledgerFacts } from '../support/ledger-facts.ts'
import { answerTo, KEYS } from '../support/twelve-task.ts'
import {
  arrivedLines,
  arrivedReplies,
  batchBill,
  billedLines,
  billSum,
  isDirect,
  keyOf,
} from '../support/wire-facts.ts'
import { wrongBooks } from './books.ts'

/** What a fault is allowed to have done. */
export interface Allowance {
  /** Keys that fail for good, and words of the server's that their reason must show. */
  readonly failed?: Readonly<Record<string, string>>
  /** The fault keeps from us what the server bills: its own usage and the ledger's differ. */
  readonly unbilled?: boolean
  /** The server has result files that it never named: nobody can delete them, and they expire by themselves. */
  readonly unnamed?: boolean
}

/** Every promise that was broken, in words; none when all is well. */
export function brokenPromises(evidence: Evidence, allowance: Allowance = {}): readonly string[] {
  const ledger = ledgerFacts(evidence.steps)
  return [
    ...paidTwice(evidence, ledger),
    ...lostAnswers(evidence, allowance),
    ...wrongBooks(evidence),
    ...wrongPlaces(evidence, allowance),
    ...leftovers(evidence, allowance),
    ...restless(evidence),
  ]
}

/** Promise 1: no usable answer was bought twice, and what may have been is on record. */
function* paidTwice({ exchanges, asks, batches }: Evidence, { uncertain }: LedgerFacts): Generator<string> {
  const lines = arrivedLines(exchanges)
  const ids = new Set(lines.flatMap(({ customId, key }) => (key === undefined ? [] : [`${key} ${customId}`])))
  const bought = countBy([...ids], (id) => id.split(' ')[0] ?? '')
  const direct = countBy(arrivedReplies(exchanges), ({ key }) => key ?? '')
  const calls = exchanges.filter(isDirect)
  const whole = countBy(
    calls.filter(({ text }) => text !== undefined),
    keyOf,
  )
  const lost = countBy(
    calls.filter(({ lost, status }) => lost || isGatewayTrouble(status)),
    keyOf,
  )
  for (const key of KEYS) {
    const usable = of(bought, key) + of(direct, key)
    if (usable > 1) yield `${key} was answered well ${usable} times`
    const unknown = of(asks, key) - of(whole, key)
    if (unknown > of(uncertain, key)) yield `${key} was asked again ${unknown} times without a note`
    if (of(uncertain, key) > of(lost, key)) yield `${key} is called uncertain more often than calls were lost`
  }
  const tags = batches
    .filter(({ status }) => status !== 'failed')
    .map(({ metadata }) => metadata?.nightshift_tag)
  if (new Set(tags).size < tags.length) yield 'a batch was created twice under one tag'
}

/** A gateway that got no answer: what it stands before may have given one all the same. */
const isGatewayTrouble = (status = 200): boolean =>
  status === 502 || status === 504 || (status >= 520 && status !== 529)

/** Promise 2: all that arrived is on the ledger's bill, and nothing was deleted before it had arrived. */
function* lostAnswers({ exchanges, view, batches }: Evidence, { unbilled }: Allowance): Generator<string> {
  const { inputTokens: input, outputTokens: output } = view.state.spending
  const replies = billSum(arrivedReplies(exchanges).map(({ bill }) => bill))
  const lines = billSum(billedLines({ exchanges, batches }).map(({ bill }) => bill))
  const arrived = billSum([lines, replies])
  yield* unequal('tokens in the ledger, and in what arrived', { input, output }, arrived)
  const billed = billSum([batchBill({ batches }), replies])
  if (!unbilled) yield* unequal('tokens in the ledger, and on the bill', { input, output }, billed)
  const arrivedIds = new Set<string>()
  const results = new Set(batches.flatMap(({ outputFileId, errorFileId }) => [outputFileId, errorFileId]))
  for (const { method, path, text, status } of exchanges) {
    const [, , , id = '', rest] = path.split('/')
    if (!path.startsWith('/v1/files/') || !results.has(id)) continue
    if (method === 'GET' && rest === 'content' && status === 200 && text !== undefined) arrivedIds.add(id)
    if (method === 'DELETE' && !arrivedIds.has(id)) yield `${id} was deleted before it had arrived`
  }
}

/** Promise 4: every request is in one state, and the files say the same. */
function* wrongPlaces(evidence: Evidence, { failed: expected = {} }: Allowance): Generator<string> {
  const { view, output, failed, idle } = evidence
  const { counters } = view.state
  const failing = Object.keys(expected).sort()
  const succeeding = KEYS.filter((key) => !(key in expected))
  yield* unequal('keys in the output', output.map(({ key }) => key).sort(), succeeding)
  for (const { key, answer } of output) if (answer !== answerTo(key)) yield `${key} has the answer ${answer}`
  yield* unequal('keys of failed requests', failed.map(({ key }) => key).sort(), failing)
  for (const { key, reason } of failed) {
    const words = expected[key] ?? ''
    if (!reason.includes(words)) yield `${key} failed, and "${reason}" does not say "${words}"`
  }
  const sizes = { requests: KEYS.length, succeeded: succeeding.length, failed: failing.length, pending: 0 }
  yield* unequal('counters of the ledger', counters, sizes)
  const { requests, succeeded, failed: gone, pending } = idle.summary ?? sizes
  yield* unequal('counters of the last run', { requests, succeeded, failed: gone, pending }, sizes)
  const states = countBy(
    KEYS.map((key) => view.requests.get(view.requests.find(key) ?? 0).state),
    (state) => state,
  )
  yield* unequal(
    'states',
    [of(states, 'succeeded'), of(states, 'failed')],
    [succeeding.length, failing.length],
  )
}

const KEPT = /^task_(ledger\.jsonl|state\.json|output\.jsonl|failed\.jsonl|progress\.jsonl)$/
const OVER = new Set(['completed', 'failed', 'expired', 'cancelled'])

/** Nothing is left lying about, here or at the server. */
function* leftovers(
  { view, localFiles, remoteFiles, batches }: Evidence,
  { unnamed }: Allowance,
): Generator<string> {
  const { state } = view
  yield* unequal(
    'local files left',
    localFiles.filter((name) => !KEPT.test(name)),
    [],
  )
  if (!unnamed) yield* unequal('remote files left', remoteFiles, [])
  yield* unequal(
    'batches that are not over',
    batches.filter(({ status }) => !OVER.has(status)).map(({ id }) => id),
    [],
  )
  yield* unequal(
    'stray batches to settle',
    unsettledStrays(state).map(({ batchId }) => batchId),
    [],
  )
  yield* unequal('queue files left', [...state.files.keys()], [])
  yield* unequal('remote files to delete', [...state.litter], [])
  yield* unequal('uploads in doubt', [...state.uploadDoubts.keys()], [])
}

/** A task that is complete stays as it is. */
function* restless({ idle, idleExchanges, idleChanged }: Evidence): Generator<string> {
  if (idle.error) yield `the run after the last one failed: ${idle.error.message}`
  const { complete, added, judged } = idle.summary ?? {}
  yield* unequal(
    'what the run after the last one did',
    { complete, added, judged },
    { complete: true, added: 0, judged: 0 },
  )
  const changing = idleExchanges.filter(({ method }) => method !== 'GET')
  yield* unequal(
    'calls after the end that change something',
    changing.map(({ method, path }) => `${method} ${path}`),
    [],
  )
  yield* unequal('files that changed after the end', idleChanged, [])
}

function* unequal(what: string, got: unknown, wanted: unknown): Generator<string> {
  const [is, should] = [JSON.stringify(got), JSON.stringify(wanted)]
  if (is !== should) yield `${what}: ${is}, not ${should}`
}

function countBy<Item>(items: readonly Item[], nameOf: (item: Item) => string): Map<string, number> {
  const counts = new Map<string, number>()
  for (const item of items) counts.set(nameOf(item), (counts.get(nameOf(item)) ?? 0) + 1)
  return counts
}

const of = (counts: ReadonlyMap<string, number>, name: string): number => counts.get(name) ?? 0
