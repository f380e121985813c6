import { parseResultLine } from '../batch/line-outcome.ts'
import { type FileIn, inPhase } from '../batch/queue-file.ts'
import { unsettledStrays } from '../batch/strays.ts'
import { lineBody, lineId } from '../batch/wire-line.ts'
import { NightshiftError, RemoteError } from '../errors.ts'
import { readLineChunks } from '../state/json-lines.ts'
import type { PriceTable } from '../tokens/prices.ts'
import type { Context } from './context.ts'
import { queueFileName, repliesFileName } from './files.ts'
import { withPatience } from './patience.ts'
import { enqueueAgain } from './queue.ts'
import { isWholeReplyLine } from './reply-line.ts'
import { addReply, emptyTotals } from './reply-totals.ts'
import { requestOf } from './result-index.ts'

const isDirect = inPhase('direct')

/**
 * Brings what an earlier run left on its way into an order that this run can go on from. Returns the direct sets it
 * found: of them only answered lines are left, all others were queued anew in other files.
 */
export async function recover(context: Context, prices: PriceTable): Promise<ReadonlySet<number>> {
  const found = [...context.store.durable.state.files.values()].filter(isDirect)
  for (const file of found) {
    await takeUnnamedReplies(context, prices, file)
    await requeueUnanswered(context, file)
  }
  return new Set(found.map(({ id }) => id))
}

/** Replies that were on disk before the ledger could say so are received all the same. */
async function takeUnnamedReplies(
  context: Context,
  prices: PriceTable,
  file: FileIn<'direct'>,
): Promise<void> {
  const { store, clock } = context
  const suffix = repliesFileName(file.id)
  const tail = store.tails.get(suffix)
  if (!tail) return
  const taken: number[] = []
  const totals = emptyTotals()
  const query = { model: file.model, api: 'direct', at: clock.now() } as const
  let end = tail.length
  for await (const lines of readLineChunks(store.fs, store.path(suffix), {
    start: tail.length,
    end: tail.size,
  })) {
    for (const line of lines) {
      const result = line.complete && isWholeReplyLine(line.text) ? parseResultLine(line.text) : undefined
      const request = result && requestOf(result.custom_id, store.durable.requests, file.id)
      if (!result || request === undefined || line.offset !== end) continue
      end = line.offset + line.bytes
      taken.push(request)
      addReply(totals, result, prices, query)
    }
  }
  await store.commit((draft) => {
    // A file without content would have no length to be known by, and stay for ever.
    if (end > 0) draft.truncate(suffix, end)
    else draft.forget(suffix)
    draft.apply({
      kind: 'received',
      file: file.id,
      requests: taken,
      usage: totals.usage,
      costNanoUsd: totals.costNanoUsd,
      ...(totals.unpriced > 0 && { unpriced: totals.unpriced }),
    })
  })
}

/** Lines of a direct set that were not sent are queued anew; those that were, without a reply, are uncertain and sent again. */
async function requeueUnanswered(context: Context, file: FileIn<'direct'>): Promise<void> {
  const { store, settings, emit } = context
  let uncertain = 0
  for await (const lines of readLineChunks(store.fs, store.path(queueFileName(file.id)))) {
    await store.commit((draft) => {
      for (const { text } of lines) {
        const request = requestOf(lineId(text) ?? '', draft.requests, file.id)
        if (request === undefined) continue
        const { call } = draft.requests.get(request)
        if (call === 'received') continue
        if (call === 'sent') {
          uncertain++
          draft.apply({ kind: 'uncertain', file: file.id, requests: [request] })
        }
        const line = { endpoint: file.endpoint, model: file.model, bodyText: lineBody(text) }
        enqueueAgain(draft, request, line, { why: call === 'sent' ? 'uncertain' : 'unsent' }, settings.seal)
      }
    })
  }
  if (uncertain > 0) {
    const message = `${uncertain} direct calls were on the wire when the last run ended; whether they were answered is unknown, and they are sent again`
    emit({ kind: 'warning', code: 'uncertain_calls', message })
  }
}

/** What an account can be recognised by. Of a fenced file nothing is left: its input was deleted. */
const isOutstanding = inPhase('uploaded', 'doubtful', 'remote', 'ended')

/**
 * Makes sure that the key in use belongs to the account that the task's batches were created with. With nothing
 * outstanding another account is only worth a warning.
 */
export async function checkAccount(context: Context): Promise<void> {
  const { store, api, emit } = context
  const { state } = store.durable
  const { account, files } = state
  if (account === api.fingerprint) return
  const strays = unsettledStrays(state).filter(({ phase }) => phase !== 'received')
  const outstanding = [...[...files.values()].filter(isOutstanding), ...strays]
  if (account !== undefined && outstanding.length > 0) await mustKnow(context, outstanding)
  else if (account !== undefined) {
    emit({
      kind: 'warning',
      code: 'other_account',
      message: 'this is another account, server or project than the task was last run with',
    })
  }
  await store.commit((draft) => draft.apply({ kind: 'account', account: api.fingerprint }))
}

/** Something remote that an earlier run left: a batch, or an input file without one. */
type Outstanding = { readonly batchId: string } | { readonly inputFileId: string }

async function mustKnow(context: Context, outstanding: readonly Outstanding[]): Promise<void> {
  const { api, stop } = context
  const known = outstanding.find((one) => 'batchId' in one) ?? outstanding[0]
  if (!known) return
  try {
    await withPatience(context, 'checking the account', async () => {
      if ('batchId' in known) await api.retrieveBatch(known.batchId, stop)
      else await api.retrieveFile(known.inputFileId, stop)
    })
  } catch (error) {
    if (!(error instanceof RemoteError) || error.acted !== 'no') throw error
    const what = 'batchId' in known ? `batch ${known.batchId}` : `file ${known.inputFileId}`
    const message =
      `the task has ${outstanding.length} unfinished batches, and this account does not know ${what}: it is not the account ` +
      'they were created with. Use the same OPENAI_API_KEY, project and base URL as before.'
    throw new NightshiftError('wrong_account', message, { cause: error })
  }
}
