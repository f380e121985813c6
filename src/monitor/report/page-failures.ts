import { amount } from '../../util/amount.ts'
import { formatCount } from '../../util/format.ts'
import type { FailureExample } from './failed-examples.ts'
import { type Html, html } from './html.ts'
import type { FailureCluster, TaskReport } from './task-report.ts'
import { shareText, timeText } from './words.ts'

/** What went wrong, by kind, with examples. */
export function failureSection({ failures, status }: TaskReport): Html {
  const { clusters, others } = failures
  const { failed } = status.requests
  const { retries } = status.tally
  const title = html`<h2 id="failures">What went wrong</h2>`
  if (clusters.length === 0) {
    const nothing =
      status.requests.total === 0
        ? 'Nothing has been tried yet.'
        : 'Nothing: no request failed, and none had to be tried again.'
    return html`${title}<div class="card">${nothing}</div>`
  }
  const lost =
    failed === 0
      ? 'No request failed for good'
      : `${amount(failed, 'request')} of ${formatCount(status.requests.total)} failed for good (${shareText(failed, status.requests.total)})`
  const again = retries === 0 ? '' : `; ${amount(retries, 'failed try was', 'failed tries were')} made again`
  const sentence = `${lost}${again}. Reasons that differ only in numbers, ids and quoted parts are of one kind.`
  return html`${title}<p class="soft lead">${sentence}</p><br>${clusters.map(clusterCard)}${others.failed + others.retried > 0 && html`<p class="soft">${othersText(others)}</p>`}`
}

const othersText = ({ kinds, failed, retried }: TaskReport['failures']['others']): string =>
  `${kinds > 0 ? `${amount(kinds, 'more kind')} or more` : 'Rare kinds'}: ${formatCount(failed)} failed, ${formatCount(retried)} tried again. nightshift explain tells of each request.`

function clusterCard({ form, failed, retried, firstAt, lastAt, examples }: FailureCluster): Html {
  const isFailure = failed > 0
  const badge = isFailure ? `${formatCount(failed)} failed` : `${formatCount(retried)} again`
  const also = isFailure && retried > 0 ? `; ${amount(retried, 'try', 'tries')} made again` : ''
  const when = firstAt === lastAt ? timeText(firstAt) : `${timeText(firstAt)} to ${timeText(lastAt)}`
  const note = isFailure ? '' : '; none of these failed for good'
  return html`<details class="card cluster"><summary><span class="count tone-${isFailure ? 'red' : 'amber'}">${badge}</span><bdi class="what">${form}</bdi><span class="when">${when}${also}${note}</span></summary>${examplesOf(examples, isFailure)}</details>`
}

function examplesOf(examples: readonly FailureExample[], isFailure: boolean): Html | readonly Html[] {
  if (examples.length > 0) return examples.map(exampleBlock)
  const why = isFailure
    ? 'The file of failed requests has no entries for these any more.'
    : 'Replies of tries that were made again are not kept; nightshift explain tells what happened to a request.'
  return html`<p class="soft small example">${why}</p>`
}

const exampleBlock = ({ key, reason, attempts, reply }: FailureExample): Html =>
  html`<div class="example"><div><bdi class="mono">${key}</bdi> <span class="soft small">${amount(attempts, 'attempt')}</span></div><div><bdi>${reason}</bdi></div>${reply === null ? html`<p class="soft small">No reply.</p>` : html`<pre tabindex="0">${reply}</pre>`}</div>`
