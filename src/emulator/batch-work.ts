import { setImmediate as turn } from 'node:timers/promises'
import type { Clock } from '../util/clock.ts'
import type { Answering } from './answering.ts'
import type { AttemptBook } from './attempts.ts'
import type { Verdict } from './batch-validation.ts'
import { asObject, asString, parseJson } from './json.ts'
import { linesOf } from './lines.ts'
import type { BatchRecord } from './records.ts'
import { answeredLine, type ResultLine, readLine } from './result-lines.ts'
import type { BlobWriter, Storage } from './storage.ts'
import { Tally } from './tally.ts'

/** Lines answered and written together. Within a block they are written last to first: order is no promise. */
const BLOCK_LINES = 100
/** Turns of the event loop without progress after which an answer is taken to come from outside. */
const PATIENCE_TURNS = 3

export interface WorkParts {
  readonly storage: Storage
  readonly clock: Clock
  readonly attempts: AttemptBook
  readonly answering: Answering
  /** Answers waited for at once. */
  readonly concurrency: number
  readonly validate: (batch: BatchRecord, lines: AsyncIterable<readonly string[]>) => Promise<Verdict>
}

/**
 * The work on one batch, in the background: reading its input file, then answering line by line into its output
 * and error contents. It knows nothing of the batch's status, which follows the clock. Started once. Begun again
 * after a restart it keeps what is stored and does the rest.
 */
export class BatchWork {
  readonly #batch: BatchRecord
  readonly #parts: WorkParts
  #verdict: Verdict | undefined
  #tally = new Tally(0)
  #running: Promise<void> | undefined
  #stopped = false
  #stopping = false
  #waiting = false
  #abandoning = false
  readonly #abandoned = Promise.withResolvers<void>()
  #finishedMs: number | undefined
  #failure: unknown

  constructor(batch: BatchRecord, parts: WorkParts) {
    this.#batch = batch
    this.#parts = parts
  }

  get verdict(): Verdict | undefined {
    return this.#verdict
  }

  get tally(): Tally {
    return this.#tally
  }

  get stopped(): boolean {
    return this.#stopped
  }

  /** When the last line was answered. */
  get finishedMs(): number | undefined {
    return this.#finishedMs
  }

  /** What went wrong, if the work broke off: a full disk, for instance. */
  get failure(): unknown {
    return this.#failure
  }

  /** `recover`: only counts what is stored, for a batch that is not to be answered any more. */
  start(mode: 'answer' | 'recover'): void {
    this.#stopping ||= mode === 'recover'
    this.#running ??= this.#run()
      .catch((error: unknown) => {
        this.#failure = error
      })
      .finally(() => {
        this.#stopped = true
      })
  }

  /** No further line is asked; answers under way are waited for and kept. */
  stop(): void {
    this.#stopping = true
  }

  /** Stops without waiting for answers: their lines are left for a later process. */
  abandon(): void {
    this.#stopping = true
    this.#abandoning = true
    this.#abandoned.resolve()
  }

  /** Resolves when no more is written. Never rejects. */
  async ended(): Promise<void> {
    await this.#running
  }

  /** Lets the work run until `satisfied`, or until it has ended or waits for an answer from outside. */
  async settle(satisfied: () => boolean): Promise<void> {
    let idle = 0
    while (!this.#stopped && idle < PATIENCE_TURNS && !satisfied()) {
      const before = this.#tally.count
      await turn()
      idle = this.#waiting && this.#tally.count === before ? idle + 1 : 0
    }
  }

  async #run(): Promise<void> {
    this.#verdict = this.#known() ?? (await this.#parts.validate(this.#batch, this.#input()))
    if (this.#verdict.kind === 'invalid') return
    this.#tally = new Tally(this.#verdict.total)
    const output = await this.#parts.storage.openBlob(this.#batch.outputFileId)
    const errors = await this.#parts.storage.openBlob(this.#batch.errorFileId)
    try {
      const answered = new Set<string>()
      await this.#recover({ blob: output, name: this.#batch.outputFileId, ok: true }, answered)
      await this.#recover({ blob: errors, name: this.#batch.errorFileId, ok: false }, answered)
      await this.#answerAll(answered, { output, errors })
    } finally {
      await output.close()
      await errors.close()
    }
  }

  /** A batch that has left `validating` is not judged again. */
  #known(): Verdict | undefined {
    const { total, model = '' } = this.#batch
    return total === undefined ? undefined : { kind: 'valid', total, model, tokens: 0 }
  }

  #input(): AsyncGenerator<readonly string[]> {
    return linesOf(this.#parts.storage.readBlob(this.#batch.inputFileId))
  }

  /** Counts the whole lines that an earlier process stored, and cuts off one that was not finished. */
  async #recover({ blob, name, ok }: Stored, answered: Set<string>): Promise<void> {
    if (blob.size === 0) return
    let good = 0
    for await (const lines of linesOf(this.#parts.storage.readBlob(name))) {
      for (const text of lines) {
        const bytes = Buffer.byteLength(text) + 1
        const line = good + bytes <= blob.size ? readLine(text) : undefined
        if (!line) break
        good += bytes
        const added = ok ? { outputBytes: bytes, errorBytes: 0 } : { outputBytes: 0, errorBytes: bytes }
        if (line.isCopy) this.#tally.addBytes(added)
        else {
          answered.add(line.customId)
          this.#tally.add({ ...added, succeeded: line.succeeded, usage: line.usage })
        }
      }
    }
    await blob.truncate(good)
  }

  async #answerAll(answered: ReadonlySet<string>, sinks: Sinks): Promise<void> {
    for await (const block of this.#blocks(answered)) {
      if (this.#stopping) return
      await this.#answerBlock(block, sinks)
      await turn()
    }
    if (!this.#stopping) this.#finishedMs = this.#parts.clock.now()
  }

  async *#blocks(answered: ReadonlySet<string>): AsyncGenerator<readonly Entry[]> {
    let block: Entry[] = []
    let line = 0
    for await (const lines of this.#input()) {
      for (const text of lines) {
        line += 1
        const entry = readEntry(text, line)
        if (entry === undefined || answered.has(entry.customId)) continue
        block.push(entry)
        if (block.length < BLOCK_LINES) continue
        yield block
        block = []
      }
    }
    if (block.length > 0) yield block
  }

  async #answerBlock(block: readonly Entry[], sinks: Sinks): Promise<void> {
    const lines: (ResultLine | undefined)[] = block.map(() => undefined)
    const pending = new Set<Promise<void>>()
    const { endpoint } = this.#batch
    for (const [index, { customId, body, line }] of block.entries()) {
      if (this.#stopping) break
      const reply = this.#parts.answering({ endpoint, body, customId, line, via: 'batch' })
      if (!(reply instanceof Promise)) {
        lines[index] = answeredLine(customId, reply)
        continue
      }
      const arrival = reply.then((late) => {
        if (!this.#abandoning) lines[index] = answeredLine(customId, late)
        pending.delete(arrival)
      })
      pending.add(arrival)
      if (pending.size >= this.#parts.concurrency) await this.#await(Promise.race(pending))
    }
    if (pending.size > 0) await this.#await(Promise.all(pending))
    await this.#write(lines.filter((line) => line !== undefined).reverse(), sinks)
  }

  async #await(answers: Promise<unknown>): Promise<void> {
    this.#waiting = true
    try {
      await Promise.race([answers, this.#abandoned.promise])
    } finally {
      this.#waiting = false
    }
  }

  async #write(lines: readonly ResultLine[], { output, errors }: Sinks): Promise<void> {
    const texts = lines.map(textsOf)
    await output.append(texts.map((one) => one.output).join(''))
    await errors.append(texts.map((one) => one.errors).join(''))
    await this.#parts.attempts.flush()
    for (const [index, { succeeded, usage }] of lines.entries()) {
      const { output: inOutput = '', errors: inErrors = '' } = texts[index] ?? {}
      const [outputBytes, errorBytes] = [Buffer.byteLength(inOutput), Buffer.byteLength(inErrors)]
      this.#tally.add({ succeeded, outputBytes, errorBytes, usage })
    }
  }
}

/** What a line adds to either file. */
function textsOf({ ok, text, copy }: ResultLine): { readonly output: string; readonly errors: string } {
  const [own, other] = [`${text}\n`, copy === undefined ? '' : `${copy}\n`]
  return ok ? { output: own, errors: other } : { output: other, errors: own }
}

interface Sinks {
  readonly output: BlobWriter
  readonly errors: BlobWriter
}

interface Stored {
  readonly blob: BlobWriter
  readonly name: string
  readonly ok: boolean
}

interface Entry {
  readonly customId: string
  readonly body: ReturnType<typeof asObject>
  readonly line: number
}

/** A line that has been validated before; blank ones are none. */
function readEntry(text: string, line: number): Entry | undefined {
  const { custom_id: id, body } = asObject(parseJson(text))
  const customId = asString(id)
  return customId === undefined ? undefined : { customId, body: asObject(body), line }
}
