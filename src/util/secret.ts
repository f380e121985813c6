import { inspect } from 'node:util'

const SHOWN = '[secret]'

/** Holds a text that must not be printed, logged or stored: every way of showing it gives `[secret]`. */
export class Secret {
  readonly #value: string

  constructor(value: string) {
    this.#value = value
  }

  /** The text itself. Call it only where it is handed to the one who needs it. */
  reveal(): string {
    return this.#value
  }

  toString(): string {
    return SHOWN
  }

  toJSON(): string {
    return SHOWN
  }

  [inspect.custom](): string {
    return SHOWN
  }
}
