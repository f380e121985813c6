import { NightshiftError, RemoteError } from '../../errors.ts'
import type { DurableJson } from '../../state/durable-json.ts'
import type { Clock } from '../../util/clock.ts'
import { assertNever } from '../../util/exhaustive.ts'
import { Notifier } from '../../util/notifier.ts'
import { foldRow } from '../history-row.ts'
import { type RunPath, runUrl, type ServerRun, type WandbApi } from './api.ts'
import {
  backoffMs,
  type Ending,
  MAX_POST_BYTES,
  MAX_POST_LINES,
  nextStep,
  planStart,
  type SenderTiming,
  type SenderView,
  type Step,
} from './decide.ts'
import { begun, type DeliveryState, newDelivery, type RunWishes, randomRunId } from './delivery-state.ts'
import type { HistoryFile, HistoryPiece } from './history-file.ts'
import type { News } from './messages.ts'
import { rowsOf, shifted, summaryOf } from './post-content.ts'

export interface SenderOptions {
  readonly api: WandbApi
  readonly history: HistoryFile
  /** Open for this sender alone. */
  readonly file: DurableJson<DeliveryState>
  readonly wishes: RunWishes
  readonly timing: SenderTiming
  readonly clock: Clock
  /** From 0 to below 1. */
  readonly random: () => number
  /** Throws when this process may not send any more; called before each call that changes something. */
  readonly guard: () => void
  readonly tell: (news: News) => void
  /** Ends the calls that `api` has under way; the sender aborts it when its time is over. */
  readonly cut: AbortController
  /** Once told to end, it gives up after so many failures in a row. Default: never. */
  readonly maxFailures?: number | undefined
}

export type SenderEnd = Extract<Step, { do: 'stop' }>['why']

/** A single slip is no trouble: so many in a row are. */
const FAILURES_TO_TELL = 3
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
      const message = `W&B run ${left.runId} was made for other settings (${left.baseUrl}, ${left.wantedProject}): the history goes to a new run, from its first line on`
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
    const ms = untilMs - clock.now()
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
    const { clock, timing, random, tell } = this.#options
    this.#lastError = error
    this.#failures++
    const isLost = doing !== 'attach' && LOST_THE_RUN.has(error.code)
    if (isLost) this.#isAttached = false
    this.#isRefused = !isLost && !error.retryable
    const wait = this.#isRefused ? timing.refusedMs : backoffMs(this.#failures, timing, random())
    this.#retryAtMs = clock.now() + Math.max(wait, error.retryAfterMs ?? 0)
    if (!this.#isRefused && this.#failures < FAILURES_TO_TELL) return
    if (this.#told.has(error.code)) return
    this.#told.add(error.code)
    const comfort = 'the run goes on, and nothing of its history is lost'
    tell({ news: 'trouble', code: error.code, message: `${error.message}; ${comfort}` })
  }

  /** Looks at what the server has of the run, makes it if it is not there, and decides where to go on. */
  async #attach(): Promise<void> {
    const { api, file, wishes, clock, tell } = this.#options
    const entity = this.#state.entity ?? wishes.entity ?? (await api.defaultEntity())
    const server = await api.runStatus({ ...this.#path(), entity })
    await this.#plan(server)
    const { state, path } = await this.#upsert(entity)
    await file.write({ ...state, ...path })
    this.#isAttached = true
    this.#heardMs = Math.min(this.#heardMs, clock.now() - this.#options.timing.paceMs)
    tell({ news: 'run', url: runUrl(wishes.baseUrl, path) })
  }

  #path(): RunPath {
    const { entity, project, wantedEntity, wantedProject, runId } = this.#state
    return { entity: entity ?? wantedEntity, project: project ?? wantedProject, runId }
  }

  async #plan(server: ServerRun | undefined): Promise<void> {
    const { file, history } = this.#options
    const state = this.#state
    const isSame = await this.#isSameFile(state)
    // All that is in the file: what was sent of it by a sender before may not have been told to this one yet.
    const size = await history.size()
    const lines = isSame ? state.ackedLines + (await history.count(state.ackedBytes, size)) : 0
    const plan = planStart(state, server, { lines, isSame })
    if (plan.do === 'renew') return this.#renew(plan.why)
    const { fromLine, baseLine, baseStep } = plan
    const isBack = fromLine < state.ackedLines
    const ackedBytes = isBack ? await history.offsetOf(fromLine, size) : state.ackedBytes
    // To look at a run makes it run again at the server: its end must be told anew.
    const { ended: _, ...rest } = state
    await file.write({ ...rest, baseLine, baseStep, ackedLines: fromLine, ackedBytes })
  }

  async #isSameFile({ ackedBytes, firstLine }: DeliveryState): Promise<boolean> {
    const { history } = this.#options
    if (!(await history.endsLineAt(ackedBytes))) return false
    return firstLine === undefined || firstLine === (await history.firstLine())
  }

  /** Goes on with a run of another id, which gets all lines. */
  async #renew(why: string): Promise<void> {
    const { file, wishes, tell } = this.#options
    const { runId, wantedRunId } = this.#state
    const next = newDelivery(wishes, randomRunId())
    await file.write(wantedRunId === undefined ? next : { ...next, wantedRunId })
    const message = `W&B run ${runId} is left as it is (${why}); the whole history goes to a new run, ${next.runId}`
    tell({ news: 'trouble', code: 'wandb_new_run', message })
  }

  /** An id that was deleted cannot be used again. */
  async #upsert(entity: string | undefined) {
    const { api } = this.#options
    const upsert = () => {
      const state = this.#state
      return api.upsertRun({ ...this.#path(), entity: state.entity ?? entity }, state)
    }
    const made = (path: Awaited<ReturnType<typeof upsert>>) => ({ state: this.#state, path })
    try {
      return made(await upsert())
    } catch (error) {
      if (!(error instanceof RemoteError && error.code === 'wandb_run_deleted')) throw error
      await this.#renew('it was deleted, and W&B does not let its id be used again')
      return made(await upsert())
    }
  }

  async #post(): Promise<void> {
    const { history, file } = this.#options
    const state = this.#state
    const limits = { lines: MAX_POST_LINES, bytes: MAX_POST_BYTES }
    const piece = await history.read(state.ackedBytes, this.#durableBytes, limits)
    if (piece.lines.length === 0) {
      // What is left is a line that was never finished.
      this.#durableBytes = state.ackedBytes
      return
    }
    const next = await this.#after(state, piece)
    await this.#send({
      history: { offset: state.baseLine + state.ackedLines, lines: shifted(piece.lines, state.baseStep) },
      summary: JSON.stringify(summaryOf(next, piece)),
    })
    await file.write(next)
    this.#isBehind = piece.lines.length === MAX_POST_LINES
    this.#options.tell({ news: 'acked', lines: next.ackedLines, bytes: next.ackedBytes })
  }

  async #after(state: DeliveryState, piece: HistoryPiece): Promise<DeliveryState> {
    const { ended: _, ...rest } = state
    const firstLine = state.firstLine ?? (await this.#options.history.firstLine())
    return {
      ...rest,
      ackedLines: state.ackedLines + piece.lines.length,
      ackedBytes: piece.endBytes,
      summary: rowsOf(piece).reduce(foldRow, state.summary),
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
