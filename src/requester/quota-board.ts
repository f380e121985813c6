import { z } from 'zod'
import {
  EMPTY_BOARD,
  hold,
  type LimitSource,
  learn,
  learnAll,
  limitOf,
  type NoRoom,
  onlyOf,
  type QuotaBoard,
  type Reservation,
  release,
  reserve,
  reservedOf,
  standInLine,
} from '../batch/quota.ts'
import { NightshiftError } from '../errors.ts'
import { type FileSystem, nodeFileSystem } from '../state/file-system.ts'
import { SharedJson } from '../state/shared-json.ts'
import type { Clock } from '../util/clock.ts'

export interface QuotaFileOptions {
  /** Shared by all tasks of an account; undefined: what this process knows stays with it. */
  readonly path: string | undefined
  readonly clock: Clock
  /** How long another process may hold the file, in milliseconds of real time. Default: 5000. */
  readonly waitMs?: number | undefined
  /** Name of the task, for people and to know its own batches by. */
  readonly task: string
  /** Default: the disk. */
  readonly fs?: FileSystem | undefined
  /** Is told when the file was damaged and begun anew, and once when it cannot be used. */
  readonly onTrouble?: ((message: string) => void) | undefined
}

const limitSchema = z.object({
  tokens: z.int().positive(),
  learnedAt: z.number(),
  source: z.enum(['refusal', 'admin']),
})

const reservationSchema = z.object({
  pool: z.string(),
  tokens: z.int().nonnegative(),
  at: z.number(),
  task: z.string(),
})

const waitingSchema = z.object({ pool: z.string(), task: z.string(), since: z.number(), at: z.number() })

const boardSchema = z.object({
  version: z.literal(1),
  models: z.record(z.string(), limitSchema),
  reservations: z.record(z.string(), reservationSchema),
  waiting: z.record(z.string(), waitingSchema).default({}),
})

/** How long a process that could not use the file goes on alone before it tries again. */
const ALONE_MS = 60_000

type Change = (board: QuotaBoard) => QuotaBoard

/** What came of a step. `again` makes the same change on another board, without deciding anew. */
interface Step<Answer> {
  readonly data: QuotaBoard
  readonly answer: Answer
  readonly again?: Change
}

/**
 * The room that tasks of one account share among them, in a file. It is advice, so it stops nothing: while the file
 * cannot be used, this process goes on alone, and brings in what it did once the file can be used again. No method
 * rejects on account of the file.
 */
export class QuotaFile {
  readonly #task: string
  readonly #clock: Clock
  readonly #file: SharedJson<QuotaBoard> | undefined
  readonly #onTrouble: QuotaFileOptions['onTrouble']
  #board: QuotaBoard = EMPTY_BOARD
  /** Made while alone. */
  #unshared: readonly Change[] = []
  #aloneSince: number | undefined
  #toldTrouble = false
  #last: Promise<unknown> = Promise.resolve()

  constructor({ path, clock, waitMs, task, fs = nodeFileSystem, onTrouble }: QuotaFileOptions) {
    this.#task = task
    this.#clock = clock
    this.#onTrouble = onTrouble
    if (path === undefined) return
    const onDamaged = (message: string) => onTrouble?.(message)
    const format = { schema: boardSchema, version: 1, empty: EMPTY_BOARD }
    this.#file = new SharedJson<QuotaBoard>({ fs, path, waitMs, onDamaged, ...format })
  }

  /** Prompt tokens that a model may have enqueued, as last known here; undefined when that is unknown. No I/O. */
  capOf(model: string): number | undefined {
    return limitOf(this.#board, model, this.#clock.now())
  }

  /** Prompt tokens that all batches of a model's pool hold, as last known here. No I/O. */
  reservedOf(model: string): number {
    return reservedOf(this.#board, model, this.#clock.now())
  }

  /** What a tag holds, as last known here. No I/O. */
  reservation(tag: string): Reservation | undefined {
    return Object.hasOwn(this.#board.reservations, tag) ? this.#board.reservations[tag] : undefined
  }

  /** Everything that is held, by tags, as last known here. No I/O. */
  get reservations(): QuotaBoard['reservations'] {
    return this.#board.reservations
  }

  /** Whether this task holds what a tag holds. */
  isOwn({ task }: Reservation): boolean {
    return task === this.#task
  }

  /** Looks at the file, so that `capOf` knows what others learned. */
  load(): Promise<void> {
    return this.#inTurn(() =>
      this.#withFile(
        async (file) => {
          this.#board = this.#caughtUp(await file.read())
        },
        () => undefined,
      ),
    )
  }

  /**
   * Takes room for a batch of so many prompt tokens, under its tag. Asking again for the same tag is safe. When
   * `tokens` is more than `limit`, the batch cannot fit at all. Else a task that got none stands in line for as long
   * as it keeps asking.
   */
  reserve(tag: string, model: string, tokens: number): Promise<{ readonly ok: true } | NoRoom> {
    const request = { tag, model, tokens, task: this.#task, now: this.#clock.now() }
    return this.#take<{ readonly ok: true } | NoRoom>((board) => {
      const answer = reserve(board, request)
      if (!answer.ok) return { data: tokens > answer.limit ? board : standInLine(board, request), answer }
      return { data: answer.board, answer: { ok: true }, again: (other) => hold(other, request) }
    })
  }

  /** Notes a batch without asking whether there is room for it. */
  note(tag: string, model: string, tokens: number): Promise<void> {
    const request = { tag, model, tokens, task: this.#task, now: this.#clock.now() }
    return this.#change((board) => hold(board, request))
  }

  /** Gives back what batches held that have ended, whichever task they were of. */
  release(tags: Iterable<string>): Promise<void> {
    const ended = [...tags]
    return ended.length === 0 ? Promise.resolve() : this.#change((board) => release(board, ended))
  }

  /** Notes a limit, in prompt tokens. The newest word counts. */
  learn(model: string, tokens: number, source: LimitSource): Promise<void> {
    const lesson = { model, tokens, source, now: this.#clock.now() }
    return this.#change((board) => learn(board, lesson))
  }

  /** Notes many limits at once, by model. */
  learnAll(limits: ReadonlyMap<string, number>, source: LimitSource): Promise<void> {
    const lesson = { source, now: this.#clock.now() }
    return this.#change((board) => learnAll(board, limits, lesson))
  }

  #change(change: Change): Promise<void> {
    return this.#take((board) => ({ data: change(board), answer: undefined, again: change }))
  }

  #take<Answer>(step: (board: QuotaBoard) => Step<Answer>): Promise<Answer> {
    return this.#inTurn(() =>
      this.#withFile(
        (file) => this.#takeShared(file, step),
        () => this.#takeAlone(step),
      ),
    )
  }

  async #takeShared<Answer>(
    file: SharedJson<QuotaBoard>,
    step: (board: QuotaBoard) => Step<Answer>,
  ): Promise<Answer> {
    const { data, answer } = await file.update((shared) => step(this.#caughtUp(shared)))
    this.#board = data
    this.#unshared = []
    return answer
  }

  #caughtUp(shared: QuotaBoard): QuotaBoard {
    return this.#unshared.reduce((board, change) => change(board), shared)
  }

  #takeAlone<Answer>(step: (board: QuotaBoard) => Step<Answer>): Answer {
    const { data, answer, again } = step(this.#board)
    this.#board = data
    if (this.#file && again) this.#unshared = [...this.#unshared, again]
    return answer
  }

  /** Acts on the file, or without it when there is none or it cannot be used. */
  async #withFile<Answer>(
    act: (file: SharedJson<QuotaBoard>) => Promise<Answer>,
    alone: () => Answer,
  ): Promise<Answer> {
    if (!this.#file || this.#isAlone()) return alone()
    try {
      const answer = await act(this.#file)
      this.#aloneSince = undefined
      return answer
    } catch (error) {
      if (!NightshiftError.is(error)) throw error
      this.#goAlone(error)
      return alone()
    }
  }

  #isAlone(): boolean {
    // A clock that was set back must not make it longer.
    return this.#aloneSince !== undefined && Math.abs(this.#clock.now() - this.#aloneSince) < ALONE_MS
  }

  /** What others hold is forgotten: alone, nobody would ever say that it has been given back. */
  #goAlone({ message }: NightshiftError): void {
    this.#aloneSince = this.#clock.now()
    this.#board = onlyOf(this.#board, this.#task)
    if (this.#toldTrouble) return
    this.#toldTrouble = true
    this.#onTrouble?.(
      `the count of enqueued tokens is not shared with other tasks, since its file cannot be used: ${message} ` +
        'The run goes on by its own count, and tries the file again every minute.',
    )
  }

  /** One after another: this process does not wait for its own lock. */
  #inTurn<Answer>(act: () => Promise<Answer>): Promise<Answer> {
    const taken = this.#last.then(act)
    // A failure is its caller's; the next one must not fail with it.
    this.#last = taken.catch(() => undefined)
    return taken
  }
}
