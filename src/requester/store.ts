import { join } from 'node:path'
import { RequestIndex } from '../batch/request-index.ts'
import { stepSchema } from '../batch/steps.ts'
import { initialState, type TaskState } from '../batch/task-state.ts'
import { StateError } from '../errors.ts'
import { CommitLog, type CommitLogOptions } from '../state/commit-log.ts'
import type { DiskSpace } from '../state/disk-space.ts'
import type { FileSystem } from '../state/file-system.ts'
import type { Tail } from '../state/group.ts'
import { Draft, type View } from './draft.ts'
import { replay } from './replay.ts'

export interface StoreOptions extends Omit<CommitLogOptions, 'onLine'> {
  /** Called after each group that has become durable. */
  readonly onDurable?: () => void
  /** Called after a group could not be written and was dropped. Whoever committed is told as well. */
  readonly onDropped?: (error: unknown) => void
  /** Called before a group that forgets side files is written; what it throws drops the group. */
  readonly beforeForget?: (store: TaskStore, suffixes: readonly string[]) => Promise<void>
}

/** A group with so many plans is written without waiting for more. */
const GROUP_PLANS = 1_000

interface Waiter {
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

/**
 * The task on disk and in memory. All changes pass through `commit`: plans are computed at once, one on another, on
 * `head`; groups of them become durable one after the other; only then do they show in `durable`. What acts on the
 * outside world reads `durable`; what must take its own unfinished work into account reads `head`.
 *
 * A group that cannot be written is dropped together with the plans built on it, and their promises are rejected.
 */
export class TaskStore {
  readonly #log: CommitLog
  readonly #options: StoreOptions
  readonly #index: RequestIndex
  #state: TaskState
  #writing: Draft | undefined
  #open: Draft
  #waiters: Waiter[] = []
  #flushing: Promise<void> | undefined

  private constructor(options: StoreOptions, log: CommitLog, index: RequestIndex, state: TaskState) {
    this.#options = options
    this.#log = log
    this.#index = index
    this.#state = state
    this.#open = this.#newDraft()
  }

  static async open(options: StoreOptions): Promise<TaskStore> {
    const index = new RequestIndex()
    let state = initialState
    const log = await CommitLog.open({
      ...options,
      onLine: (line) => {
        state = replay(state, index, line, `${options.name}_ledger.jsonl`)
      },
    })
    return new TaskStore(options, log, index, state)
  }

  get durable(): View {
    return { state: this.#state, requests: this.#index }
  }

  get head(): View {
    return this.#open
  }

  /** Something is not durable yet, so `durable` will still change. */
  get isWriting(): boolean {
    return this.#writing !== undefined || !this.#open.isEmpty
  }

  /** Ledger lines written so far. */
  get seq(): number {
    return this.#log.seq
  }

  /** Side files that are longer than the ledger says, of the kinds whose whole lines count all the same. */
  get tails(): ReadonlyMap<string, Tail> {
    return this.#log.tails
  }

  /** Suffixes of all side files that the ledger names. */
  get sideFiles(): readonly string[] {
    return [...this.#log.lengths.keys()]
  }

  /** Room on the disk that the task is on. */
  get space(): DiskSpace {
    return this.#log.space
  }

  /** Throws when this process may not write any more: for files that are written outside a commit. */
  readonly guard: () => void = () => this.#options.guard()

  get fs(): FileSystem {
    return this.#options.fs
  }

  /** Durable length of a side file in bytes; 0 when there is none. */
  length(file: string): number {
    return this.#log.length(file)
  }

  /** Where a side file is, given its suffix. */
  path(file: string): string {
    return join(this.#options.directory, this.#options.name + file)
  }

  /**
   * Runs `plan` at once on the draft, and resolves with what it returned when its group is durable. A plan must find
   * fault before its first step: it cannot be taken back alone.
   */
  commit<Result>(plan: (draft: Draft) => Result): Promise<Result> {
    // The plan is let go of here: with it everything it was made from would be kept until its group is durable.
    try {
      return this.#durably(plan(this.#open))
    } catch (error) {
      return Promise.reject(error)
    }
  }

  async #durably<Result>(result: Result): Promise<Result> {
    if (!this.#open.isEmpty) {
      await new Promise<void>((resolve, reject) => {
        this.#waiters.push({ resolve, reject })
        this.#flushing ??= this.#flush()
      })
    }
    return result
  }

  /** Resolves when nothing is waiting to be written. Rejects with nothing: whoever committed is told. */
  async settled(): Promise<void> {
    await this.#flushing
  }

  /** The `meta` a request was given, read back from its ledger line. */
  async meta(request: number): Promise<unknown> {
    const { metaAt } = this.#index.identity(request)
    if (metaAt === undefined) return undefined
    const { steps } = await this.#log.readLine(metaAt)
    for (const raw of steps) {
      const step = stepSchema.parse(raw)
      if (step.kind !== 'add') continue
      const offset = request - step.first
      if (offset >= 0 && offset < step.keys.length) return step.metas?.[offset]
    }
    throw new StateError(
      'ledger_corrupt',
      `the ledger line at byte ${metaAt} does not hold the meta of request ${request}`,
    )
  }

  async close(): Promise<void> {
    await this.settled()
    await this.#log.close()
  }

  /** A file of which only a tail was found has no length in the ledger yet, but is the task's all the same. */
  #knownLength(file: string): number | undefined {
    return this.#log.lengths.get(file) ?? (this.#log.tails.has(file) ? 0 : undefined)
  }

  #newDraft(): Draft {
    const below = this.#writing
    const length = (file: string) => (below ? below.knownLength(file) : this.#knownLength(file))
    return new Draft(below ?? this.durable, length)
  }

  async #flush(): Promise<void> {
    while (!this.#open.isEmpty) {
      await this.#gather()
      const draft = this.#open
      const waiters = this.#waiters
      this.#writing = draft
      this.#waiters = []
      this.#open = this.#newDraft()
      try {
        const group = draft.group()
        if (group.forget.length > 0) await this.#options.beforeForget?.(this, group.forget)
        const { offset } = await this.#log.commit(group)
        this.#adopt(draft, offset)
        for (const waiter of waiters) waiter.resolve()
        this.#options.onDurable?.()
      } catch (error) {
        this.#drop(waiters, error)
        this.#options.onDropped?.(error)
      }
    }
    this.#flushing = undefined
  }

  /** Plans come in bursts, and a group costs the same with one as with a thousand: waits while the burst goes on. */
  async #gather(): Promise<void> {
    let plans: number
    do {
      plans = this.#waiters.length
      await new Promise((resolve) => setImmediate(resolve))
    } while (this.#waiters.length > plans && this.#waiters.length < GROUP_PLANS)
  }

  #adopt(draft: Draft, offset: number): void {
    draft.requests.mergeInto(this.#index, offset)
    this.#state = draft.state
    this.#writing = undefined
    this.#open.rebase(this.#index, (file) => this.#knownLength(file))
  }

  #drop(waiters: readonly Waiter[], error: unknown): void {
    const builtOnIt = this.#waiters
    this.#waiters = []
    this.#writing = undefined
    this.#open = this.#newDraft()
    for (const waiter of [...waiters, ...builtOnIt]) waiter.reject(error)
  }
}
