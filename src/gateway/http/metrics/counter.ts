type Labels = Readonly<Record<string, string>>

/** What was counted, by its labels. */
export class Counter {
  readonly #values = new Map<string, number>()

  add(labels: Labels, amount = 1): void {
    const text = labelText(labels)
    this.#values.set(text, (this.#values.get(text) ?? 0) + amount)
  }

  /** Lines of Prometheus text. */
  lines(name: string): string[] {
    return [...this.#values].map(([labels, value]) => `${name}${labels} ${value}`)
  }
}

/** `{state="queued"}`; nothing for no labels. */
export function labelText(labels: Labels): string {
  const parts = Object.entries(labels).map(([name, value]) => `${name}="${escaped(value)}"`)
  return parts.length === 0 ? '' : `{${parts.join(',')}}`
}

const escaped = (text: string): string =>
  text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')
