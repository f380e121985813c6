import type { PilotReport, PilotRest } from '../requester/pilot-report.ts'
import type { Interval } from '../requester/pilot-statistics.ts'
import { amount } from '../util/amount.ts'
import { formatCount } from '../util/format.ts'
import { costText, field, indented } from './layout.ts'

/** What came of a pilot, for people, line by line. */
export function pilotText(report: PilotReport, columns: number): string[] {
  const { asked, accepted, passRate, mean, spent, rest } = report
  const fields: readonly (readonly [string, string])[] = [
    ['usable', `${formatCount(accepted)} of ${amount(asked, 'answer')}: ${percentText(passRate)}`],
    ...(mean ? ([['each', meanText(mean)]] as const) : []),
    ['spent', `${costText(spent)} so far`],
    ...restFields(rest),
    ...(report.maxSpend ? ([['hard cap', capText(report.maxSpend, rest)]] as const) : []),
  ]
  return ['pilot', ...fields.flatMap(([label, text]) => field(label, text, columns))]
}

const WAYS = { batch: 'by batch', direct: 'by direct calls', both: 'by batch and direct calls' } as const

/** What is asked after a pilot, wrapped so that there is room for the answer. */
export function pilotQuestion({ rest }: PilotReport, columns: number): string {
  const what = rest.requests === 1 ? 'the other request' : `the other ${amount(rest.requests, 'request')}`
  const text = `Go on with ${what} for about ${rangeText(rest.planned)} ${WAYS[rest.way]}? [y/N]`
  return `${indented(text, columns - 'y '.length, 0).join('\n')} `
}

const meanText = ({ inputTokens, outputTokens, cost }: NonNullable<PilotReport['mean']>): string =>
  `${formatCount(Math.round(inputTokens))} tokens in, ${formatCount(Math.round(outputTokens))} out, ${costText(cost)} on average, asking again included`

function restFields({ requests, planned, way, batch, direct, isMeasured }: PilotRest): [string, string][] {
  if (requests === 0) return [['the rest', 'nothing is left']]
  const basis = isMeasured
    ? 'The ranges hold in about 95 of 100 cases or more.'
    : 'Estimated beforehand: the pilot taught nothing about the cost.'
  return [
    ['the rest', `${amount(requests, 'request')} ${WAYS[way]}: about ${rangeText(planned)}`],
    ...(way === 'batch' ? [] : [['', `all by batch: about ${rangeText(batch)}`] satisfies [string, string]]),
    ...(way === 'direct'
      ? []
      : [['', `all directly: about ${rangeText(direct)}`] satisfies [string, string]]),
    ['', basis],
  ]
}

/** `$3.20 ($2.90 to $3.50)`. */
const rangeText = ({ value, low, high }: Interval): string =>
  low === high ? costText(value) : `${costText(value)} (${costText(low)} to ${costText(high)})`

const percentText = ({ value, low, high }: Interval): string => {
  const percent = (share: number): string => (share * 100).toFixed(1)
  return `${percent(value)} % (${percent(low)} to ${percent(high)} % in the whole)`
}

function capText({ cap, left }: NonNullable<PilotReport['maxSpend']>, { planned }: PilotRest): string {
  const of = `${costText(left)} of ${costText(cap)} is left (--max-spend)`
  if (planned.high <= left) return `${of}, enough for the rest`
  return planned.low > left
    ? `${of}, not enough: the run will stop before the end`
    : `${of}, perhaps not enough for the rest`
}
