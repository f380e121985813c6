import type { z } from 'zod'
import type { StepOf } from '../batch/steps.ts'
import { lineBody, lineId } from '../batch/wire-line.ts'
import { NightshiftError, StateError } from '../errors.ts'
import type { FileSystem } from '../state/file-system.ts'
import { type Line, readLines } from '../state/json-lines.ts'
import { readLedger } from '../state/ledger.ts'
import { systemCode } from '../util/system-code.ts'
import { failedLineSchema } from './failed-line.ts'
import { FAILED_FILE, queueFileName } from './files.ts'
import type { RequestLife } from './history.ts'
import { HistoryWatch } from './history-watch.ts'
import { stepsIn, stepsOfKinds } from './ledger-steps.ts'
import { NearestKeys } from './nearest-keys.ts'
import { ledgerPath, mustExist } from './read-only-view.ts'

/** Everything that is known about one request. Times are ISO 8601 in UTC, money is in USD, sizes are in bytes. */
export interface Explanation {
  readonly task: string
  readonly key: string
  /** The lives of the key, the oldest first; the last one is how it stands now. */
  readonly lives: readonly RequestLife[]
  /** Its entry in the file of failed requests; null when it has not failed. */
  readonly failure: FailureRecord | null
  /** Its line in a queue file; null when there is none any more. */
  readonly body: QueuedBody | null
}

export interface FailureRecord {
  readonly reason: string
  readonly attempts: number
  /** The last reply: the raw body, or what stood in its place. */
  readonly reply?: unknown
}

export interface QueuedBody {
  readonly file: string
  /** From 1. */
  readonly line: number
  readonly model: string
  /** Of the body as JSON text. */
  readonly bytes: number
}

/** Where a task's files are. */
export interface TaskPlace {
  readonly directory: string
  readonly name: string
}

/**
 * Tells the history of one request, without the task's lock. Reads the ledger once. Throws StateError `unknown_task`,
 * NightshiftError `unknown_key` naming the keys that come nearest, or what is wrong with a file.
 */
export async function explain(fs: FileSystem, place: TaskPlace, key: string): Promise<Explanation> {
  const { directory, name } = place
  await mustExist(fs, directory, name)
  const ledger = ledgerPath(directory, name)
  const watch = new HistoryWatch(key)
  await readLedger(fs, ledger, {
    onLine: (line) => {
      const when = { task: name, at: line.at, files: Object.keys(line.files) }
      for (const step of stepsIn(line, ledger)) watch.take(step, when)
    },
  })
  const { lives } = watch
  const last = lives.at(-1)
  if (!last) throw unknownKey(place, key, await nearestKeys(fs, ledger, key))
  const failure = last.state === 'failed' ? await failureOf(fs, place, key) : null
  return { task: name, key, lives, failure, body: await bodyOf(fs, place, last) }
}

const ADDS: ReadonlySet<StepOf<'add'>['kind']> = new Set(['add'])

async function nearestKeys(fs: FileSystem, ledger: string, key: string): Promise<readonly string[]> {
  const nearest = new NearestKeys(key)
  await readLedger(fs, ledger, {
    onLine: (line) => {
      for (const { keys } of stepsOfKinds(line, ledger, ADDS)) for (const one of keys) nearest.offer(one)
    },
  })
  return nearest.keys
}

function unknownKey({ name }: TaskPlace, key: string, near: readonly string[]): NightshiftError {
  const hint = near.length > 0 ? `; did you mean ${near.map((one) => JSON.stringify(one)).join(', ')}?` : ''
  const message = `the ledger of task ${name} has no request with the key ${JSON.stringify(key)}${hint}`
  return new NightshiftError('unknown_key', message)
}

async function failureOf(fs: FileSystem, place: TaskPlace, key: string): Promise<FailureRecord | null> {
  const path = `${place.directory}/${place.name}${FAILED_FILE}`
  const quoted = JSON.stringify(key)
  let found: FailureRecord | null = null
  for await (const line of linesOf(fs, path)) {
    if (!line.complete || !line.text.includes(quoted)) continue
    const { reason, attempts, reply, ...of } = readFailed(line, path)
    if (of.key === key) found = { reason, attempts, ...(reply !== undefined && { reply }) }
  }
  return found
}

function readFailed({ text, offset }: Line, path: string): z.infer<typeof failedLineSchema> {
  try {
    return failedLineSchema.parse(JSON.parse(text))
  } catch (error) {
    const message = `${path} at byte ${offset}: this line is not of a failed request. Nothing was changed.`
    throw new StateError('failed_file_invalid', message, { cause: error })
  }
}

/** The line of the queue file that holds the request's body: the present one, as long as that file is kept. */
async function bodyOf(fs: FileSystem, place: TaskPlace, life: RequestLife): Promise<QueuedBody | null> {
  if (life.file === 0) return null
  const file = `${place.name}${queueFileName(life.file)}`
  let number = 0
  for await (const { text } of linesOf(fs, `${place.directory}/${file}`)) {
    number++
    if (lineId(text) !== life.customId) continue
    return { file, line: number, model: life.model ?? '', bytes: Buffer.byteLength(lineBody(text)) }
  }
  return null
}

/** The lines of a side file; none when it is gone, as it may be at any time while the task runs. */
async function* linesOf(fs: FileSystem, path: string): AsyncGenerator<Line> {
  try {
    yield* readLines(fs, path)
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw error
  }
}
