import { join } from 'node:path'
import { NightshiftError, type StateError, UsageError } from '../errors.ts'
import type { Clock } from '../util/clock.ts'
import {
  cutBackFailed,
  fileChanged,
  fileMissing,
  ledgerChanged,
  overlapping,
  unwritable,
} from './commit-error.ts'
import { readError, syncError, writeError } from './disk-error.ts'
import { DiskSpace } from './disk-space.ts'
import type { FileSystem, OpenFile } from './file-system.ts'
import { type Group, type GroupPlan, planGroup, type Tail } from './group.ts'
import { type LedgerLine, LedgerReader } from './ledger.ts'
import { encodeLine, LEDGER_SUFFIX } from './ledger-line.ts'
import { OpenFiles } from './open-files.ts'
import { type Recovered, recover } from './recovery.ts'

export interface CommitLogOptions {
  readonly fs: FileSystem
  /** Created when missing. */
  readonly directory: string
  /** Files are `<directory>/<name><suffix>`; the ledger's suffix is `_ledger.jsonl`. */
  readonly name: string
  /** Called before every append; throws LockError when this process may not write any more. */
  readonly guard: () => void
  readonly clock: Clock
  /** Receives every committed line, in order, while the log opens; what it throws stops the opening. */
  readonly onLine?: (line: LedgerLine) => void
  /** Suffixes of files whose bytes beyond their named length are left and reported in `tails`. Default: none. */
  readonly keepTail?: (suffix: string) => boolean
  /** Suffixes of files that cannot be there without a ledger. Default: not checked. */
  readonly isSideFile?: (suffix: string) => boolean
  /** Suffixes of files that mean nothing unless the ledger names them: others are removed at the start. Default: none. */
  readonly isTransient?: (suffix: string) => boolean
  /** The ledger must reach this far: what other files of the task know of it. Default: 0. */
  readonly leastSeq?: number
}

/** Where a commit went. */
export interface Committed {
  readonly seq: number
  /** Place of its line in the ledger, for `readLine`. */
  readonly offset: number
  readonly bytes: number
  /** New lengths of the files it touched, by suffix. */
  readonly lengths: Readonly<Record<string, number>>
}

/**
 * A ledger and its side files, with one writer. Its life: open, then commits one at a time, then closed. It is
 * poisoned (every further commit rejects with the same error) once nobody can tell what is on disk: after a failed
 * fsync (`fsync_failed`), when a failed write could not be undone (`cut_back_failed`), or when somebody else
 * wrote (`ledger_changed`, LockError). Opening it again reads what is really there.
 */
export class CommitLog {
  /** Room on the disk that the files are on. */
  readonly space: DiskSpace
  readonly #options: CommitLogOptions
  readonly #files: OpenFiles
  readonly #ledger: OpenFile
  readonly #ledgerPath: string
  readonly #reader: LedgerReader
  readonly #lengths: Map<string, number>
  readonly #tails: Map<string, Tail>
  #seq: number
  #ledgerBytes: number
  #busy: Promise<Committed> | undefined
  /** What every further commit rejects with. */
  #poison: unknown
  #closed = false

  private constructor(options: CommitLogOptions, files: OpenFiles, found: Recovered) {
    this.space = new DiskSpace(options)
    this.#options = options
    this.#files = files
    this.#ledger = found.ledger
    this.#ledgerPath = join(options.directory, options.name + LEDGER_SUFFIX)
    this.#reader = new LedgerReader(found.ledger, this.#ledgerPath)
    this.#lengths = found.lengths
    this.#tails = found.tails
    this.#seq = found.seq
    this.#ledgerBytes = found.ledgerBytes
  }

  /**
   * Reads the ledger once, brings all files to the last commit and makes them durable. Throws StateError
   * (`ledger_corrupt`, `ledger_missing`, `ledger_behind`, `file_shortened`: nothing was changed), `read_failed`,
   * `write_failed`, `disk_full` or `fsync_failed`, and whatever the guard throws.
   */
  static async open(options: CommitLogOptions): Promise<CommitLog> {
    const pathOf = (suffix: string) => join(options.directory, options.name + suffix)
    const files = new OpenFiles(options.fs, pathOf)
    try {
      return new CommitLog(options, files, await recover(options, files))
    } catch (error) {
      await files.close()
      throw error
    }
  }

  /** Of the last commit; 0 when there is none. */
  get seq(): number {
    return this.#seq
  }

  /** Size of the ledger in bytes. */
  get ledgerBytes(): number {
    return this.#ledgerBytes
  }

  /** Files found longer than named and kept so (`keepTail`), by suffix, until a commit truncates, names or forgets them. */
  get tails(): ReadonlyMap<string, Tail> {
    return this.#tails
  }

  /** Committed lengths of all side files, by suffix. */
  get lengths(): ReadonlyMap<string, number> {
    return this.#lengths
  }

  /** Committed length of a side file in bytes; 0 when it is unknown. */
  length(file: string): number {
    return this.#lengths.get(file) ?? 0
  }

  /** The committed line at `offset`; the ones used last are kept in memory. Throws StateError `ledger_corrupt`. */
  readLine(offset: number): Promise<LedgerLine> {
    return this.#reader.readLineAt(offset)
  }

  /**
   * Makes a group durable, whole or not at all. Rejects with `disk_full` when it will not fit, and with that or
   * `write_failed` when a write failed (everything was undone; another commit may be tried), `file_changed` or `file_missing` when a side file is
   * not as it was left, LockError when another process writes, UsageError for an impossible group or an
   * overlapping call, and with the poison's error (see the class). After `fsync_failed` alone it is not known
   * whether the commit is on disk.
   */
  async commit(group: Group): Promise<Committed> {
    if (this.#closed) throw new UsageError('log_closed', `${this.#ledgerPath} is closed: open it to commit.`)
    if (this.#poison !== undefined) throw this.#poison
    if (this.#busy !== undefined) throw overlapping(this.#ledgerPath)
    this.#busy = this.#run(group)
    try {
      return await this.#busy
    } finally {
      this.#busy = undefined
    }
  }

  async #run(group: Group): Promise<Committed> {
    const plan = planGroup(group, { lengths: this.#lengths, tails: this.#tails })
    await this.#checkAlone()
    const lengths = await this.#nextLengths(plan)
    // Encoded before anything is written: a step that JSON cannot hold must leave no trace.
    const line = this.#encode(plan, lengths)
    await this.space.ensure(sizeOf(plan, line), `commit ${this.#seq + 1}`, plan.isPaid)
    const before = new Map<string, number>()
    await this.#appendSideFiles(plan.appends, before)
    await this.#syncSideFiles(plan, before)
    await this.#checkAloneMidway()
    await this.#appendLine(line, before)
    return this.#adopt(plan, lengths, line.length)
  }

  async #nextLengths(plan: GroupPlan): Promise<Record<string, number>> {
    const lengths: Record<string, number> = {}
    for (const [file, bytes] of plan.appends) lengths[file] = this.length(file) + bytes.length
    for (const [file, length] of plan.truncate) lengths[file] = length
    for (const file of plan.names) {
      const size = await this.#sizeOf(this.#path(file))
      if (size === undefined) throw fileMissing(this.#path(file))
      lengths[file] = size
    }
    return lengths
  }

  #encode(plan: GroupPlan, lengths: Record<string, number>): Buffer {
    const at = this.#options.clock.now()
    try {
      return encodeLine({ seq: this.#seq + 1, at, files: lengths, gone: plan.forget, steps: plan.steps })
    } catch (error) {
      throw unwritable(error)
    }
  }

  async #checkAlone(): Promise<void> {
    this.#options.guard()
    await this.#checkSize(this.#ledgerBytes)
  }

  /** Fsyncs take long enough to lose the lock meanwhile; bytes left by then are another's to judge: no cutting back. */
  async #checkAloneMidway(): Promise<void> {
    try {
      await this.#checkAlone()
    } catch (error) {
      this.#poison ??= error
      throw error
    }
  }

  async #checkSize(expected: number): Promise<void> {
    const size = await this.#sizeOf(this.#ledgerPath)
    if (size !== expected) throw this.#poisoned(ledgerChanged(this.#ledgerPath, expected, size))
  }

  async #sizeOf(path: string): Promise<number | undefined> {
    try {
      return await this.#options.fs.size(path)
    } catch (error) {
      throw readError(path, error)
    }
  }

  /** `before` collects the length each file had, as far as it got. */
  async #appendSideFiles(appends: GroupPlan['appends'], before: Map<string, number>): Promise<void> {
    for (const [file, bytes] of appends) {
      try {
        const open = await this.#prepare(file)
        before.set(file, this.length(file))
        await open.append(bytes)
      } catch (error) {
        throw await this.#undone(before, NightshiftError.is(error) ? error : this.#writeFailed(file, error))
      }
    }
  }

  async #prepare(file: string): Promise<OpenFile> {
    const path = this.#path(file)
    const size = await this.#options.fs.size(path)
    const expected = this.#lengths.get(file)
    if (expected !== undefined && (size ?? 0) !== expected) throw fileChanged(path, expected, size)
    // A handle would outlive its deleted file and swallow what is written.
    if (size === undefined) await this.#files.drop(file)
    const open = await this.#files.get(file)
    // An unnamed file with content is what a crash left of a commit that never happened.
    if (expected === undefined && size !== undefined && size > 0) await open.truncate(0)
    return open
  }

  async #syncSideFiles(plan: GroupPlan, before: ReadonlyMap<string, number>): Promise<void> {
    const synced = [...before.keys()].map(async (file) => {
      const open = await this.#files.get(file)
      await this.#sync(this.#path(file), () => open.sync())
    })
    // All of them end before the next step begins, also when one fails.
    const failed = (await Promise.allSettled(synced)).find(({ status }) => status === 'rejected')
    if (failed?.status === 'rejected') throw failed.reason
    const fresh = [...before.keys(), ...plan.names].some((file) => !this.#lengths.get(file))
    const { fs, directory } = this.#options
    if (fresh) await this.#sync(directory, () => fs.syncDirectory(directory))
  }

  async #appendLine(line: Buffer, before: ReadonlyMap<string, number>): Promise<void> {
    try {
      await this.#ledger.append(line)
    } catch (error) {
      throw await this.#undone(before, this.#writeFailed(LEDGER_SUFFIX, error), true)
    }
    await this.#sync(this.#ledgerPath, () => this.#ledger.sync())
    await this.#checkSize(this.#ledgerBytes + line.length)
  }

  async #sync(path: string, sync: () => Promise<void>): Promise<void> {
    try {
      await sync()
    } catch (error) {
      throw this.#poisoned(syncError(path, error))
    }
  }

  /** Cuts back what a failed commit wrote; returns the error to throw. */
  async #undone(
    before: ReadonlyMap<string, number>,
    cause: NightshiftError,
    ledgerToo = false,
  ): Promise<NightshiftError> {
    try {
      if (ledgerToo) await this.#ledger.truncate(this.#ledgerBytes)
      for (const [file, length] of before) await (await this.#files.get(file)).truncate(length)
      return cause
    } catch (error) {
      return this.#poisoned(cutBackFailed(cause, error))
    }
  }

  /** The commit is durable: take it into memory, then do what had to wait for it. Never rejects. */
  async #adopt(plan: GroupPlan, lengths: Record<string, number>, bytes: number): Promise<Committed> {
    const committed = { seq: this.#seq + 1, offset: this.#ledgerBytes, bytes, lengths }
    this.#seq += 1
    this.#ledgerBytes += bytes
    for (const [file, length] of Object.entries(lengths)) {
      this.#lengths.set(file, length)
      this.#tails.delete(file)
    }
    for (const file of plan.forget) {
      this.#lengths.delete(file)
      this.#tails.delete(file)
    }
    for (const [file, length] of plan.truncate) await this.#shorten(file, length)
    for (const file of plan.forget) await this.#unlink(file)
    await this.#files.trim()
    return committed
  }

  async #shorten(file: string, length: number): Promise<void> {
    try {
      await (await this.#files.get(file)).truncate(length)
    } catch (error) {
      this.#poisoned(writeError(this.#path(file), error, 'The commit before this one is durable.'))
    }
  }

  async #unlink(file: string): Promise<void> {
    await this.#files.drop(file)
    try {
      await this.#options.fs.unlink(this.#path(file))
    } catch {
      // Gone already, or in use: the commit stands either way, and the next start removes what it forgot.
    }
  }

  #poisoned(error: NightshiftError): NightshiftError {
    this.#poison ??= error
    return error
  }

  #writeFailed(suffix: string, error: unknown): StateError {
    return writeError(this.#path(suffix), error, `Commit ${this.#seq + 1} was undone.`)
  }

  #path(suffix: string): string {
    return join(this.#options.directory, this.#options.name + suffix)
  }

  /** Waits for a commit under way, then closes all files. Calling it again does nothing. */
  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    await Promise.allSettled([this.#busy])
    await this.#files.close()
    await this.#ledger.close()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }
}

const sizeOf = ({ appends }: GroupPlan, line: Buffer): number =>
  [...appends.values()].reduce((sum, { length }) => sum + length, line.length)
