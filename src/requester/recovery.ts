import { classifyLine, parseReplyLine } from '../batch/line-outcome.ts'
import { type FileIn, inPhase, mayHaveCost } from '../batch/queue-file.ts'
import type { RequestTable } from '../batch/request-table.ts'
import type { StepOf } from '../batch/steps.ts'
import { unsettledStrays } from '../batch/strays.ts'
import { lineBody, lineId } from '../batch/wire-line.ts'
import { NightshiftError, RemoteError } from '../errors.ts'
import type { Tail } from '../state/group.ts'
import { readLineChunks } from '../state/json-lines.ts'
import type { Context } from './context.ts'
import { queueFileName, repliesFileName } from './files.ts'
import { withPatience } from './patience.ts'
import { enqueueAgain } from './queue.ts'
import { isWholeReplyLine } from './reply-line.ts'
import { type AnswerCost, answerCost, ReplyTotals } from './reply-totals.ts'
import { mostOfSent, mostOfStray } from './reservation.ts'
import { requestOf } from './result-index.ts'

const isDirect = inPhase('direct')

/**
 * Brings what an earlier run left on its way into an order that this run can go on from. Returns the direct sets it
 * found: of them only answered lines are left, all others were queued anew in other files.
 */
export async function recover(context: Context): Promise<ReadonlySet<number>> {
  const found = [...context.store.durable.state.files.values()].filter(isDirect)
  for (const file of found) {
    await takeUnnamedReplies(context, file)
    await requeueUnanswered(context, file)
    await freeReserve(context, file)
  }
  return new Set(found.map(({ id }) => id))
}

/** Nothing of a found set is on the wire any more: what its calls can have cost is settled or charged. */
async function freeReserve({ store }: Context, { id, reserved = 0 }: FileIn<'direct'>): Promise<void> {
  if (reserved > 0) await store.commit((draft) => draft.apply({ kind: 'reserve', file: id, reserved: 0 }))
}

/** Replies that were on disk before the ledger could say so are received all the same. */
async function takeUnnamedReplies(context: Context, file: FileIn<'direct'>): Promise<void> {
  const { store } = context
  const suffix = repliesFileName(file.id)
  const tail = store.tails.get(suffix)
  if (!tail) return
  const taken = { direct: new TakenReplies(), flex: new TakenReplies() }
  let end = tail.length
  for await (const line of linesFrom(context, suffix, tail)) {
    const result = line.complete && isWholeReplyLine(line.text) ? parseReplyLine(line.text) : undefined
    const request = result && requestOf(result.custom_id, store.durable.requests, file.id)
    if (!result || request === undefined || line.offset !== end) continue
    end = line.offset + line.bytes
    const outcome = classifyLine(result, file.endpoint)
    const tier = outcome.charge?.tier ?? 'direct'
    taken[tier].add(request, answerCost(outcome, context.valuer.cards(file.model, tier)))
  }
  await store.commit((draft) => {
    // A file without content would have no length to be known by, and stay for ever.
    if (end > 0) draft.truncate(suffix, end)
    else draft.forget(suffix)
    draft.apply(taken.direct.step(file.id))
    if (!taken.flex.isEmpty) draft.apply({ ...taken.flex.step(file.id), tier: 'flex' })
  })
}

async function* linesFrom({ store }: Context, suffix: string, { length: start, size: end }: Tail) {
  for await (const lines of readLineChunks(store.fs, store.path(suffix), { start, end })) yield* lines
}

/** Replies to direct calls that are taken together. */
class TakenReplies {
  readonly #requests: number[] = []
  readonly #totals = new ReplyTotals()

  add(request: number, cost: AnswerCost): void {
    this.#requests.push(request)
    this.#totals.add(cost)
  }

  get isEmpty(): boolean {
    return this.#requests.length === 0
  }

  step(file: number): StepOf<'received'> {
    const { columns } = this.#totals
    const { costNanoUsd: released } = columns
    return { kind: 'received', file, requests: this.#requests, ...columns, ...(released && { released }) }
  }
}

/** Lines of a direct set that were not sent are queued anew; those that were, without a reply, are uncertain and sent again. */
async function requeueUnanswered(context: Context, file: FileIn<'direct'>): Promise<void> {
  const { store, valuer, emit } = context
  let uncertain = 0
  for await (const lines of readLineChunks(store.fs, store.path(queueFileName(file.id)))) {
    if (lines.some(({ text }) => isSent(text, store.durable.requests, file.id))) await valuer.load(file.model)
    await store.commit((draft) => {
      for (const { text } of lines) {
        const request = requestOf(lineId(text) ?? '', draft.requests, file.id)
        if (request === undefined) continue
        const { call } = draft.requests.get(request)
        if (call === 'received') continue
        const line = { endpoint: file.endpoint, model: file.model, bodyText: lineBody(text) }
        if (call === 'sent') {
          uncertain++
          const { key } = draft.requests.identity(request)
          const charged = valuer.mostOf({ key, ...line }, valuer.card(file.model, 'direct'))
          const money = charged && { charged, released: charged }
          draft.apply({ kind: 'uncertain', file: file.id, requests: [request], ...money })
        }
        enqueueAgain(draft, request, line, { why: call === 'sent' ? 'uncertain' : 'unsent' }, valuer)
      }
    })
  }
  if (uncertain > 0) {
    const message = `${uncertain} direct calls were on the wire when the last run ended; whether they were answered is unknown: they are charged the most they can have cost, and sent again`
    emit({ kind: 'warning', code: 'uncertain_calls', message })
  }
}

function isSent(line: string, requests: RequestTable, file: number): boolean {
  const request = requestOf(lineId(line) ?? '', requests, file)
  return request !== undefined && requests.get(request).call === 'sent'
}

const mayCost = inPhase('intended', 'uploaded', 'doubtful', 'fenced', 'remote', 'ended')

/** Makes ready to count requests near the hard cap exactly that an earlier run queued. */
export async function loadForQueue({ store, valuer }: Context): Promise<void> {
  for (const { model } of store.durable.state.files.values()) await valuer.load(model)
}

/** Under a hard cap, sets aside what batches can cost that were sent before there was one. */
export async function reserveForSent(context: Context): Promise<void> {
  const { store, settings } = context
  if (settings.limits.maxSpendNanoUsd === undefined) return
  const { files, strays } = store.durable.state
  for (const file of files.values()) {
    if (file.reserved !== undefined || !mayCost(file) || (file.phase === 'ended' && !mayHaveCost(file)))
      continue
    const reserved = await mostOfSent(context, file)
    await store.commit((draft) => draft.apply({ kind: 'reserve', file: file.id, reserved }))
  }
  for (const { batchId, file, reserved: known, phase } of strays.values()) {
    if (known !== undefined || phase === 'received' || phase === 'settled') continue
    const reserved = await mostOfStray(context, { batchId, file })
    if (reserved === undefined) continue
    await store.commit((draft) => draft.apply({ kind: 'reserve', file, stray: batchId, reserved }))
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
