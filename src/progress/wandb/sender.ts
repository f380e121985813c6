import { NightshiftError, RemoteError } from '../../errors.ts'
import type { Clock } from '../../util/clock.ts'
import { assertNever } from '../../util/exhaustive.ts'
import { Notifier } from '../../util/notifier.ts'
import { foldRow, type HistoryRow } from '../history-row.ts'
import { runUrl, type WandbApi } from './api.ts'
import { type AttachOptions, attachRun } from './attach.ts'
import { backoffMs, type Ending, nextStep, type SenderTiming, type SenderView, type Step } from './decide.ts'
import { begun, type DeliveryState, newDelivery } from './delivery-state.ts'
import type { HistoryPiece } from './history-file.ts'
import { placeholder, rowsOf, shifted, summaryOf } from './post-content.ts'
import { PostSize, type PostSizeOptions } from './post-size.ts'

/** `file` is open for this sender alone. */
export interface SenderOptions extends AttachOptions, PostSizeOptions {
  readonly timing: SenderTiming
  readonly clock: Clock
  /** From 0 to below 1. */
  readonly random: () => number
  /** Throws when this process may not send any more; called before each call that changes something. */
  readonly guard: () => void
  /** Ends the calls that `api` has under way; the sender aborts it when its time is over. */
  readonly cut: AbortController
  /** Once told to end, it gives up after so many failures in a row. Default: never. */
  readonly maxFailures?: number | undefined
  /** Default: three failures, and that the run goes on. */
  readonly telling?: Telling | undefined
}

/** When trouble is told, and what is added to it. */
export interface Telling {
  /** So many failures in a row, when trying again may help. */
  readonly failures: number
  readonly comfort: string
}

export type SenderEnd = Extract<Step, { do: 'stop' }>['why']

/** A single slip is no trouble: several in a row are. */
const TELLING: Telling = { failures: 3, comfort: 'the run goes on, and nothing of its history is lost' }
/** The run is gone, or what it has is not what we think: look at it anew. */
const LOST_THE_RUN = new Set(['wandb_conflict', 'wandb_not_found', 'wandb_run_deleted'])

/**
 * Delivers the lines of a history file to a W&B run, each at the place it has in the file, and remembers what arrived.
 * A post whose answer was lost is sent again as it was, which changes nothing; so every line arrives exactly once.
 *
 * `detached` -- run looked up and made --> `attached` -- 404, 409 ... --> `detached`; failures wait and stay where they
 * are. `end` and `drain` lead to the end of `run` from both.
 */
export class WandbSender {
  readonly #options: SenderOptions
  readonly #changed = new Notifier()
  readonly #size: PostSize
  readonly #told = new Set<string>()
  #durableBytes = 0
  #ending: Ending | undefined
  #deadlineMs = Number.POSITIVE_INFINITY
  #isAttached = false
  #heardMs: number
  #retryAtMs = 0
  #failures = 0
  #isRefused = false
  #isBehind = false
  #lastError: unknown

  constructor(options: SenderOptions) {
    this.#options = options
    this.#size = new PostSize(options)
    this.#heardMs = options.clock.now()
  }

  /** What kept the last call from succeeding; undefined when it succeeded. */
  get lastError(): unknown {
    return this.#lastError
  }

  /** So many bytes of the history file may be sent; never fewer than before. */
  durable(bytes: number): void {
    this.#durableBytes = Math.max(this.#durableBytes, bytes)
    this.#changed.notify()
  }

  /** Sends the rest and tells W&B how the run ended, then `run` resolves. */
  end(exitCode: number): void {
    this.#end({ kind: 'exit', exitCode })
  }

  /** Sends the rest; W&B is not told that the run ended, and will show it as crashed. */
  drain(): void {
    if (!this.#ending) this.#end({ kind: 'silent' })
  }

  /** Ends `run` after this time, whatever is left. */
  stopWithin(ms: number): void {
    const { clock, cut } = this.#options
    this.#deadlineMs = Math.min(this.#deadlineMs, clock.now() + ms)
    this.#changed.notify()
    void clock.sleep(ms, cut.signal, { background: true }).then(() => cut.abort())
  }

  /**
   * Sends until told to end. Throws what trying again cannot mend: LockError when another process took over, StateError
   * when the history file cannot be read or the state cannot be written.
   */
  async run(): Promise<SenderEnd> {
    await this.#begin()
    for (;;) {
      const changed = this.#changed.wait()
      const step = nextStep(this.#view(), this.#options.timing)
      if (step.do === 'stop') return step.why
      if (step.do === 'wait') await this.#sleep(step.untilMs, changed)
      else await this.#try(step)
    }
  }

  #end(ending: Ending): void {
    this.#ending = ending
    // It may be the last moment to get through.
    this.#retryAtMs = 0
    this.#changed.notify()
  }

  get #state(): DeliveryState {
    return this.#options.file.data ?? newDelivery(this.#options.wishes, '')
  }

  /** The run to send to, durable before the first call. */
  async #begin(): Promise<void> {
    const { file, wishes, tell } = this.#options
    const { state, left } = begun(file.data, wishes)
    if (left?.entity !== undefined) {
      const message = `W&B run ${left.runId} was made for other settings (${left.baseUrl}, ${left.wantedProject}): the history goes to run ${state.runId}, as far as it is not there yet`
      tell({ news: 'trouble', code: 'wandb_new_run', message })
    }
    await file.write(state)
  }

  #view(): SenderView {
    const { ackedLines, ackedBytes, ended } = this.#state
    return {
      nowMs: this.#options.clock.now(),
      isAttached: this.#isAttached,
      ackedLines,
      ackedBytes,
      durableBytes: this.#durableBytes,
      heardMs: this.#heardMs,
      retryAtMs: this.#retryAtMs,
      isRefused: this.#isRefused,
      failures: this.#failures,
      maxFailures: this.#options.maxFailures ?? Number.POSITIVE_INFINITY,
      isBehind: this.#isBehind,
      ending: this.#ending,
      ended,
      deadlineMs: this.#deadlineMs,
    }
  }

  async #sleep(untilMs: number, changed: Promise<void>): Promise<void> {
    const { clock } = this.#options
    const awake = new AbortController()
    const ms = Math.max(0, untilMs - clock.now())
    await Promise.race([changed, clock.sleep(ms, awake.signal)])
    awake.abort()
  }

  async #try(step: Exclude<Step, { do: 'wait' | 'stop' }>): Promise<void> {
    try {
      await this.#act(step)
      // A run that can be looked up, but not posted to, is no success.
      if (step.do !== 'attach') this.#failures = 0
      this.#isRefused = false
      this.#lastError = undefined
    } catch (error) {
      if (!(error instanceof RemoteError)) throw error
      this.#failed(error, step.do)
    }
  }

  #act(step: Exclude<Step, { do: 'wait' | 'stop' }>): Promise<void> {
    this.#options.guard()
    switch (step.do) {
      case 'attach':
        return this.#attach()
      case 'post':
        return this.#post()
      case 'heartbeat':
        return this.#send({})
      case 'complete':
        return this.#complete(step.exitCode)
      default:
        return assertNever(step)
    }
  }

  #failed(error: RemoteError, doing: Step['do']): void {
    const { clock, timing, random, tell, telling = TELLING } = this.#options
    this.#lastError = error
    this.#failures++
    const isLost = doing !== 'attach' && LOST_THE_RUN.has(error.code)
    if (isLost) this.#isAttached = false
    this.#isRefused = !isLost && !error.retryable
    const wait = this.#isRefused ? timing.refusedMs : backoffMs(this.#failures, timing, random())
    this.#retryAtMs = clock.now() + Math.max(wait, error.retryAfterMs ?? 0)
    if (!this.#isRefused && this.#failures < telling.failures) return
    if (this.#told.has(error.code)) return
    this.#told.add(error.code)
    tell({ news: 'trouble', code: error.code, message: `${error.message}; ${telling.comfort}` })
  }

  async #attach(): Promise<void> {
    const { wishes, clock, timing, tell } = this.#options
    const path = await attachRun(this.#options, this.#state)
    this.#isAttached = true
    this.#heardMs = Math.min(this.#heardMs, clock.now() - timing.paceMs)
    tell({ news: 'run', url: runUrl(wishes.baseUrl, path) })
  }

  async #post(): Promise<void> {
    const { history, file } = this.#options
    const state = this.#state
    const toBytes = this.#durableBytes
    const piece = await history.read(state.ackedBytes, toBytes, this.#size.limits)
    if (piece.lines.length === 0) {
      // What is left is a line that was never finished.
      this.#durableBytes = state.ackedBytes
      return
    }
    const isFit = this.#size.mayBeSent(state, piece)
    const lines = isFit ? piece.lines : piece.lines.map((line) => placeholder(line, state.ackedLines))
    // What the server does not take in a line it would not take in the summary either.
    const rows = rowsOf(lines)
    const next = await this.#after(state, piece, rows)
    try {
      await this.#send({
        history: { offset: state.baseLine + state.ackedLines, lines: shifted(lines, state.baseStep) },
        summary: JSON.stringify(summaryOf(next, rows)),
      })
    } catch (error) {
      if (!(error instanceof RemoteError && this.#size.isSmallerAfter(error, state, piece))) throw error
      return
    }
    await file.write(next)
    this.#size.taken(state, piece)
    this.#isBehind = next.ackedBytes < toBytes
    this.#options.tell({ news: 'acked', lines: next.ackedLines, bytes: next.ackedBytes })
  }

  async #after(
    state: DeliveryState,
    piece: HistoryPiece,
    rows: readonly HistoryRow[],
  ): Promise<DeliveryState> {
    const { ended: _, ...rest } = state
    const firstLine = state.firstLine ?? (await this.#options.history.firstLine())
    return {
      ...rest,
      ackedLines: state.ackedLines + piece.lines.length,
      ackedBytes: piece.endBytes,
      summary: rows.reduce(foldRow, state.summary),
      ...(firstLine !== undefined && { firstLine }),
    }
  }

  async #complete(exitCode: number): Promise<void> {
    const { file } = this.#options
    await this.#send({ exitCode })
    await file.write({ ...this.#state, ended: { lines: this.#state.ackedLines, exitCode } })
  }

  async #send(post: Parameters<WandbApi['post']>[1]): Promise<void> {
    const { api, clock } = this.#options
    const { entity, project, runId } = this.#state
    if (entity === undefined || project === undefined)
      throw new NightshiftError('wandb_not_attached', 'the run was not looked up before it was posted to')
    await api.post({ entity, project, runId }, post)
    this.#heardMs = clock.now()
  }
}
