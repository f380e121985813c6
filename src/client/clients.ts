import type { OpenAI } from 'openai'
import type { Clock } from '../util/clock.ts'

/** What the resources of a gateway's client send by. */
export interface Clients {
  /** As the `openai` package has it: for streams, and for the package's own helpers, which want whole answers. */
  readonly plain: OpenAI
  /** Comes back at once, with or without an answer. */
  readonly polling: OpenAI
  readonly clock: Clock
}
