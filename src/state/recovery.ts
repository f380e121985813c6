import { join } from 'node:path'
import { NightshiftError, StateError } from '../errors.ts'
import { systemCode } from '../util/system-code.ts'
import { readError, syncError, writeError } from './disk-error.ts'
import { type FileSystem, makeDurableDirectory, type OpenFile } from './file-system.ts'
import type { Tail } from './group.ts'
import { type LedgerExtent, type LedgerLine, readLedger } from './ledger.ts'
import { isSuffix, LEDGER_SUFFIX } from './ledger-line.ts'
import type { OpenFiles } from './open-files.ts'
import { nameBehind } from './replace-file.ts'

/** What a start needs to know about the owner of the files. */
export interface RecoveryOptions {
  readonly fs: FileSystem
  readonly directory: string
  /** Files are `<directory>/<name><suffix>`. */
  readonly name: string
  /** Called before the first change. */
  readonly guard: () => void
  readonly onLine?: ((line: LedgerLine) => void) | undefined
  readonly keepTail?: ((suffix: string) => boolean) | undefined
  readonly isSideFile?: ((suffix: string) => boolean) | undefined
  readonly isTransient?: ((suffix: string) => boolean) | undefined
  readonly leastSeq?: number | undefined
}

/** What was found, and made durable. */
export interface Recovered {
  readonly ledger: OpenFile
  readonly seq: number
  readonly ledgerBytes: number
  readonly lengths: Map<string, number>
  readonly tails: Map<string, Tail>
}

/** What the ledger says about side files. */
interface Known {
  readonly extent: LedgerExtent
  readonly lengths: Map<string, number>
  readonly gone: ReadonlySet<string>
}

/** What has to be done to the side files before the first commit. */
interface Repair {
  readonly cuts: ReadonlyMap<string, number>
  readonly tails: Map<string, Tail>
  readonly remove: readonly string[]
  readonly sync: readonly string[]
}

const EMPTY: LedgerExtent = { seq: 0, validBytes: 0, tornBytes: 0 }

/** Brings ledger and side files to the last commit. Until all checks have passed nothing is changed on disk. */
export async function recover(options: RecoveryOptions, files: OpenFiles): Promise<Recovered> {
  const path = join(options.directory, options.name + LEDGER_SUFFIX)
  const known = await readKnown(path, options)
  const entries = await listSuffixes(options)
  const present = entries.filter(isSuffix)
  const sizes = await measure(options, [...known.lengths.keys(), ...present.filter(isKept(options, known))])
  const repair = planRepair(known, { entries, sizes }, options)
  options.guard()
  const ledger = await openLedger(path, known.extent, options)
  try {
    await repairFiles(repair, options, files)
    await syncAll(path, ledger, options)
  } catch (error) {
    await ledger.close()
    throw error
  }
  const { seq, validBytes } = known.extent
  return { ledger, seq, ledgerBytes: validBytes, lengths: known.lengths, tails: repair.tails }
}

async function readKnown(path: string, options: RecoveryOptions): Promise<Known> {
  const lengths = new Map<string, number>()
  const gone = new Set<string>()
  const onLine = (line: LedgerLine) => {
    for (const [suffix, length] of Object.entries(line.files)) {
      lengths.set(suffix, length)
      gone.delete(suffix)
    }
    for (const suffix of line.gone) {
      lengths.delete(suffix)
      gone.add(suffix)
    }
    options.onLine?.(line)
  }
  const extent = await reading(path, () => readLedgerIfThere(path, onLine, options))
  if (extent.seq < (options.leastSeq ?? 0)) throw ledgerBehind(path, extent.seq, options.leastSeq ?? 0)
  return { extent, lengths, gone }
}

async function readLedgerIfThere(
  path: string,
  onLine: (line: LedgerLine) => void,
  options: RecoveryOptions,
): Promise<LedgerExtent> {
  const { fs } = options
  if ((await fs.size(path)) !== undefined) return readLedger(fs, path, { onLine })
  await refuseOrphans(path, options)
  return EMPTY
}

/** A ledger is created before any side file, so side files without one mean that it was lost. */
async function refuseOrphans(path: string, options: RecoveryOptions): Promise<void> {
  const orphans = (await listSuffixes(options)).filter(
    (suffix) => isSuffix(suffix) && options.isSideFile?.(suffix),
  )
  const sizes = await measure(options, orphans)
  const full = orphans.filter((suffix) => (sizes.get(suffix) ?? 0) > 0)
  if (full.length === 0) return
  const names = full.map((suffix) => options.name + suffix).join(', ')
  const message = `${path} is missing, but files of its task are there: ${names}. Nothing was changed. Restore the ledger, or move these files away to begin anew.`
  throw new StateError('ledger_missing', message)
}

/** What follows the task's name in the names of all files that begin with it, also of other tasks' files. */
async function listSuffixes({ fs, directory, name }: RecoveryOptions): Promise<readonly string[]> {
  try {
    const names = await fs.list(directory)
    return names.filter((one) => one.startsWith(name)).map((one) => one.slice(name.length))
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return []
    throw readError(directory, error)
  }
}

const isKept = (options: RecoveryOptions, known: Known) => (suffix: string) =>
  options.keepTail?.(suffix) === true && !known.lengths.has(suffix) && !known.gone.has(suffix)

async function measure(
  { fs, directory, name }: RecoveryOptions,
  suffixes: readonly string[],
): Promise<ReadonlyMap<string, number>> {
  const sizes = new Map<string, number>()
  for (const suffix of suffixes) {
    const path = join(directory, name + suffix)
    const size = await reading(path, () => fs.size(path))
    if (size !== undefined) sizes.set(suffix, size)
  }
  return sizes
}

/** Decides, and finds files that lost bytes the ledger vouches for. */
function planRepair(
  known: Known,
  found: { readonly entries: readonly string[]; readonly sizes: ReadonlyMap<string, number> },
  options: RecoveryOptions,
): Repair {
  const cuts = new Map<string, number>()
  const tails = new Map<string, Tail>()
  for (const [suffix, length] of known.lengths) {
    const size = found.sizes.get(suffix)
    if ((size ?? 0) < length)
      throw fileShortened(join(options.directory, options.name + suffix), length, size)
  }
  for (const [suffix, size] of found.sizes) {
    const length = known.lengths.get(suffix) ?? 0
    if (size === length) continue
    if (options.keepTail?.(suffix)) tails.set(suffix, { length, size })
    else cuts.set(suffix, length)
  }
  const isLitter = (suffix: string): boolean =>
    options.isTransient?.(nameBehind(suffix) ?? suffix) === true &&
    !known.lengths.has(suffix) &&
    !tails.has(suffix)
  const remove = found.entries.filter((suffix) => known.gone.has(suffix) || isLitter(suffix))
  return { cuts, tails, remove, sync: [...found.sizes.keys()].filter((suffix) => !remove.includes(suffix)) }
}

async function openLedger(
  path: string,
  { validBytes, tornBytes }: LedgerExtent,
  { fs, directory }: RecoveryOptions,
): Promise<OpenFile> {
  try {
    await makeDurableDirectory(fs, directory)
    const ledger = await fs.open(path, 'append')
    if (tornBytes > 0) await ledger.truncate(validBytes)
    return ledger
  } catch (error) {
    throw writeError(path, error, 'The run has not begun.')
  }
}

async function repairFiles(repair: Repair, options: RecoveryOptions, files: OpenFiles): Promise<void> {
  const { fs, directory, name } = options
  for (const suffix of repair.sync) {
    const path = join(directory, name + suffix)
    const length = repair.cuts.get(suffix)
    const file = await writing(path, () => files.get(suffix))
    if (length !== undefined) await writing(path, () => file.truncate(length))
    await syncing(path, () => file.sync())
    await files.trim()
  }
  for (const suffix of repair.remove) {
    const path = join(directory, name + suffix)
    await writing(path, () => fs.unlink(path))
  }
}

async function syncAll(path: string, ledger: OpenFile, { fs, directory }: RecoveryOptions): Promise<void> {
  await syncing(path, () => ledger.sync())
  await syncing(directory, () => fs.syncDirectory(directory))
}

async function reading<T>(path: string, read: () => Promise<T>): Promise<T> {
  try {
    return await read()
  } catch (error) {
    // Errors of ours, and whatever `onLine` throws, say what they mean themselves.
    if (NightshiftError.is(error) || systemCode(error) === undefined) throw error
    throw readError(path, error)
  }
}

async function writing<T>(path: string, write: () => Promise<T>): Promise<T> {
  try {
    return await write()
  } catch (error) {
    throw writeError(path, error, 'The run has not begun.')
  }
}

async function syncing(path: string, sync: () => Promise<void>): Promise<void> {
  try {
    await sync()
  } catch (error) {
    throw syncError(path, error)
  }
}

function ledgerBehind(path: string, seq: number, leastSeq: number): StateError {
  const message =
    `${path} ends at commit ${seq}, but commit ${leastSeq} was made: an older copy of the ledger, or a part of it, ` +
    'is in place. Nothing was changed. Restore the newest copy.'
  return new StateError('ledger_behind', message)
}

function fileShortened(path: string, length: number, size: number | undefined): StateError {
  const found = size === undefined ? 'is missing' : `has only ${size} bytes`
  const message = `${path} ${found}, but ${length} bytes of it are committed. Nothing was changed. Restore it from a copy.`
  return new StateError('file_shortened', message)
}
