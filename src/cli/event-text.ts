import type { HistoryEvent } from '../requester/history.ts'
import { amount } from '../util/amount.ts'
import { assertNever } from '../util/exhaustive.ts'
import { formatCount } from '../util/format.ts'
import { oneLine } from '../util/text.ts'
import { costText, jsonText } from './layout.ts'

/** What one event says, as one line for people. */
export function eventText(event: HistoryEvent): string {
  return oneLine(`${whatHappened(event)}${replyText(event)}`)
}

function whatHappened(event: HistoryEvent): string {
  switch (event.kind) {
    case 'added':
      return addedText(event)
    case 'sealed':
      return `queue file ${event.file} closed, ${CLOSED_FOR[event.as]}`
    case 'announced':
      return `a batch of queue file ${event.file} is to be made, with the tag ${event.tag}${expectedText(event)}`
    case 'uploaded':
      return `uploaded as ${event.inputFileId}`
    case 'create-in-doubt':
      return `whether the batch was created is unknown: ${event.why}`
    case 'input-deleted':
      return 'no batch was found; its input file was deleted, so that none can come of it'
    case 'given-up':
      return `the attempt was given up: ${event.why}`
    case 'batch-created':
      return `batch ${event.batchId} ${event.adopted ? 'found at the server and taken over' : 'created'}`
    case 'batch-status':
      return `the batch is ${event.status}`
    case 'batch-ended':
      return `the batch ended: ${event.status}${faultsText(event.faults)}`
    case 'stray-batch':
      return `batch ${event.batchId} of an attempt that had been given up turned up (${event.status})`
    case 'stray-received':
      return `the answers of batch ${event.batchId} were received as well`
    case 'sent':
      return `sent directly${event.tier ? ` at the ${event.tier} tier` : ''}${expectedText(event)}`
    case 'uncertain':
      return `no answer came: whether the server did the work is unknown, and it may be paid for twice${chargedText(event)}`
    case 'received':
      return event.reused ? 'given an answer that was there already' : `received${tokensText(event)}`
    case 'queued-again':
      return queuedAgain(event)
    case 'accepted':
      return event.output === undefined ? 'accepted' : `accepted; its output is in ${event.output}`
    case 'rejected':
      return `rejected: ${event.reason}`
    case 'remembered':
      return `remembered with sample ${JSON.stringify(event.sample)}: ${jsonText(event.value, SHOWN_JSON)}`
    case 'wipe-begun':
      return `--wipe-${event.scope} was begun`
    case 'wiped':
      return `forgotten by --wipe-${event.scope}`
    case 'restored':
      return 'put back to work by --retry-failed'
    default:
      return assertNever(event)
  }
}

type EventOf<Kind extends HistoryEvent['kind']> = Extract<HistoryEvent, { kind: Kind }>

function addedText({ file, customId, waitsFor }: EventOf<'added'>): string {
  if (waitsFor !== undefined) return `added, to wait for the answer to the identical request r${waitsFor}`
  return file === 0 ? 'added, but too large for any batch' : `added to queue file ${file} as ${customId}`
}

const CLOSED_FOR: Readonly<Record<EventOf<'sealed'>['as'], string>> = {
  batch: 'to be sent as a batch',
  direct: 'to be sent directly',
  reused: 'its requests have their answers already',
}

const WHY: Readonly<Record<EventOf<'queued-again'>['why'], string>> = {
  retry: 'asked again',
  expired: 'came back expired; queued again',
  cancelled: 'came back cancelled; queued again',
  recalled: 'taken back from its batch for the deadline; queued again',
  refused: 'the account or the key was refused; queued again',
  healed: 'the batch failed for the fault of others; queued again',
  unsent: 'not carried out; queued again',
  uncertain: 'sent again, although it may have been answered',
  shared: 'an identical request was answered; that answer is used for this one, too',
  alone: 'the answer to an identical request is not for this one; queued to be asked for itself',
  unfit: 'the answer that was there already did not do; queued to be asked for itself',
}

function queuedAgain({ why, reason, repaired, file, customId }: EventOf<'queued-again'>): string {
  const body = repaired ? ', with another body' : ''
  return `${WHY[why]}${body}, in queue file ${file} as ${customId}${reason === undefined ? '' : `: ${reason}`}`
}

const SHOWN_FAULTS = 3

function faultsText(faults: EventOf<'batch-ended'>['faults']): string {
  if (faults.length === 0) return ''
  const shown = faults.slice(0, SHOWN_FAULTS).map(({ code, message, line }) => {
    const where = line === undefined ? '' : ` (line ${line})`
    return `${code}${where}: ${message}`
  })
  const more = faults.length > SHOWN_FAULTS ? `; and ${faults.length - SHOWN_FAULTS} more` : ''
  return `; ${shown.join('; ')}${more}`
}

function tokensText({ inputTokens, outputTokens, expected, tier }: EventOf<'received'>): string {
  if (inputTokens === undefined || outputTokens === undefined) return ''
  const at = tier ? ` at the ${tier} tier` : ''
  const before = expected
    ? `; expected: ${formatCount(expected.inputTokens)} in, ${formatCount(expected.outputTokens)} out, ${costText(expected.costUsd)}`
    : ''
  return `${at}, ${amount(inputTokens, 'token')} in, ${formatCount(outputTokens)} out${before}`
}

const expectedText = ({ expectedUsd }: { readonly expectedUsd?: number }): string =>
  expectedUsd === undefined ? '' : `, expected to cost ${costText(expectedUsd)}`

const chargedText = ({ chargedUsd }: EventOf<'uncertain'>): string =>
  chargedUsd === undefined ? '' : `; charged for it: at most ${costText(chargedUsd)}`

/** What is known of the reply behind an event. */
function replyText(event: HistoryEvent): string {
  const facts = [
    ...('costUsd' in event && event.costUsd !== undefined
      ? [event.costUsd === null ? 'no known price' : costText(event.costUsd)]
      : []),
    ...('requestId' in event && event.requestId !== undefined ? [event.requestId] : []),
  ]
  return facts.length > 0 ? ` (${facts.join(', ')})` : ''
}

const SHOWN_JSON = 200
