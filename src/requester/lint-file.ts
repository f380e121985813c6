import { basename } from 'node:path'
import { BatchLint, type LintFinding, type LintOptions, type LintTotals } from '../batch/lint.ts'
import type { QueueFile } from '../batch/queue-file.ts'
import { readError } from '../state/disk-error.ts'
import type { FileSystem } from '../state/file-system.ts'
import { readBlocks } from '../state/json-lines.ts'
import { systemCode } from '../util/system-code.ts'
import type { Context } from './context.ts'
import { queueFileName } from './files.ts'
import { Interrupted } from './patience.ts'

export interface LintFileOptions extends LintOptions {
  /** Ends the reading; its reason is thrown. */
  readonly signal?: AbortSignal | undefined
}

/** A larger file is refused anyway, and one line of it could be more than fits into a string. */
const MOST_READ_BYTES = 500_000_000

/**
 * Checks the input file of a batch. Of a file above 500 MB no line is looked at: its size is finding enough. Throws the
 * system's error (ENOENT, EACCES, ...) when it cannot be read.
 */
export async function lintFile(
  fs: FileSystem,
  path: string,
  { signal, ...options }: LintFileOptions,
): Promise<LintTotals> {
  const lint = new BatchLint(options)
  const bytes = await fs.size(path)
  if (bytes !== undefined && bytes > MOST_READ_BYTES) return lint.end(bytes)
  for await (const block of readBlocks(fs, path, { end: MOST_READ_BYTES })) {
    signal?.throwIfAborted()
    lint.add(block.bytes)
  }
  return lint.end()
}

/** So many findings are worth telling; they have one cause, mostly. */
const MOST_TOLD = 3

/**
 * Why a server would refuse a queue file as it is on disk: the first reasons, in the order of its lines; undefined when
 * nothing speaks against it. The file was made without faults: what is found is damage, or a limit that was missed.
 */
export async function faultsOfQueueFile(
  { store, stop }: Context,
  file: QueueFile,
): Promise<string | undefined> {
  const path = store.path(queueFileName(file.id))
  const told: string[] = []
  const onFinding = (finding: LintFinding): void => {
    if (finding.severity === 'error' && told.length < MOST_TOLD) told.push(findingText(finding))
  }
  const { errors } = await readable(path, stop, () =>
    lintFile(store.fs, path, { onFinding, expected: file, signal: stop }),
  )
  if (errors === 0) return undefined
  const more = errors > told.length ? `; and ${errors - told.length} more` : ''
  return (
    `${basename(path)} is not as it was written, or more than a batch may be (${told.join('; ')}${more}). Nothing of it was uploaded. ` +
    'Restore it from a copy and run again, or have its requests made anew with --wipe-requests.'
  )
}

async function readable<T>(path: string, stop: AbortSignal, read: () => Promise<T>): Promise<T> {
  try {
    return await read()
  } catch (error) {
    if (stop.aborted) throw new Interrupted()
    throw systemCode(error) === undefined ? error : readError(path, error)
  }
}

const findingText = ({ line, code, message }: LintFinding): string =>
  `${line === undefined ? '' : `line ${line}: `}${code}: ${message}`
