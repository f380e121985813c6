/** What was counted, by the values of its labels. */
export class Counter {
  readonly #names: readonly string[]
  readonly #unit: number
  readonly #values = new Map<string, number>()

  /** What is shown is what was counted, divided by `unit`. */
  constructor(names: readonly string[], unit = 1) {
    this.#names = names
    this.#unit = unit
  }

  /** `labels`: a value for each name. */
  add(labels: readonly string[], amount = 1): void {
    const key = labels.join(BETWEEN)
    this.#values.set(key, (this.#values.get(key) ?? 0) + amount)
  }

  /** Lines of Prometheus text. */
  lines(name: string): string[] {
    return [...this.#values].map(([key, value]) => `${name}${this.#labels(key)} ${value / this.#unit}`)
  }

  #labels(key: string): string {
    const values = key.split(BETWEEN)
    return labelText(Object.fromEntries(this.#names.map((name, at) => [name, values[at] ?? ''])))
  }
}

const BETWEEN = '\u0000'

/** `{state="queued"}`; nothing for no labels. */
export function labelText(labels: Readonly<Record<string, string>>): string {
  const parts = Object.entries(labels).map(([name, value]) => `${name}="${escaped(value)}"`)
  return parts.length === 0 ? '' : `{${parts.join(',')}}`
}

const escaped = (text: string): string =>
  text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')
