import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type DeadlineFacts, planForDeadline, type SendMode } from '../../src/batch/deadline.ts'

const SECOND = 1_000
const MINUTE = 60 * SECOND
const HOUR = 60 * MINUTE
/** What the plan sets aside for a cancel and for the verdicts, and how late a look may come. */
const CANCEL_MS = 10 * MINUTE
const SETTLE_MS = MINUTE
const LATE_MS = 5 * SECOND

/** A task and its server as they really are; what the task knows of it comes with time. */
interface World {
  readonly leftMs: number
  readonly batchSizes: readonly number[]
  /** How long each batch takes; undefined: it never ends. */
  readonly batchMs: number | undefined
  readonly history: readonly number[]
  readonly concurrency: number
  readonly callMs: number
  readonly flexCallMs: number
  readonly flexWorks: boolean
  readonly cancelMs: number
  /** What of the speeds is known from the start. */
  readonly isKnown: boolean
}

interface Done {
  readonly endMs: number
  readonly answers: Readonly<Record<SendMode, number>>
}

interface Batch {
  readonly id: number
  readonly sinceMs: number
  readonly total: number
  readonly completed: number
}

/** A task that carries out the plans, until all is done or the deadline is over. */
class Run {
  readonly #world: World
  readonly #answers = { batch: 0, flex: 0, direct: 0 }
  #now = 0
  #mode: SendMode = 'batch'
  #flexWorks = true
  #running: readonly Batch[] = []
  #cancelling: readonly { readonly atMs: number; readonly left: number }[] = []
  #ready: readonly number[]
  #callTime = 0

  constructor(world: World) {
    this.#world = world
    this.#ready = world.batchSizes
  }

  untilOver(): Done {
    while (this.#left > 0 && this.#now < this.#world.leftMs) {
      const { mode, cancel, nextLookMs } = planForDeadline(this.#facts())
      this.#mode = mode
      this.#cancel(cancel)
      if (mode === 'batch') this.#send()
      this.#pass(Math.min(nextLookMs + LATE_MS, ...this.#events()))
    }
    return { endMs: this.#left > 0 ? Infinity : this.#now, answers: this.#answers }
  }

  get #left(): number {
    return sum([...this.#ready, ...this.#cancelling.map(({ left }) => left), ...this.#running.map(leftOf)])
  }

  get #onTheWire(): number {
    return this.#callTime > 0 ? Math.min(sum(this.#ready), this.#world.concurrency) : 0
  }

  #facts(): DeadlineFacts {
    const { leftMs, history, concurrency, callMs, flexCallMs, isKnown } = this.#world
    return {
      nowMs: this.#now,
      deadlineMs: leftMs,
      current: this.#mode,
      batchDurationsMs: history,
      running: this.#running,
      waiting: sum([...this.#ready, ...this.#cancelling.map(({ left }) => left)]) - this.#onTheWire,
      callMs: isKnown || this.#answers.direct > 0 ? callMs : undefined,
      flexCallMs: isKnown || this.#answers.flex > 0 ? flexCallMs : undefined,
      concurrency,
      flexWorks: this.#flexWorks,
    }
  }

  #send(): void {
    const first = this.#running.length
    const sent = this.#ready.map((total, at) => ({ id: first + at, sinceMs: this.#now, total, completed: 0 }))
    this.#running = [...this.#running, ...sent]
    this.#ready = []
  }

  #cancel(ids: readonly number[]): void {
    const atMs = this.#now + this.#world.cancelMs
    const gone = this.#running.filter(({ id }) => ids.includes(id))
    this.#running = this.#running.filter(({ id }) => !ids.includes(id))
    this.#cancelling = [...this.#cancelling, ...gone.map((batch) => ({ atMs, left: leftOf(batch) }))]
  }

  /** Time until something happens that the task takes note of at once. */
  #events(): readonly number[] {
    const { flexWorks, flexCallMs, callMs, concurrency } = this.#world
    const over = this.#cancelling.map(({ atMs }) => Math.max(1, atMs - this.#now))
    const ready = sum(this.#ready)
    if (this.#mode === 'batch' || ready === 0) return over
    if (this.#mode === 'flex' && !flexWorks) return [...over, SECOND]
    const rounds = Math.ceil(ready / concurrency)
    return [...over, rounds * (this.#mode === 'flex' ? flexCallMs : callMs) - this.#callTime]
  }

  #pass(ms: number): void {
    this.#now += ms
    const { batchMs = Infinity } = this.#world
    const ended = this.#running.filter(({ sinceMs }) => sinceMs + batchMs <= this.#now)
    this.#running = this.#running.filter((batch) => !ended.includes(batch))
    this.#answers.batch += sum(ended.map(leftOf))
    if (this.#mode !== 'batch') this.#call(this.#mode, ms)
    const over = this.#cancelling.filter(({ atMs }) => atMs <= this.#now)
    this.#cancelling = this.#cancelling.filter((one) => !over.includes(one))
    this.#ready = [...this.#ready, ...over.map(({ left }) => left)]
  }

  #call(mode: 'flex' | 'direct', ms: number): void {
    const { concurrency, flexWorks, flexCallMs, callMs: directCallMs } = this.#world
    const ready = sum(this.#ready)
    if (mode === 'flex' && !flexWorks) {
      this.#flexWorks = ready === 0
      return
    }
    const callMs = mode === 'flex' ? flexCallMs : directCallMs
    this.#callTime = ready === 0 ? 0 : this.#callTime + ms
    const rounds = Math.floor(this.#callTime / callMs)
    this.#callTime -= rounds * callMs
    const made = Math.min(ready, rounds * concurrency)
    this.#answers[mode] += made
    this.#ready = ready > made ? [ready - made] : []
  }
}

const sum = (numbers: readonly number[]): number => numbers.reduce((total, one) => total + one, 0)
const leftOf = ({ total, completed }: Batch): number => total - completed

const worlds = fc.record<World>({
  leftMs: fc.integer({ min: 30 * MINUTE, max: 8 * HOUR }),
  batchSizes: fc.array(fc.integer({ min: 1, max: 20_000 }), { minLength: 1, maxLength: 12 }),
  batchMs: fc.constant(undefined),
  history: fc.constantFrom([], [25 * HOUR]),
  concurrency: fc.integer({ min: 4, max: 200 }),
  callMs: fc.integer({ min: SECOND, max: 15 * SECOND }),
  flexCallMs: fc.integer({ min: SECOND, max: 5 * MINUTE }),
  flexWorks: fc.boolean(),
  cancelMs: fc.integer({ min: 0, max: CANCEL_MS }),
  isKnown: fc.boolean(),
})

const timeOf = ({ batchSizes, concurrency }: World, callMs: number): number =>
  Math.ceil(sum(batchSizes) / concurrency) * callMs

/** Whether there is time for direct calls alone, after a few looks and the end of a flex call that is on the wire. */
const hasTime = (world: World): boolean => {
  const callMs = world.isKnown ? 1.5 * world.callMs : 20 * SECOND
  return timeOf(world, callMs) + world.flexCallMs + CANCEL_MS + SETTLE_MS + 6 * MINUTE <= world.leftMs
}

describe('a task that keeps to the plan', () => {
  test('is done in time although no batch ever ends, and whether or not flex works', () => {
    fc.assert(
      fc.property(worlds.filter(hasTime), (world) => {
        const { endMs, answers } = new Run(world).untilOver()
        expect(endMs).toBeLessThanOrEqual(world.leftMs)
        expect(sum(Object.values(answers))).toBe(sum(world.batchSizes))
      }),
      { numRuns: 200 },
    )
  })

  test('is done in time by flex that is slow, though nobody knew and all that is left goes at once', () => {
    const slow = worlds
      .map((world) => ({ ...world, batchSizes: [world.concurrency], flexWorks: true, isKnown: false }))
      .filter(hasTime)
    fc.assert(
      fc.property(slow, (world) => {
        expect(new Run(world).untilOver().endMs).toBeLessThanOrEqual(world.leftMs)
      }),
      { numRuns: 200 },
    )
  })

  test('makes no call as long as its batches end as they used to', () => {
    const fine = worlds.map((world) => {
      const usual = Math.max(...world.history, MINUTE)
      return {
        ...world,
        history: [...world.history, usual],
        batchMs: usual - 1,
        leftMs: usual + SETTLE_MS + 1,
      }
    })
    fc.assert(
      fc.property(fine, (world) => {
        const { answers } = new Run(world).untilOver()
        expect(answers).toEqual({ batch: sum(world.batchSizes), flex: 0, direct: 0 })
      }),
    )
  })

  test('pays the double price for nothing that flex could do, once the speed of flex is known', () => {
    const cheap = worlds
      .map((world) => ({
        ...world,
        cancelMs: world.cancelMs * 0.9,
        history: [],
        isKnown: true,
        flexWorks: true,
        flexCallMs: 2 * world.callMs + world.flexCallMs,
      }))
      .filter(
        (world) => 1.5 * timeOf(world, world.flexCallMs) + CANCEL_MS + SETTLE_MS + 4 * MINUTE <= world.leftMs,
      )
    fc.assert(
      fc.property(cheap, (world) => {
        const { answers } = new Run(world).untilOver()
        expect(answers).toEqual({ batch: 0, flex: sum(world.batchSizes), direct: 0 })
      }),
      { numRuns: 200 },
    )
  })

  test('gets out of batches what it can when calls could never do all of it', () => {
    const world: World = {
      leftMs: 6 * HOUR,
      batchSizes: Array<number>(20).fill(50_000),
      batchMs: 2 * HOUR,
      history: [],
      concurrency: 16,
      callMs: 5 * SECOND,
      flexCallMs: 20 * SECOND,
      flexWorks: true,
      cancelMs: 5 * MINUTE,
      isKnown: true,
    }
    const { answers } = new Run(world).untilOver()
    expect(answers).toEqual({ batch: 1_000_000, flex: 0, direct: 0 })
  })
})
