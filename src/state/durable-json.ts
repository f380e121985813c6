import { type Adapter, Low } from 'lowdb'
import { z } from 'zod'
import { errorText, StateError } from '../errors.ts'
import { systemCode } from '../util/system-code.ts'
import { versionNeeded } from '../util/version.ts'
import { readError } from './disk-error.ts'
import type { FileSystem } from './file-system.ts'
import { removeTemporaries, replaceFile } from './replace-file.ts'

/** What every such file carries. */
export interface Versioned {
  readonly version: number
  /** The release that wrote it: the one to ask for when the version is too new. */
  readonly nightshift?: string | undefined
}

export interface DurableJsonOptions<Data extends Versioned> {
  readonly fs: FileSystem
  readonly path: string
  /** Of the version written by this program. */
  readonly schema: z.ZodType<Data>
  /** The newest version this program knows. */
  readonly version: number
  /** Throws when this process may not write any more; called right before the old file would be replaced. */
  readonly guard?: () => void
  /** Brings content of an older version (1 to `version - 1`) into the form of `schema`. Default: left as it is. */
  readonly migrate?: (older: Versioned & Readonly<Record<string, unknown>>) => unknown
}

/**
 * A small JSON file, always whole on disk: the old content or the new one. A file that does not validate cannot be
 * opened, and therefore never is overwritten.
 */
export class DurableJson<Data extends Versioned> {
  readonly #options: DurableJsonOptions<Data>
  readonly #adapter: Adapter<Data | null>
  #low: Low<Data | null>
  #isTidy = false
  #writing: Promise<void> = Promise.resolve()

  private constructor(
    options: DurableJsonOptions<Data>,
    adapter: Adapter<Data | null>,
    low: Low<Data | null>,
  ) {
    this.#options = options
    this.#adapter = adapter
    this.#low = low
  }

  /**
   * Reads the file; nothing is changed before the first write. Only for its one writer. Throws StateError
   * `state_invalid`, `newer_version` or `read_failed`.
   */
  static async open<Data extends Versioned>(options: DurableJsonOptions<Data>): Promise<DurableJson<Data>> {
    const adapter = adapterFor(options)
    const low = new Low<Data | null>(adapter, null)
    await low.read()
    return new DurableJson(options, adapter, low)
  }

  /** What is on disk, or undefined while there is no file. */
  get data(): Data | undefined {
    return this.#low.data ?? undefined
  }

  /**
   * Makes `data` durable; only then does the `data` property show it. Calls are carried out one after another.
   * Throws StateError `disk_full`, `write_failed` or `fsync_failed`.
   */
  write(data: Data): Promise<void> {
    const written = this.#writing.then(async () => {
      await this.#tidy()
      // Low shows new data before it is written, so new data gets a Low of its own.
      const next = new Low<Data | null>(this.#adapter, data)
      await next.write()
      this.#low = next
    })
    // A failed write is the caller's to handle; it must not fail the writes queued behind it.
    this.#writing = written.catch(() => {})
    return written
  }

  /** Removes what interrupted writes of earlier runs left. */
  async #tidy(): Promise<void> {
    if (this.#isTidy) return
    const { fs, path, guard } = this.#options
    guard?.()
    await removeTemporaries(fs, path)
    this.#isTidy = true
  }
}

/** Reads such a file without being its writer. Undefined when there is none; errors as in `DurableJson.open`. */
export async function readDurableJson<Data extends Versioned>(
  options: DurableJsonOptions<Data>,
): Promise<Data | undefined> {
  const text = await readTextIfThere(options.fs, options.path)
  return text === undefined ? undefined : validated(text, options)
}

function adapterFor<Data extends Versioned>(options: DurableJsonOptions<Data>): Adapter<Data | null> {
  return {
    read: async () => (await readDurableJson(options)) ?? null,
    write: (data) =>
      replaceFile(options.fs, options.path, `${JSON.stringify(data, null, 2)}\n`, options.guard),
  }
}

async function readTextIfThere(fs: FileSystem, path: string): Promise<string | undefined> {
  try {
    return await fs.readText(path)
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined
    throw readError(path, error)
  }
}

const versionedSchema = z.looseObject({
  version: z.int().min(1),
  nightshift: z.string().optional().catch(undefined),
})

function validated<Data extends Versioned>(text: string, options: DurableJsonOptions<Data>): Data {
  const { path, version } = options
  const versioned = versionedSchema.safeParse(parsed(text, path))
  if (!versioned.success) throw invalid(path, zodText(versioned.error), versioned.error)
  const found = versioned.data
  if (found.version > version) throw newer(path, found)
  const current = found.version < version && options.migrate ? options.migrate(found) : found
  const result = options.schema.safeParse(current)
  if (!result.success) throw invalid(path, zodText(result.error), result.error)
  return result.data
}

function parsed(text: string, path: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    throw invalid(path, `${errorText(error)}${lineOf(text, errorText(error))}`, error)
  }
}

/** " (line 3)" for an error message that names only a position; the text's end when it names none. */
function lineOf(text: string, message: string): string {
  if (/line \d+/.test(message)) return ''
  const position = Number(/position (\d+)/.exec(message)?.[1] ?? text.length)
  return ` (line ${text.slice(0, position).split('\n').length})`
}

const zodText = (error: z.ZodError): string =>
  error.issues
    .slice(0, 3)
    .map(({ path, message }) => `${z.core.toDotPath(path) || 'the whole'}: ${message}`)
    .join('; ')

function invalid(path: string, why: string, cause: unknown): StateError {
  const message =
    `${path} is not valid: ${why}. It was left unchanged. Restore it from a copy, correct it, or move it away if it ` +
    'can be rebuilt.'
  return new StateError('state_invalid', message, { cause })
}

function newer(path: string, { version, nightshift }: Versioned): StateError {
  const message =
    `${path} has version ${version}, which ${versionNeeded(nightshift)}. Nothing was changed. ` +
    'Update Nightshift to go on with this task.'
  return new StateError('newer_version', message)
}
