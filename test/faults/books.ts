import { stepSchema } from '../../src/batch/steps.ts'
import { HistoryWatch } from '../../src/requester/history-watch.ts'
import { receiptOf } from '../../src/requester/receipt.ts'
import type { Evidence } from '../support/fault-world.ts'
import { KEYS } from '../support/twelve-task.ts'
import { arrivedReplies, type Bill, billedLines } from '../support/wire-facts.ts'

/** Of gpt-5-mini by direct calls, in nano-USD per token, as its price list says: $0.25 and $2 a million. */
const INPUT = 250
const OUTPUT = 2000

const price = ({ input, output }: Bill, share: 1 | 0.5): number =>
  Math.floor(input * INPUT * share + 0.5) + Math.floor(output * OUTPUT * share + 0.5)

const sumOf = (amounts: readonly number[]): number => amounts.reduce((sum, amount) => sum + amount, 0)

/** Where the books of a task do not agree with each other to the nano-USD, or with what arrived. */
export function* wrongBooks({ view, steps, exchanges, batches, flex }: Evidence): Generator<string> {
  const { task: account } = receiptOf(view.state, { awaitingVerdict: 0 })
  const { cost, costBy, judged, withoutVerdict, uncertain } = account
  const lives = livesOf(steps)
  yield* differ('costs of all requests, and what was judged', [
    sumOf(lives.map(({ nanoUsd }) => nanoUsd)),
    judged.nanoUsd,
  ])
  yield* differ('charges for lost answers, of all requests and of the task', [
    Math.round(sumOf(lives.map(({ uncertainUsd }) => uncertainUsd * 1e9))) + lostLines(steps),
    uncertain.most.nanoUsd,
  ])
  const parts = [costBy.batch, costBy.direct, costBy.flex].map(({ nanoUsd }) => nanoUsd)
  yield* differ('the cost, and its parts', [cost.nanoUsd, sumOf(parts)])
  yield* differ('the cost, and what was judged and not', [
    cost.nanoUsd,
    judged.nanoUsd + withoutVerdict.nanoUsd,
  ])
  if (withoutVerdict.nanoUsd < 0) yield `more was judged than paid: ${withoutVerdict.nanoUsd}`
  // What an answer cost that does not say so cannot be seen from outside.
  if (account.unmeteredReplies > 0) return
  const share = flex ? 0.5 : 1
  const byLine = billedLines({ exchanges, batches }).map(({ bill }) => price(bill, 0.5))
  const byCall = arrivedReplies(exchanges).map(({ bill }) => price(bill, share))
  yield* differ('the cost by batch, and that of what arrived', [costBy.batch.nanoUsd, sumOf(byLine)])
  yield* differ('the cost of calls, and that of what arrived', [
    costBy.direct.nanoUsd + costBy.flex.nanoUsd,
    sumOf(byCall),
  ])
}

/** Charges for lines of batches that never came: nobody can tell to which requests. */
const lostLines = (steps: Evidence['steps']): number =>
  sumOf(steps.map(({ lostNanoUsd }) => (typeof lostNanoUsd === 'number' ? lostNanoUsd : 0)))

function livesOf(steps: Evidence['steps']) {
  const known = steps.map((step) => stepSchema.parse(step))
  return KEYS.flatMap((key) => {
    const watch = new HistoryWatch(key)
    for (const step of known) watch.take(step, { task: 'task', at: 0, files: [] })
    return watch.lives.map(({ cost }) => cost)
  })
}

function* differ(what: string, [one, other]: readonly [number, number]): Generator<string> {
  if (one !== other) yield `${what}: ${one} and ${other}`
}
