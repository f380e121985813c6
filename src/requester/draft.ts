import { applyStep } from '../batch/apply-step.ts'
import { RequestLayer } from '../batch/request-layer.ts'
import type { RequestTable } from '../batch/request-table.ts'
import type { Step, StepOf } from '../batch/steps.ts'
import type { TaskState } from '../batch/task-state.ts'
import { addForecasts } from '../tokens/forecast.ts'

/** State and requests as of one moment. */
export interface View {
  readonly state: TaskState
  readonly requests: RequestTable
}

/** Length in bytes of a side file that the ledger accounts for; undefined for any other. */
export type LengthOf = (file: string) => number | undefined

/**
 * A group of steps on its way to the ledger: what it will hold, and the task as it will be then. A plan adds steps
 * and the bytes that go with them; each step is computed on the ones before.
 */
export class Draft implements View {
  readonly #requests: RequestLayer
  #state: TaskState
  readonly #steps: Step[] = []
  readonly #appends = new Map<string, string[]>()
  readonly #lengths = new Map<string, number | undefined>()
  readonly #truncations = new Map<string, number>()
  readonly #named = new Set<string>()
  readonly #forgotten = new Set<string>()
  #lengthBelow: LengthOf

  constructor(below: View, lengthBelow: LengthOf) {
    this.#state = below.state
    this.#requests = new RequestLayer(below.requests)
    this.#lengthBelow = lengthBelow
  }

  get state(): TaskState {
    return this.#state
  }

  get requests(): RequestLayer {
    return this.#requests
  }

  get isEmpty(): boolean {
    return this.#steps.length === 0
  }

  apply(step: Step): void {
    this.#state = applyStep(this.#state, this.#requests, step)
    const last = this.#steps.at(-1)
    const merged = last && mergeSteps(last, step)
    if (merged) this.#steps[this.#steps.length - 1] = merged
    else this.#steps.push(step)
  }

  /** Adds text to a side file, named by its suffix such as `_output.jsonl`. */
  append(file: string, text: string): void {
    const texts = this.#appends.get(file)
    this.#lengths.set(file, this.length(file) + Buffer.byteLength(text))
    if (texts) texts.push(text)
    else this.#appends.set(file, [text])
  }

  /** Cuts a side file once the group is durable. Nothing can be appended to it in the same group. */
  truncate(file: string, length: number): void {
    this.#truncations.set(file, length)
    this.#lengths.set(file, length)
  }

  /** Names a file that was written and fsynced outside the commit, such as a download. */
  name(file: string): void {
    this.#named.add(file)
  }

  /** Removes a side file, if there is one, once the group is durable. */
  forget(file: string): void {
    if (this.knownLength(file) === undefined) return
    this.#forgotten.add(file)
    this.#lengths.set(file, undefined)
  }

  /** Length of a side file as it will be after this group, in bytes. */
  length(file: string): number {
    return this.knownLength(file) ?? 0
  }

  /** The same, but undefined for a file that the ledger does not account for. */
  knownLength(file: string): number | undefined {
    return this.#lengths.has(file) ? this.#lengths.get(file) : this.#lengthBelow(file)
  }

  /** What the draft was built on has become durable: from here on that is asked, and the drafts before are let go. */
  rebase(requests: RequestTable, lengthBelow: LengthOf): void {
    this.#requests.rebase(requests)
    this.#lengthBelow = lengthBelow
  }

  /** The group in the form the commit log takes. */
  group() {
    return {
      steps: this.#steps,
      appends: [...this.#appends].map(([file, texts]) => ({ file, text: texts.join('') })),
      truncate: [...this.#truncations].map(([file, length]) => ({ file, length })),
      names: [...this.#named],
      forget: [...this.#forgotten],
      ...(this.#steps.some(isPaid) && { isPaid: true }),
    }
  }
}

/** It records answers that are paid for. */
const isPaid = (step: Step): boolean =>
  (step.kind === 'received' && step.reused === undefined) || step.kind === 'stray-received'

/** Joins two neighbouring steps that say the same of different requests, so that a line stays short. */
function mergeSteps(last: Step, step: Step): Step | undefined {
  if (last.kind === 'accepted' && step.kind === 'accepted' && areAlike(last, step)) {
    return { ...joinedReplies(last, step), lines: last.lines + step.lines }
  }
  if (last.kind === 'sent' && step.kind === 'sent' && last.file === step.file && last.tier === step.tier) {
    return {
      ...last,
      requests: joined(last.requests, step.requests),
      ...summed('tokens', last, step, addForecasts),
      ...summed('expectedNanoUsd', last, step, plus),
      ...summed('reserved', last, step, plus),
    }
  }
  if (
    last.kind === 'requeue' &&
    step.kind === 'requeue' &&
    last.file === step.file &&
    isPlain(last) &&
    isPlain(step)
  ) {
    if (last.why !== step.why || last.reason !== step.reason || !isNextInLine(last, step)) return undefined
    const { inputs } = last
    return {
      ...joinedReplies(last, step),
      bytes: last.bytes + step.bytes,
      ...(inputs !== undefined && { inputs: inputs + (step.inputs ?? 0) }),
      ...summed('tokens', last, step, addForecasts),
    }
  }
  return undefined
}

/** Both waited behind nobody, or the second right behind the first. */
const isNextInLine = (last: StepOf<'requeue'>, step: StepOf<'requeue'>): boolean =>
  last.of === undefined ? step.of === undefined : step.of === last.requests.at(-1)

const plus = (a: number, b: number): number => a + b

/** A field of two steps together; one that only one of them has is that one's. */
function summed<Name extends string, Value>(
  name: Name,
  last: { readonly [Key in Name]?: Value | undefined },
  step: { readonly [Key in Name]?: Value | undefined },
  add: (a: Value, b: Value) => Value,
): { [Key in Name]?: Value } {
  const [first, second] = [last[name], step[name]]
  const sum = first !== undefined && second !== undefined ? add(first, second) : (first ?? second)
  const field: { [Key in Name]?: Value } = {}
  if (sum !== undefined) field[name] = sum
  return field
}

/** All with a line in the same part of the output, or all without. */
const areAlike = (last: StepOf<'accepted'>, step: StepOf<'accepted'>): boolean =>
  last.part === step.part && last.lines > 0 === step.lines > 0

/** What was released belongs to the queue file of its own request: such steps stay apart. */
const isPlain = ({ repaired, released, takenBack }: StepOf<'requeue'>): boolean =>
  repaired === undefined && released === undefined && takenBack === undefined

interface Replies {
  readonly requests: number[]
  readonly ids?: (string | null)[] | undefined
  readonly costs?: (number | null)[] | undefined
}

/** Requests and the columns beside them. A column that only one of the two has is filled up. */
function joinedReplies<Step extends Replies>(last: Step, step: Replies): Step {
  const before = last.requests.length
  const ids = joinedColumns(last.ids, step.ids, before, step.requests.length)
  const costs = joinedColumns(last.costs, step.costs, before, step.requests.length)
  const requests = joined(last.requests, step.requests)
  return { ...last, requests, ...(ids && { ids }), ...(costs && { costs }) }
}

function joinedColumns<Value>(
  last: (Value | null)[] | undefined,
  step: (Value | null)[] | undefined,
  before: number,
  added: number,
): (Value | null)[] | undefined {
  if (!last && !step) return undefined
  return joined(last ?? Array<null>(before).fill(null), step ?? Array<null>(added).fill(null))
}

/** Grows the first list in place: it belongs to a step of this draft alone, and copying it would cost the square of its length. */
function joined<Value>(first: Value[], second: readonly Value[]): Value[] {
  first.push(...second)
  return first
}
