import type { StepOf } from '../../batch/steps.ts'
import { FAILED_FILE } from '../../requester/files.ts'
import { stepsOfKinds } from '../../requester/ledger-steps.ts'
import type { LedgerLine } from '../../state/ledger.ts'
import { reasonForm, withoutEnd } from './reason-form.ts'

/** Where the file of failed requests has the entry of a failure: the `index`-th line of a part of it, from 0. */
export interface FailurePlace {
  readonly start: number
  readonly end: number
  readonly index: number
  readonly reason: string
}

/** Failures and retries of one kind. Times are in milliseconds since 1970. */
export interface Cluster {
  /** What their reasons have in common; see `reasonForm`. */
  readonly form: string
  /** Requests that failed for good. */
  readonly failed: number
  /** Tries that failed and were made again. */
  readonly retried: number
  readonly firstAt: number
  readonly lastAt: number
  /** Of up to three requests that failed for good. */
  readonly places: readonly FailurePlace[]
}

interface Tally {
  failed: number
  retried: number
  firstAt: number
  lastAt: number
  places: FailurePlace[]
}

/** Kinds that are told apart; of more, the rarest are counted together. */
const MOST_KINDS = 2_000
const KINDS_LEFT = 1_000
const EXAMPLES = 3

type Telling = 'rejected' | 'requeue' | 'restored' | 'wiped'
const TELLING: ReadonlySet<Telling> = new Set(['rejected', 'requeue', 'restored', 'wiped'])

/** Sorts what went wrong by its kind while a ledger is read. Memory: some 2,000 kinds. */
export class FailureLog {
  readonly #ledger: string
  #kinds = new Map<string, Tally>()
  readonly #rare = newTally()
  /** Length of the file of failed requests. */
  #written = 0

  constructor(ledger: string) {
    this.#ledger = ledger
  }

  take(line: LedgerLine): void {
    const end = line.files[FAILED_FILE] ?? this.#written
    let index = 0
    for (const step of stepsOfKinds(line, this.#ledger, TELLING)) {
      if (step.kind === 'rejected') {
        this.#fail(line.at, { start: this.#written, end, index, reason: step.reason })
        index++
      } else if (step.kind === 'requeue') this.#retry(line.at, step)
      else this.#forget(step)
    }
    this.#written = end
  }

  /** The kinds with failures first, the most frequent first. */
  clusters(): readonly Cluster[] {
    const known = [...this.#kinds].map(([form, tally]) => ({ form, ...tally }))
    return known.sort((a, b) => b.failed - a.failed || b.retried - a.retried || a.firstAt - b.firstAt)
  }

  /** What is not in `clusters`, as there were too many kinds. */
  get others(): Pick<Cluster, 'failed' | 'retried'> {
    return { failed: this.#rare.failed, retried: this.#rare.retried }
  }

  #fail(at: number, place: FailurePlace): void {
    const tally = this.#tallyOf(place.reason, at)
    tally.failed++
    if (tally.places.length < EXAMPLES) tally.places.push(place)
  }

  #retry(at: number, step: StepOf<'requeue'>): void {
    if (step.why !== 'retry' || step.reason === undefined) return
    this.#tallyOf(step.reason, at).retried += step.requests.length
  }

  /** Failed requests that are put back, or forgotten, have failed no more. */
  #forget(step: StepOf<'restored' | 'wiped'>): void {
    if (step.kind === 'wiped' && step.scope === 'requests') return
    const isAll = step.kind === 'wiped' && step.scope === 'task'
    for (const [form, tally] of this.#kinds) {
      tally.failed = 0
      tally.places = []
      if (isAll || tally.retried === 0) this.#kinds.delete(form)
    }
    this.#rare.failed = 0
    if (isAll) this.#rare.retried = 0
  }

  #tallyOf(reason: string, at: number): Tally {
    const form = reasonForm(withoutEnd(reason))
    const tally = this.#kinds.get(form) ?? newTally()
    if (tally.failed + tally.retried === 0) {
      tally.firstAt = at
      if (this.#kinds.size >= MOST_KINDS) this.#dropRare()
      this.#kinds.set(form, tally)
    }
    tally.lastAt = at
    return tally
  }

  #dropRare(): void {
    const byCount = [...this.#kinds].sort(([, a], [, b]) => b.failed + b.retried - (a.failed + a.retried))
    for (const [, { failed, retried }] of byCount.slice(KINDS_LEFT)) {
      this.#rare.failed += failed
      this.#rare.retried += retried
    }
    this.#kinds = new Map(byCount.slice(0, KINDS_LEFT))
  }
}

const newTally = (): Tally => ({ failed: 0, retried: 0, firstAt: 0, lastAt: 0, places: [] })
