import type { Explanation, FailureRecord, QueuedBody } from '../requester/explanation.ts'
import type { LifeCost, RequestLife } from '../requester/history.ts'
import { amount } from '../util/amount.ts'
import { formatBytes } from '../util/format.ts'
import { oneLine } from '../util/text.ts'
import { eventText } from './event-text.ts'
import { costText, field, indented, jsonText, timeText } from './layout.ts'

/** The history of a request for people, line by line, wrapped to a width in characters. */
export function explainText(explanation: Explanation, columns: number): string[] {
  const { task, key, lives } = explanation
  const last = lives.at(-1)
  const heading = `${oneLine(JSON.stringify(key))} of task ${task}: ${last ? standing(last) : 'unknown'}`
  return [
    ...indented(heading, columns, 0),
    ...lives.flatMap((life, at) => [
      '',
      ...(lives.length > 1 ? indented(`life ${at + 1} of ${lives.length}`, columns, 0) : []),
      ...lifeText(life, life === last ? explanation : undefined, columns),
    ]),
  ]
}

function standing({ state, events }: RequestLife): string {
  if (state === 'forgotten')
    return events.at(-1)?.kind === 'restored' ? 'put back, not added again yet' : 'wiped'
  const last = events.findLast(({ kind }) => kind !== 'wipe-begun')
  return state === 'pending' ? `pending, ${place(last?.kind)}` : state
}

/** Where a request without a verdict is, by the last thing that happened to it. */
function place(last: RequestLife['events'][number]['kind'] | undefined): string {
  switch (last) {
    case 'batch-created':
    case 'batch-status':
      return 'in a batch at the server'
    case 'batch-ended':
      return 'in a batch that has ended, not downloaded yet'
    case 'sent':
      return 'sent directly'
    case 'uncertain':
      return 'sent directly, without an answer so far'
    case 'received':
    case 'stray-received':
      return 'received and not judged'
    default:
      return 'queued'
  }
}

function lifeText(
  life: RequestLife,
  now: Pick<Explanation, 'failure' | 'body'> | undefined,
  columns: number,
): string[] {
  const { request, sample, paramsVersion, meta, attempts, cost, events } = life
  const fields: (readonly [string, string])[] = [
    ['request', `${request}; parameters version ${paramsVersion}`],
    ['sample', oneLine(sample)],
    ...(meta === undefined ? [] : [['meta', jsonText(meta, SHOWN_JSON)] as const]),
    ['attempts', String(attempts)],
    ['cost', sumText(cost)],
    ...(now?.body ? [['body', bodyText(now.body)] as const] : []),
    ...(now?.failure ? failureFields(now.failure) : []),
  ]
  return [
    ...fields.flatMap(([label, text]) => field(label, text, columns)),
    '',
    ...events.flatMap((event) => eventLines(timeText(event.at), eventText(event), columns)),
  ]
}

const TIME_WIDTH = 22
const NARROW = 60

function eventLines(time: string, text: string, columns: number): string[] {
  if (columns < NARROW) return [time, ...indented(text, columns, 2)]
  const [first = '', ...others] = indented(text, columns, TIME_WIDTH)
  return [time.padEnd(TIME_WIDTH) + first.trimStart(), ...others]
}

function sumText({ usd, uncertainUsd, unpriced, untold }: LifeCost): string {
  const lost = uncertainUsd > 0 ? `, and at most ${costText(uncertainUsd)} more for lost answers` : ''
  const sum = `${costText(usd)}${lost}`
  if (unpriced === 0 && untold === 0) return sum
  const gaps = [
    ...(unpriced > 0 ? [`${amount(unpriced, 'answer')} of a model without a known price`] : []),
    ...(untold > 0 ? [`${amount(untold, 'answer')} whose cost was not written down`] : []),
  ]
  return `at least ${sum}; ${gaps.join(', ')}`
}

const bodyText = ({ model, bytes, file, line }: QueuedBody): string =>
  `${oneLine(model)}, ${formatBytes(bytes)}: line ${line} of ${file}`

const failureFields = ({ reason, attempts, reply }: FailureRecord) =>
  [
    ['failed', `${oneLine(reason)} (${amount(attempts, 'attempt')})`],
    ...(reply === undefined ? [] : [['last reply', jsonText(reply, SHOWN_JSON)] as const]),
  ] as const

/** Longer values are for `--json`. */
const SHOWN_JSON = 1_000
