import { limitTexts } from '../batch/limit-text.ts'
import { type FileIn, inPhase, isUnpushed, type QueueFile } from '../batch/queue-file.ts'
import type { Spending } from '../batch/task-state.ts'
import { Notifier } from '../util/notifier.ts'
import { AccountGate } from './account-gate.ts'
import { Activities } from './activities.ts'
import { Collector } from './collector.ts'
import { isCongested } from './congestion.ts'
import type { Context } from './context.ts'
import { DirectSender } from './direct-sender.ts'
import { dropFile } from './drop-file.ts'
import { Handout } from './handout.ts'
import { Janitor } from './janitor.ts'
import { Pacer } from './pacer.ts'
import { Interrupted, WaitedTooLong } from './patience.ts'
import { Poller } from './poller.ts'
import type { RequestResult } from './request-result.ts'
import { ResultReader } from './result-reader.ts'
import { Sealer } from './sealer.ts'
import { Strays } from './strays.ts'
import { Submitter } from './submitter.ts'
import { Sweeper } from './sweeper.ts'

/** `work`: everything. `collect`: nothing new is sent. `cancel`, `discard`: remote batches are cancelled, too, and with `discard` their answers not wanted. */
export type EngineMode = 'work' | 'collect' | 'cancel' | 'discard'

export interface EngineOptions {
  readonly mode: EngineMode
  /** What had been spent when the run began. */
  readonly before: Spending
  /** Direct sets of an earlier run: nothing of them is sent any more, only their answers are handed out. */
  readonly foundDirect: ReadonlySet<number>
  /** New requests may still come by themselves. */
  readonly isProducing: () => boolean
  /** Something failed, or the breaker tripped: everything that waits must end. */
  readonly onHalt: () => void
}

const isReceived = inPhase('received')
const isDirect = inPhase('direct')
const isReused = inPhase('reused')

/**
 * Keeps everything going at once: sealing, submitting, polling, collecting, direct calls, tidying up. Each turn looks
 * at the durable state and starts what can be started; whatever ends or becomes durable causes the next turn.
 */
export class Engine {
  readonly #context: Context
  readonly #options: EngineOptions
  /** Wakes the next turn. */
  readonly #wake = new Notifier()
  /** Wakes whoever waits for results, for room, or for the end. */
  readonly #news = new Notifier()
  readonly #submitter: Submitter
  readonly #collector: Collector
  readonly #poller: Poller
  readonly #sender: DirectSender
  readonly #janitor: Janitor
  readonly #strays: Strays
  readonly #sweeper: Sweeper
  readonly #handout: Handout
  readonly #sealer: Sealer
  readonly #pacer: Pacer | undefined
  /** What the end of the time has interrupted: it is not begun again in this run. */
  readonly #brokenOff = new Set<string>()
  readonly #activities = new Activities(() => this.notify())
  /** Direct sets of this run that were sent to the last line. */
  readonly #allSent = new Set<number>()
  /** When this run began with each direct set. */
  readonly #directSince = new Map<number, number>()
  /** The last turn found nothing going on and nothing to start, and nothing has changed since. */
  #quiet = false
  #finished = false
  #failure: unknown
  #waited: WaitedTooLong | undefined
  #tripped = false

  constructor(context: Context, options: EngineOptions) {
    this.#context = context
    this.#options = options
    const { mode, before } = options
    const found = context.store.durable.state.files.values()
    const reader = new ResultReader(context)
    this.#strays = new Strays(context, { discarding: mode === 'discard' })
    this.#sweeper = new Sweeper(context)
    const gate = new AccountGate(context)
    this.#submitter = new Submitter(context, {
      found,
      gate,
      closing: mode !== 'work',
      before,
      mustWait: (file) => this.#strays.holds(file),
      onTwin: (batch) => this.#strays.note(batch),
    })
    this.#collector = new Collector(context, {
      discarding: mode === 'discard',
      givingUp: mode === 'cancel',
      gate,
      onScanned: (file, index) => reader.keep(file, index),
    })
    this.#poller = new Poller(context, {
      cancelling: mode === 'cancel' || mode === 'discard',
      onOther: (batch) => this.#strays.note(batch),
    })
    this.#sender = new DirectSender(context, {
      reader,
      before,
      deliver: (result) => this.#handout.deliver(result),
    })
    this.#janitor = new Janitor(context)
    this.#handout = new Handout(context, {
      reader,
      news: this.#news,
      // Of a task that is thrown away nobody wants the answers.
      foundDirect: options.foundDirect,
      isWanted: mode !== 'discard',
      onChange: () => this.notify(),
    })
    this.#sealer = new Sealer(context, {
      sender: this.#sender,
      handout: this.#handout,
      isProducing: options.isProducing,
      canMove: (file) => this.#canMove(file),
    })
    this.#pacer = this.#newPacer()
  }

  /** Undefined without a deadline, and while a wipe is carried out: that takes its time. */
  #newPacer(): Pacer | undefined {
    const { mode, foundDirect } = this.#options
    const { pace: watch } = this.#context
    if (!watch || mode === 'cancel' || mode === 'discard') return undefined
    return new Pacer(this.#context, {
      watch,
      isSending: mode === 'work',
      foundDirect,
      wire: () => this.#sender.wire,
      wake: () => this.notify(),
    })
  }

  /** The deadline has passed: nothing new is sent, and what came is still handed out. */
  get #isOver(): boolean {
    return this.#pacer !== undefined && this.#context.pace?.isOver === true
  }

  /** Something that a turn might care about has changed. */
  notify(): void {
    this.#quiet = false
    this.#wake.notify()
    this.#news.notify()
  }

  /** Resolves when something changes. */
  news(): Promise<void> {
    return this.#news.wait()
  }

  /** Too much is waiting to be sent: no more should be generated. */
  get isCongested(): boolean {
    const { settings, store } = this.#context
    return isCongested([...store.head.state.files.values()], settings)
  }

  /** Nothing is going on and nothing can be started. More requests, or an end of producing, may change that. */
  get isIdle(): boolean {
    return this.#finished || this.#quiet
  }

  get isFinished(): boolean {
    return this.#finished
  }

  /** Failed batches that this run has finished all the same. */
  get finalised(): number {
    return this.#collector.finalised
  }

  get failure(): unknown {
    return this.#failure
  }

  /** Why a complete task was not reached, as far as batches, the account or the network are to blame. */
  get trouble():
    | { readonly kind: 'pass-ratio' | 'failed-batches' | 'waited'; readonly details: readonly string[] }
    | undefined {
    if (this.#tripped) return { kind: 'pass-ratio', details: [] }
    if (this.#waited) return { kind: 'waited', details: [this.#waited.message] }
    const details = [...this.#submitter.refused.values(), ...this.#collector.blocked.values()]
    return details.length > 0 ? { kind: 'failed-batches', details } : undefined
  }

  /** The limits that keep what is queued from being sent, one line each for people; none when nothing is held back. */
  get limits(): readonly string[] {
    const heldBack = [...this.#context.store.durable.state.files.values()].flatMap((file) => {
      if (file.phase === 'sealed') return [this.#submitter.heldBack(file)]
      return file.phase === 'direct' && file.live > 0 ? [this.#sender.heldBack(file.id)] : []
    })
    return limitTexts(heldBack)
  }

  /** Something failed that the run cannot go on without: everything that waits ends. The first such error counts. */
  fail(error: unknown): void {
    this.#fail(error)
    this.notify()
  }

  /** Runs until there is nothing left to do, the run is to stop, or something fails. */
  async drive(): Promise<void> {
    this.#finished = false
    const ended = new AbortController()
    const pacing = this.#pacer?.run(ended.signal)
    while (!this.#finished) {
      const wake = this.#wake.wait()
      this.#turn()
      if (this.#finished) break
      await wake
      // Many changes come together; one turn serves them all.
      await new Promise((resolve) => setImmediate(resolve))
    }
    ended.abort()
    await Promise.all([this.#activities.settled(), pacing])
  }

  /** Results as they come, until there will be no more. Throws what stopped the engine. */
  results(): AsyncGenerator<RequestResult> {
    return this.#handout.results(() => this.#mayGiveMore())
  }

  /** A handed-out result has its verdict. */
  judged(request: number): void {
    this.#handout.judged(request)
  }

  #mayGiveMore(): boolean {
    if (this.#failure !== undefined) throw this.#failure
    return !this.#finished && !this.#context.stop.aborted
  }

  #turn(): void {
    const { stop, store } = this.#context
    if (stop.aborted) this.#finished = true
    else {
      this.#pacer?.look()
      if (this.#pacer?.hasWork && !this.#isOver) this.#start('recall', async () => this.#pacer?.recall())
      if (this.#options.mode === 'work' && !this.#isOver) this.#start('seal', this.#sealer.sealing())
      if (this.#options.mode !== 'discard') this.#start('give', this.#sealer.giving())
      for (const file of store.durable.state.files.values()) this.#advance(file)
      if (this.#poller.mayLook && [...store.durable.state.files.values()].some(inPhase('remote')))
        this.#start('poll', () => this.#poller.run())
      this.#advanceStrays()
      if (this.#sweeper.hasWork && !this.#isOver) this.#start('sweep', () => this.#sweeper.run())
      if (this.#janitor.hasWork) this.#start('tidy', () => this.#janitor.run())
      this.#quiet = this.#hasNothingToDo()
      this.#finished = this.#quiet && !this.#options.isProducing()
    }
    if (this.#quiet || this.#finished) this.#news.notify()
  }

  #canMove(file: QueueFile): boolean {
    if (file.phase === 'open') return false
    if (file.phase === 'direct')
      return this.#activities.has(`file ${file.id}`) || this.#sender.mayGoOn(file.id)
    if (file.phase === 'ended') return !this.#collector.blocked.has(file.id)
    return !isUnpushed(file) || file.phase !== 'sealed' || !this.#submitter.blocked(file).lasting
  }

  #advance(file: QueueFile): void {
    const id = `file ${file.id}`
    if (this.#activities.has(id)) return
    if (isUnpushed(file)) {
      if (this.#isOver) return
      if (this.#strays.owesLook(file.id)) return
      if (this.#submitter.action(file).do !== 'nothing') this.#start(id, () => this.#submitter.run(file.id))
    } else if (file.phase === 'ended') {
      if (!this.#collector.blocked.has(file.id)) this.#start(id, () => this.#collector.run(file.id))
    } else if (isReceived(file) || isDirect(file) || isReused(file)) {
      if (this.#isDone(file)) this.#start(id, () => this.#drop(file.id))
      else if (isDirect(file) && this.#isSendable(file)) this.#start(id, () => this.#send(file.id))
    }
  }

  #advanceStrays(): void {
    if (this.#strays.hasWork && !this.#isOver) this.#start('strays', () => this.#strays.run())
    for (const stray of this.#context.store.durable.state.strays.values()) {
      if (stray.phase === 'received' && this.#handout.isSpent(stray))
        this.#start(`stray ${stray.batchId}`, () => this.#strays.settle(stray))
    }
  }

  #isDone(file: FileIn<'received' | 'direct' | 'reused'>): boolean {
    return file.live === 0 || (this.#options.mode === 'discard' && file.phase === 'received')
  }

  #isSendable(file: FileIn<'direct'>): boolean {
    const left = !this.#options.foundDirect.has(file.id) && !this.#allSent.has(file.id)
    return this.#options.mode === 'work' && !this.#isOver && left && this.#sender.mayGoOn(file.id)
  }

  async #send(id: number): Promise<void> {
    if (!this.#directSince.has(id)) this.#directSince.set(id, this.#context.clock.now())
    if (await this.#sender.run(id)) this.#allSent.add(id)
  }

  async #drop(id: number): Promise<void> {
    const { mode, isProducing } = this.#options
    const modes = { isDiscarding: mode === 'discard', isWorking: mode === 'work' }
    const directSince = this.#directSince.get(id)
    this.#directSince.delete(id)
    if (!(await dropFile(this.#context, id, { ...modes, isProducing, directSince }))) return
    this.#tripped = true
    this.#options.onHalt()
  }

  #start(id: string, activity: (() => Promise<void>) | undefined): void {
    if (!activity || this.#brokenOff.has(id)) return
    this.#activities.start(id, activity, (error) => {
      if (error instanceof Interrupted && this.#isOver) this.#brokenOff.add(id)
      this.#fail(error)
    })
  }

  #fail(error: unknown): void {
    if (error instanceof Interrupted) return
    if (error instanceof WaitedTooLong) this.#waited ??= error
    else this.#failure ??= error
    this.#options.onHalt()
  }

  #hasNothingToDo(): boolean {
    return (
      !this.#context.store.isWriting &&
      this.#activities.size === 0 &&
      !this.#handout.isBusy &&
      !this.#handout.hasUnopened
    )
  }
}
