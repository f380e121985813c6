/** Upper bounds in seconds, from a millisecond to what a client calls slow. */
const BOUNDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10] as const

/** How often something took how long. */
export class Histogram {
  readonly #counts = BOUNDS.map(() => 0)
  #sum = 0
  #count = 0

  observe(seconds: number): void {
    this.#sum += seconds
    this.#count++
    const at = BOUNDS.findIndex((bound) => seconds <= bound)
    if (at >= 0) this.#counts[at] = (this.#counts[at] ?? 0) + 1
  }

  /** Lines of Prometheus text. */
  lines(name: string): string[] {
    let below = 0
    const buckets = BOUNDS.map((bound, at) => {
      below += this.#counts[at] ?? 0
      return `${name}_bucket{le="${bound}"} ${below}`
    })
    return [
      ...buckets,
      `${name}_bucket{le="+Inf"} ${this.#count}`,
      `${name}_sum ${this.#sum}`,
      `${name}_count ${this.#count}`,
    ]
  }
}
