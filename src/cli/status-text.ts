import type { Holder, QueueFileStatus, SideFile, TaskStatus } from '../requester/status.ts'
import { amount } from '../util/amount.ts'
import { formatBytes, formatCount, formatDuration } from '../util/format.ts'
import { oneLine } from '../util/text.ts'
import { field, indented, timeText } from './layout.ts'
import { receiptLines } from './receipt-text.ts'

export interface TextOptions {
  /** Width to wrap to, in characters. */
  readonly columns: number
  readonly nowMs: number
}

/** A status for people, line by line. */
export function statusText(status: TaskStatus, { columns, nowMs }: TextOptions): string[] {
  const fields = fieldsOf(status, nowMs).flatMap(([label, text]) => field(label, text, columns))
  const heading = indented(`${status.task}: ${holderText(status.holder)}`, columns, 0)
  const receipt = receiptLines(status.receipt, columns)
  const money = receipt.length > 0 ? ['', 'receipt:', ...receipt] : []
  return [...heading, ...fields, ...money, ...queueText(status.queueFiles, { columns, nowMs })]
}

function holderText(holder: Holder | null): string {
  if (!holder) return 'not running'
  const who = `process ${holder.pid} on ${oneLine(holder.host)}`
  const since = `since ${timeText(holder.since)}`
  if (holder.state === 'running') return `running: ${who}, ${since}`
  if (holder.state === 'gone') return `not running: ${who} ended without saying so; the next run takes over`
  return `held by ${who}, ${since}; whether it still runs cannot be seen from here`
}

type Field = readonly [label: string, text: string]

function fieldsOf(status: TaskStatus, nowMs: number): Field[] {
  const { wipe, passFailures, changedAt, failedFile, remoteFilesToDelete: toDelete } = status
  return [
    ...when(wipe, [
      'wipe',
      `--wipe-${wipe ?? ''} was begun and is not finished; a run that is stopped meanwhile goes on with it`,
    ]),
    ...requestFields(status),
    ['sent', sentText(status)],
    ['so far', tallyText(status)],
    ...when(passFailures > 0, [
      'unusable',
      `too many answers of the last ${passFailures === 1 ? 'batch' : `${formatCount(passFailures)} batches`}`,
    ]),
    ['output', outputText(status.output)],
    ...when(failedFile, ['failed', sizedFile(failedFile)]),
    ...when(toDelete > 0, ['to delete', `${amount(toDelete, 'remote file')} that nothing needs any more`]),
    ['changed', changedAt === null ? 'never' : `${timeText(changedAt)}, ${ago(changedAt, nowMs)}`],
  ]
}

const when = (condition: unknown, entry: Field): Field[] => (condition ? [entry] : [])

const ago = (iso: string, nowMs: number): string => `${formatDuration(nowMs - Date.parse(iso))} ago`

function requestFields({ requests }: TaskStatus): Field[] {
  const [total, succeeded, failed, pending] = [
    requests.total,
    requests.succeeded,
    requests.failed,
    requests.pending,
  ].map(formatCount)
  const { queued, waiting, inFlight, received } = requests
  const twins = waiting > 0 ? ` ${formatCount(waiting)} waiting for an identical one,` : ''
  return [
    ['requests', `${total}: ${succeeded} succeeded, ${failed} failed, ${pending} pending`],
    ...when(requests.pending > 0, [
      'pending',
      `${formatCount(queued)} queued,${twins} ${formatCount(inFlight)} in flight, ${formatCount(received)} received and not judged`,
    ]),
  ]
}

function sentText({ spending, tally }: TaskStatus): string {
  const sent = `${amount(spending.sentRequests, 'request')} in ${amount(tally.batches, 'batch', 'batches')}`
  return `${sent} and ${amount(tally.directSets, 'direct set')}`
}

function tallyText({ tally }: TaskStatus): string {
  const { retries, expired, uncertain, strays } = tally
  return [
    amount(retries, 'retry', 'retries'),
    `${formatCount(expired)} expired or cancelled`,
    `${formatCount(uncertain)} uncertain`,
    amount(strays, 'stray batch', 'stray batches'),
  ].join(', ')
}

function outputText({ lines, files }: TaskStatus['output']): string {
  const [first] = files
  if (!first) return 'none yet'
  const last = files.at(-1)
  const more = last && files.length > 1 ? ` to ${last.file} (${files.length} parts)` : ''
  return `${amount(lines, 'line')} in ${first.file}${more}`
}

const sizedFile = (file: SideFile | null): string => (file ? `${file.file} (${formatBytes(file.bytes)})` : '')

function queueText(files: readonly QueueFileStatus[], { columns, nowMs }: TextOptions): string[] {
  if (files.length === 0) return []
  const entries = files.flatMap((file) =>
    queueFileLines(file, nowMs).flatMap((line, at) => indented(line, columns, at === 0 ? 2 : 4)),
  )
  return ['', 'queue files:', ...entries]
}

function queueFileLines(file: QueueFileStatus, nowMs: number): string[] {
  const { phase, remoteStatus, batchId, model, requests, pending, bytes, endpoint } = file
  const status = remoteStatus === null ? '' : ` (${oneLine(remoteStatus)})`
  const age = formatDuration(nowMs - Date.parse(file.since))
  const size = `${formatCount(pending)} of ${amount(requests, 'request')} pending, ${formatBytes(bytes)}`
  const [fault] = file.faults
  return [
    `file ${file.file}: ${phase}${status} for ${age}`,
    `${oneLine(model)} ${endpoint}`,
    size,
    ...(batchId === null ? [] : [oneLine(batchId)]),
    ...(fault ? [`${oneLine(fault.code)}: ${oneLine(fault.message)}`] : []),
  ]
}
