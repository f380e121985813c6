import type { Recent } from './time-left.ts'

interface Mark {
  readonly atMs: number
  readonly verdicts: number
}

const WINDOW_MS = 5 * 60_000
const MARK_EVERY_MS = 1000
/** Over less time a rate jumps about. */
const LEAST_MS = 5000
const MINUTE_MS = 60_000

/**
 * How fast requests got their verdicts within the last minutes. Answers of batches come all at once: the time in which
 * nothing could be judged before the first of them does not count.
 */
export class VerdictPace {
  #marks: Mark[] = []
  #verdicts = 0

  /** `verdicts`: how many there are in all. Fewer than before means that some were wiped, and the count begins anew. */
  note(atMs: number, verdicts: number): void {
    if (verdicts < this.#verdicts) this.#marks = []
    this.#verdicts = verdicts
    const last = this.#marks.at(-1)
    if (!last || atMs - last.atMs >= MARK_EVERY_MS) this.#marks.push({ atMs, verdicts })
    const kept = this.#marks.findIndex((mark) => atMs - mark.atMs <= WINDOW_MS)
    if (kept > 0) this.#marks.splice(0, kept)
  }

  recent(nowMs: number): Recent | undefined {
    const marks = this.#marks.filter((mark) => nowMs - mark.atMs <= WINDOW_MS)
    const rise = marks.findIndex(({ verdicts }) => verdicts !== marks[0]?.verdicts)
    const first = marks.at(rise < 0 ? -1 : rise - 1)
    if (!first || nowMs - first.atMs < LEAST_MS) return undefined
    return { verdicts: this.#verdicts - first.verdicts, ms: nowMs - first.atMs }
  }

  perMinute(nowMs: number): number | undefined {
    const recent = this.recent(nowMs)
    return recent && (recent.verdicts / recent.ms) * MINUTE_MS
  }
}
