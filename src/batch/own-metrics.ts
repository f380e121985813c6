import {
  batchNanoUsd,
  inUnit,
  ktok,
  type MetricDefinition,
  number,
  requests,
  usd,
} from './metric-definition.ts'

/** What only Nightshift has. */
export const OWN_METRICS: readonly MetricDefinition[] = [
  ktok(
    'Usage/prompt_ktok_cache_write',
    "Prompt tokens written to the server's prompt cache",
    ({ state }) => state.spending.cacheWriteTokens,
  ),

  requests('Requests/total', 'All requests of the task', ({ state }) => state.counters.requests),
  requests(
    'Requests/succeeded',
    'Of them, those that were accepted',
    ({ state }) => state.counters.succeeded,
  ),
  requests('Requests/failed', 'Of them, those that failed for good', ({ state }) => state.counters.failed),
  requests(
    'Requests/pending',
    'Of them, those without a final verdict',
    ({ state }) => state.counters.pending,
  ),
  requests('Requests/queued', 'Of the pending ones, those that are not sent', (s) => s.sums.queued),
  requests(
    'Requests/in_flight',
    'Of the pending ones, those that an answer is awaited for',
    (s) => s.sums.inFlight,
  ),
  requests(
    'Requests/retries',
    'Asked for again after an answer that was not good',
    ({ state }) => state.tally.retries,
  ),
  requests(
    'Requests/expired',
    'Came back expired or cancelled, and asked for again',
    ({ state }) => state.tally.expired,
  ),
  requests(
    'Requests/reused',
    'Given an answer that was there already',
    ({ state }) => state.spending.reusedReplies,
  ),

  usd('Cost/spent_usd', 'Spent so far, by real usage', ({ state }) => state.spending.costNanoUsd),
  usd(
    'Cost/uncertain_usd',
    'The most that answers can have cost that were lost; not in what was spent',
    ({ state }) => state.spending.uncertainNanoUsd,
  ),
  usd(
    'Cost/reserved_usd',
    'The most that what is under way can still cost; only known under a hard cap',
    (s) => s.sums.reservedNanoUsd,
  ),
  usd('Cost/cap_usd', 'The hard cap; left out without one', (s) => s.maxSpendNanoUsd),
  usd(
    'Cost/expected_usd',
    'What had been expected of the answers that came',
    ({ state }) => state.spending.expectedNanoUsd,
  ),
  usd('Cost/compared_usd', 'What these answers have cost', ({ state }) => state.spending.comparedNanoUsd),
  usd(
    'Cost/saved_usd',
    'Saved against direct calls at the full price',
    ({ state: { spending } }) => spending.listNanoUsd - spending.costNanoUsd,
  ),
  usd(
    'Cost/reuse_saved_usd',
    'Saved by answers that were there already',
    ({ state }) => state.spending.savedNanoUsd,
  ),
  usd('Cost/batch_usd', 'Spent on batches', batchNanoUsd),
  usd(
    'Cost/direct_usd',
    'Spent on direct calls at the full price',
    ({ state }) => state.spending.directNanoUsd,
  ),
  usd('Cost/flex_usd', 'Spent on direct calls at the flex tier', ({ state }) => state.spending.flexNanoUsd),

  inUnit('requests a minute')(
    'Rate/requests_per_min',
    'Verdicts that were final, of the last minutes of this run',
    (s) => s.requestsPerMinute,
  ),

  number('Generation/passes', 'Passes over the generator that this run has begun', (s) => s.passes),
  number('Generation/is_producing', '1 while more requests may come, else 0', (s) => (s.isProducing ? 1 : 0)),
]
