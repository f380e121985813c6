import { type Context, requestCounts } from './context.ts'
import type { Engine } from './engine.ts'
import { type NewRequest, type PrepareOptions, prepareRequest } from './prepare.ts'
import { enqueueDirect, enqueueNew, type PreparedRequest, type Refused } from './queue.ts'
import { RequestWindow, twoBodies } from './request-window.ts'
import type { Reuse } from './reuse.ts'

/** `added`; `known`: the key was committed before; `stopped`: nothing more is taken, because of a limit or a signal. */
export type AddOutcome = 'added' | 'known' | 'stopped'

export interface IntakeOptions {
  readonly context: Context
  readonly prepare: PrepareOptions
  /** Where answers that are there already come from; undefined when none are to be used. */
  readonly reuse: Reuse | undefined
  readonly engine: () => Engine
  /** Starts sending whatever is ready to be sent. */
  readonly push: () => void
}

/** The way in: requests are checked, collected, and committed together, as fast as the queue has room for them. */
export class Intake {
  readonly #options: IntakeOptions
  readonly #window = new RequestWindow()
  #committing: Promise<void> = Promise.resolve()
  #holds = 0
  #passes = 0
  #cutShort = false

  constructor(options: IntakeOptions) {
    this.#options = options
  }

  /** Keys that were given another body than in an earlier run; their first body stays in force. */
  get changedBodies(): number {
    return this.#window.changedBodies
  }

  /** There may be more requests than those that were taken before the deadline. */
  get isCutShort(): boolean {
    return this.#cutShort
  }

  /** Requests that were added and are not on their way to the disk yet. */
  get uncommitted(): number {
    return this.#window.size
  }

  /** How often it was held so far. */
  get passes(): number {
    return this.#passes
  }

  /** More requests may come. */
  get isHeld(): boolean {
    return this.#holds > 0
  }

  hold(): () => Promise<void> {
    this.#holds++
    this.#passes++
    this.#window.beginPass()
    let held = true
    return async () => {
      if (!held) return
      held = false
      try {
        if (!this.#isStopping) await this.commit()
      } finally {
        this.#holds--
        this.#options.engine().notify()
      }
    }
  }

  async add(request: NewRequest): Promise<AddOutcome> {
    if (this.#isStopping) return 'stopped'
    const { context, prepare } = this.#options
    const prepared = prepareRequest(request, prepare)
    if (this.#window.isKnown(prepared, context.store.head.requests)) return 'known'
    if (this.#isOver()) return 'stopped'
    this.#window.add(this.#measured(prepared))
    if (!this.#window.isFull) return 'added'
    await this.commit()
    return (await this.#room()) ? 'added' : 'stopped'
  }

  /** Makes the requests added so far durable. */
  async commit(): Promise<void> {
    this.#committing = this.#committing.then(() => this.#commitWindow())
    await this.#committing
  }

  /** Resolves when nothing is being committed, whether it went well or not: whoever asked for it has been told. */
  async settled(): Promise<void> {
    await Promise.allSettled([this.#committing])
  }

  /** Commits requests of their own, to be sent directly. */
  async direct(requests: readonly NewRequest[]): Promise<void> {
    const { context, reuse } = this.#options
    const { store, valuer } = context
    await valuer.sample(this.#fresh(requests))
    // Once more, and nothing is awaited from here to the commit: another call may have brought the same keys meanwhile.
    const all = this.#fresh(requests)
    const found = reuse?.find(all, Number.POSITIVE_INFINITY)
    const refused: Refused[] = []
    await store.commit((draft) => {
      const enqueue = (some: readonly PreparedRequest[]) =>
        void refused.push(...enqueueDirect(draft, some, valuer))
      if (reuse && found) reuse.add(draft, found, enqueue)
      else enqueue(all)
    })
    this.#tellRefused(refused)
  }

  #tellRefused(refused: readonly Refused[]): void {
    const { emit } = this.#options.context
    for (const { key, reason } of refused) emit({ kind: 'request-failed', key, reason, final: true })
  }

  /** Those of `requests` whose keys are new, each once. */
  #fresh(requests: readonly NewRequest[]): PreparedRequest[] {
    const { context, prepare } = this.#options
    const fresh = new Map<string, PreparedRequest>()
    for (const request of requests) {
      const prepared = prepareRequest(request, prepare)
      if (this.#window.isKnown(prepared, context.store.head.requests)) continue
      if ((fresh.get(prepared.key)?.hash ?? prepared.hash) !== prepared.hash) throw twoBodies(prepared.key)
      fresh.set(prepared.key, this.#measured(prepared))
    }
    return [...fresh.values()]
  }

  #measured(prepared: PreparedRequest): PreparedRequest {
    const { valuer } = this.#options.context
    const measured = valuer.measured(prepared)
    valuer.check(measured)
    return measured
  }

  async #commitWindow(): Promise<void> {
    while (!this.#window.isEmpty) await this.#commitSome()
  }

  /** Commits the window, or as much of it as answers to it can be held in memory. */
  async #commitSome(): Promise<void> {
    const { reuse, context } = this.#options
    await context.valuer.sample(this.#window.requests)
    // Nothing is awaited from here to the commit: what is found is right for this moment only.
    const found = reuse?.find(this.#window.requests)
    const requests = this.#window.take(found && found.fresh.length + found.answered.length)
    const refused: Refused[] = []
    const { first, last } = await context.store.commit((draft) => {
      const first = draft.requests.last + 1
      const enqueue = (some: readonly PreparedRequest[]) =>
        void refused.push(...enqueueNew(draft, some, context.valuer))
      if (reuse && found) reuse.add(draft, found, enqueue)
      else enqueue(requests)
      return { first, last: draft.requests.last }
    })
    for (let request = first; request <= last; request++) this.#window.markSeen(request)
    this.#tellRefused(refused)
    const counts = requestCounts(context.store.durable.state)
    context.emit({ kind: 'requests-added', added: requests.length, counts })
  }

  /** Waits until the queue is short enough. False when that will not happen in this run. */
  async #room(): Promise<boolean> {
    const engine = this.#options.engine()
    this.#options.push()
    for (;;) {
      const news = engine.news()
      if (this.#isStopping || this.#isOver()) return false
      if (!engine.isCongested) return true
      if (engine.isIdle) return false
      await news
    }
  }

  get #isStopping(): boolean {
    return this.#options.context.stop.aborted
  }

  /** The deadline has passed; notes that it kept requests out. */
  #isOver(): boolean {
    const isOver = this.#options.context.pace?.isOver ?? false
    this.#cutShort ||= isOver
    return isOver
  }
}
