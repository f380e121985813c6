import { errorText } from '../../../errors.ts'
import type { Outcome } from '../../domain/request.ts'
import type { TakenCall } from '../../store/store.ts'
import type { CallRunner, Ladder } from '../call-runner.ts'
import { BackgroundLoop } from './background-loop.ts'
import { goes } from './before-call.ts'
import type { CallContext } from './call-context.ts'
import { CallKnowledge } from './call-knowledge.ts'
import { Caller } from './caller.ts'
import { LadderWatch } from './ladder-watch.ts'
import { untilStored } from './until-stored.ts'

/** How long a call is trusted to be under way without a sign of life of its replica. */
const LEASE_MS = 60_000
const RENEWALS = 3
/** What was missed is found so often. */
const SWEEP_MS = 10_000
const MOST_AT_ONCE = 100
/** For a place that may be free any moment. */
const GIVEN_BACK_MS = 1_000
/** So long the end of calls is waited for when the gateway closes: container engines give ten seconds. */
const CLOSE_GRACE_MS = 6_000

/** Makes flex and direct calls, and sees to it that requests go that way when their deadlines come near. */
export const createCalls = (context: CallContext): CallRunner => new CallLoops(context)

/**
 *     queued -> calling -> done       taken under a lease, which commits it as sent, before it goes out
 *        +---------+                  refused, lost, or sent another way
 *
 * What was on the wire when a process died is found by its lease: charged at the most, and queued again.
 */
class CallLoops implements CallRunner {
  readonly #context: CallContext
  readonly #knowledge: CallKnowledge
  readonly #caller: Caller
  readonly #watch: LadderWatch
  readonly #loops: readonly BackgroundLoop[]
  readonly #pump: BackgroundLoop
  readonly #ladder: BackgroundLoop
  /** Calls that are committed as sent. */
  readonly #active = new Map<TakenCall, Promise<void>>()
  readonly #activeByModel = new Map<string, number>()
  /** Breaks off what is on the wire. */
  readonly #cut = new AbortController()
  readonly routeOf: Ladder = (request) => this.#watch.rungOf({ ...request, route: 'batch' }).route
  #sweptMs = Number.NEGATIVE_INFINITY
  /** The tenant that was served last: it is the turn of the next one. */
  #served = ''

  constructor(context: CallContext) {
    this.#context = context
    this.#knowledge = new CallKnowledge(context.settings.callConcurrency)
    this.#watch = new LadderWatch(context, this.#knowledge, () => this.#active.size)
    this.#caller = new Caller(context, this.#knowledge, this.#watch)
    const { clock, log } = context
    this.#pump = new BackgroundLoop({ name: 'calls', clock, log, step: () => this.#takeMore(), gapMs: 5 })
    this.#ladder = new BackgroundLoop({ name: 'deadlines', clock, log, step: () => this.#look(), gapMs: 250 })
    const leases = new BackgroundLoop({ name: 'call_leases', clock, log, step: () => this.#renew() })
    this.#loops = [this.#pump, this.#ladder, leases]
  }

  start(): void {
    for (const loop of this.#loops) loop.start()
  }

  arrived(): void {
    this.#ladder.wake()
    this.#pump.wake()
  }

  async close(): Promise<void> {
    const ended = new AbortController()
    const grace = this.#context.clock.sleep(CLOSE_GRACE_MS, ended.signal).then(() => this.#cut.abort())
    await Promise.all([this.#pump.close(), this.#ladder.close()])
    await Promise.all(this.#active.values())
    ended.abort()
    await grace
    await Promise.all(this.#loops.map((loop) => loop.close()))
  }

  async #look(): Promise<number> {
    const { moved, nextMs } = await this.#watch.look()
    if (moved > 0) this.#pump.wake()
    return nextMs
  }

  /** Says that what is under way still is. */
  async #renew(): Promise<number> {
    const ids = [...this.#active.keys()].map(({ request }) => request.id)
    if (ids.length > 0) await this.#context.store.renewCalls(ids, this.#context.replica, LEASE_MS)
    return LEASE_MS / RENEWALS
  }

  /** Takes what there are places on the wire for. Gives the milliseconds until there may be more. */
  async #takeMore(): Promise<number> {
    await this.#sweep()
    while (!this.#pump.stop.aborted) {
      const places = Math.min(MOST_AT_ONCE, this.#context.settings.callConcurrency - this.#active.size)
      if (places <= 0) return SWEEP_MS
      const calls = await this.#take(places)
      for (const call of calls) this.#begin(call)
      if (calls.length < places) return this.#untilNextMs()
    }
    return SWEEP_MS
  }

  async #take(places: number): Promise<readonly TakenCall[]> {
    const { store, clock, replica } = this.#context
    const exceptModels = this.#knowledge.busyModels((model) => this.#activeOf(model), clock.now())
    const calls = await store.takeCalls(places, replica, LEASE_MS, {
      exceptModels,
      afterTenant: this.#served,
    })
    this.#served = calls.at(-1)?.request.tenant ?? this.#served
    return calls
  }

  #activeOf(model: string): number {
    return this.#activeByModel.get(model) ?? 0
  }

  /** Finds calls of processes that are gone. */
  async #sweep(): Promise<void> {
    const { store, clock, time, log } = this.#context
    const now = clock.now()
    if (now - this.#sweptMs < SWEEP_MS && now >= this.#sweptMs) return
    await time.refresh()
    // After the machine was asleep, its own calls look as if nobody made them.
    await this.#renew()
    const recovered = await store.recoverCalls()
    this.#sweptMs = now
    if (recovered > 0) log.warn('calls_recovered', { requests: recovered })
  }

  async #untilNextMs(): Promise<number> {
    const { store, time, clock } = this.#context
    const nextAt = await store.nextReadyAt()
    const waits = nextAt === undefined ? SWEEP_MS : Math.max(1, nextAt - time.now())
    return Math.min(SWEEP_MS, waits, this.#knowledge.nextPauseEndMs(clock.now()) ?? SWEEP_MS)
  }

  /** A model that the server slows down may have room for fewer than were taken: the others are given back. */
  #begin(call: TakenCall): void {
    const { model } = call.request
    const mayCall = this.#knowledge.mayCall(model, this.#activeOf(model), this.#context.clock.now())
    if (mayCall) this.#count(model, 1)
    const done = this.#run(call, () => (mayCall ? this.#call(call) : this.#later(call))).finally(() => {
      if (mayCall) this.#count(model, -1)
      this.#active.delete(call)
      this.#pump.wake()
    })
    this.#active.set(call, done)
  }

  #count(model: string, change: number): void {
    const active = this.#activeOf(model) + change
    if (active === 0) this.#activeByModel.delete(model)
    else this.#activeByModel.set(model, active)
  }

  async #call(call: TakenCall): Promise<Outcome> {
    const outcome = await this.#caller.call(call, this.#cut.signal)
    this.#tell(outcome)
    return outcome
  }

  async #later({ request }: TakenCall): Promise<Outcome> {
    const { clock, time } = this.#context
    const waitMs = Math.max(GIVEN_BACK_MS, this.#knowledge.pauseMs(request.model, clock.now()))
    return goes(request, request.route, time.now() + waitMs)
  }

  /** Never rejects. What cannot be put on record is found by its lease. */
  async #run(call: TakenCall, act: () => Promise<Outcome>): Promise<void> {
    const { log, store, clock } = this.#context
    const { id } = call.request
    try {
      const outcome = await act()
      const isKept = await untilStored(clock, this.#cut.signal, () => store.settleCall(call.epoch, outcome))
      if (!isKept) log.warn('call_lost', { request: id, kind: outcome.kind })
    } catch (error) {
      log.error('call_failed', { request: id, reason: errorText(error) })
    }
  }

  #tell(outcome: Outcome): void {
    const { log } = this.#context
    const { id, kind, route } = outcome
    if (kind === 'ended') log.info('call_ended', { request: id, route, status: outcome.status })
    else log.info('call_again', { request: id, route, uses: outcome.uses })
  }
}
