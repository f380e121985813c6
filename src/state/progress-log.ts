import { dirname } from 'node:path'
import { errorText } from '../errors.ts'
import type { Clock } from '../util/clock.ts'
import type { FileSystem, OpenFile } from './file-system.ts'
import { type ProgressEnd, readEnd } from './progress-end.ts'
import { type LogFields, RowQueue, type WaitingRow } from './row-queue.ts'

/** Suffix of the file: it follows the name of its task. */
export const PROGRESS_FILE = '_progress.jsonl'

export interface ProgressLogOptions {
  readonly fs: FileSystem
  readonly path: string
  readonly clock: Clock
  /** Throws when this process may not write any more: nothing is written from then on. */
  readonly guard: () => void
  /** So many bytes of the file, whole lines all of them, would survive a power loss. */
  readonly onDurable?: (bytes: number) => void
  /** Writing does not work at the moment. Called once for each time that it begins to fail. */
  readonly onTrouble?: (message: string) => void
  /** It works again; so many rows were lost meanwhile, as there was no room in memory for them. */
  readonly onRecovered?: (lost: number) => void
}

/** Rows are written, and made durable, together so often. */
const WRITE_EVERY_MS = 1_000
/** After a failure it is tried again after a second, then after twice as long, and so on up to this. */
const LONGEST_WAIT_MS = 60_000
/** What is written at one time. What a power loss can damage is no longer than that. */
export const MOST_WRITE_BYTES = 256 * 1024

const BACKGROUND = { background: true } as const

/**
 * Writes the history of a task, `<name>_progress.jsonl`, off the path of the job: `append` only takes a row, and about
 * once a second what was taken is written and fsynced. Nothing of it ever throws. What cannot be written waits in
 * memory, which is bounded, and is tried again.
 *
 *     (rows wait) -- start --> writing -- close --> closed
 *
 * It numbers its rows by `_step` over all runs, and `_runtime` goes on where the run before left it. A line that a kill
 * or a power loss has damaged is cut off before the first row is written.
 */
export class ProgressLog {
  readonly #options: ProgressLogOptions
  readonly #queue = new RowQueue()
  #file: OpenFile | undefined
  /** How far the file is known to be durable; undefined before it was opened. */
  #durable: ProgressEnd | undefined
  /** Of runs before this one. */
  #runtimeBefore = 0
  #runMs = 0
  #lastMs: number
  #writtenMs = Number.NEGATIVE_INFINITY
  #failures = 0
  #problem: string | undefined
  #state: 'waiting' | 'writing' | 'closed' = 'waiting'
  readonly #closing = new AbortController()
  #loop: Promise<void> | undefined

  constructor(options: ProgressLogOptions) {
    this.#options = options
    this.#lastMs = options.clock.now()
  }

  /** Takes a row. `isSample`: it may be drawn together with the next one when there is no room for both. */
  append(fields: LogFields, { isSample = false } = {}): void {
    if (this.#state === 'closed') return
    const atMs = this.#options.clock.now()
    // A clock that was set back adds nothing.
    this.#runMs += Math.max(0, atMs - this.#lastMs)
    this.#lastMs = atMs
    this.#queue.add({ fields, isSample, atMs, runMs: this.#runMs })
    this.#wake()
  }

  /** From now on the file is this process's to write. */
  start(): void {
    if (this.#state !== 'waiting') return
    this.#state = 'writing'
    this.#wake()
  }

  /** Writes what is left and makes it durable. Resolves with what could not be written, in words; never rejects. */
  async close(): Promise<string | undefined> {
    if (this.#state === 'closed') return undefined
    const wasWriting = this.#state === 'writing'
    this.#state = 'closed'
    this.#closing.abort()
    await this.#loop
    this.#problem = undefined
    while (wasWriting && this.#queue.size > 0 && this.#problem === undefined) await this.#write()
    await this.#letGo()
    if (this.#queue.size === 0 || !wasWriting) return undefined
    return `${this.#queue.size} rows of the history could not be written to ${this.#options.path}: ${this.#problem}`
  }

  #wake(): void {
    if (this.#state !== 'writing' || this.#loop !== undefined || this.#queue.size === 0) return
    this.#loop = this.#run()
  }

  async #run(): Promise<void> {
    while (this.#queue.size > 0 && this.#state === 'writing') {
      await this.#options.clock.sleep(this.#waitMs(), this.#closing.signal, BACKGROUND)
      if (this.#state === 'writing') await this.#write()
    }
    // At once with the last look at the queue: whoever appends from here on begins anew.
    this.#loop = undefined
  }

  #waitMs(): number {
    const everyMs = Math.min(LONGEST_WAIT_MS, WRITE_EVERY_MS * 2 ** Math.max(0, this.#failures - 1))
    const sinceMs = this.#options.clock.now() - this.#writtenMs
    return sinceMs < 0 ? everyMs : Math.max(0, everyMs - sinceMs)
  }

  /** Writes some of what waits. Never rejects. */
  async #write(): Promise<void> {
    this.#writtenMs = this.#options.clock.now()
    let rows: readonly WaitingRow[] = []
    try {
      this.#options.guard()
      this.#file ??= await this.#open()
      const end = this.#durable ?? { step: -1, runtime: 0, bytes: 0 }
      const taken = this.#queue.take(MOST_WRITE_BYTES, (row, index) => this.#line(row, end.step + 1 + index))
      rows = taken.rows
      const bytes = Buffer.from(taken.text)
      // Opening and reading take their time, in which a lock can be lost.
      this.#options.guard()
      await this.#file.append(bytes)
      await this.#file.sync()
      this.#durable = { ...end, step: end.step + rows.length, bytes: end.bytes + bytes.length }
    } catch (error) {
      this.#queue.putBack(rows)
      await this.#failed(error)
      return
    }
    this.#recovered()
    this.#options.onDurable?.(this.#durable.bytes)
  }

  #line({ fields, atMs, runMs }: WaitingRow, step: number): string {
    const runtime = Math.round(this.#runtimeBefore * 1000 + runMs) / 1000
    return `${JSON.stringify({ _step: step, _timestamp: atMs / 1000, _runtime: runtime, ...fields })}\n`
  }

  /** Opens the file and cuts off what is not sound, or not known to be durable. */
  async #open(): Promise<OpenFile> {
    const { fs, path, guard } = this.#options
    const file = await fs.open(path, 'append')
    try {
      const size = await file.size()
      const end = await this.#endOf(file, size)
      guard()
      if (end.bytes < size) await file.truncate(end.bytes)
      await file.sync()
      await fs.syncDirectory(dirname(path))
      if (this.#durable !== end) this.#begin(end)
      return file
    } catch (error) {
      await file.close()
      throw error
    }
  }

  /** What runs before this one have left. */
  #begin(end: ProgressEnd): void {
    if (!this.#durable) this.#runtimeBefore = end.runtime
    this.#durable = end
    if (end.bytes > 0) this.#options.onDurable?.(end.bytes)
  }

  /** After a failure everything behind what was durable before is written again. */
  async #endOf(file: OpenFile, size: number): Promise<ProgressEnd> {
    if (this.#durable && size >= this.#durable.bytes) return this.#durable
    return readEnd(file, size, 2 * MOST_WRITE_BYTES)
  }

  async #failed(error: unknown): Promise<void> {
    this.#problem = errorText(error)
    await this.#letGo()
    this.#failures++
    if (this.#failures > 1 || this.#state === 'closed') return
    const { path, onTrouble } = this.#options
    onTrouble?.(
      `the history cannot be written to ${path}; the run goes on, and it is tried again: ${this.#problem}`,
    )
  }

  #recovered(): void {
    if (this.#failures === 0) return
    this.#failures = 0
    this.#options.onRecovered?.(this.#queue.forgetLost())
  }

  /** What closing fails with tells nothing: all that counts was fsynced, and anything else is written again. */
  async #letGo(): Promise<void> {
    const file = this.#file
    this.#file = undefined
    await file?.close().catch(() => {})
  }
}
