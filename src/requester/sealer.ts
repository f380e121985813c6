import type { QueueFile } from '../batch/queue-file.ts'
import { filesToGive } from '../batch/reuse.ts'
import { filesToSeal, type QueueFacts } from '../batch/sealing.ts'
import type { Context } from './context.ts'
import type { DirectSender } from './direct-sender.ts'
import type { Handout } from './handout.ts'
import { giveReused } from './reused-lines.ts'

export interface SealerOptions {
  readonly sender: Pick<DirectSender, 'backlog'>
  readonly handout: Pick<Handout, 'isBusy' | 'isReading' | 'hasUnopened'>
  /** New requests may still come by themselves. */
  readonly isProducing: () => boolean
  /** Something may still come of what is in this file in this run. */
  readonly canMove: (file: QueueFile) => boolean
}

/** Closes queue files that lines were added to: as a batch, as a direct set, or to hand out the answers in them. */
export class Sealer {
  readonly #context: Context
  readonly #options: SealerOptions

  constructor(context: Context, options: SealerOptions) {
    this.#context = context
    this.#options = options
  }

  /** Makes ready for sending what is to be sent now: the commit to carry out, undefined when there is nothing. */
  sealing(): (() => Promise<void>) | undefined {
    const { store, valuer } = this.#context
    const sealings = filesToSeal(store.head.state.files.values(), this.#facts(), valuer.sealing)
    if (sealings.length === 0) return undefined
    return () =>
      store.commit((draft) => {
        for (const { file, as } of sealings) {
          if (draft.state.files.get(file)?.phase === 'open') draft.apply({ kind: 'seal', file, as })
        }
      })
  }

  /** The same for files of answers used again, so that they are handed out. */
  giving(): (() => Promise<void>) | undefined {
    const { store } = this.#context
    const { handout } = this.#options
    const ready = filesToGive(store.head.state.files.values(), handout.isBusy || handout.hasUnopened)
    return ready.length === 0 ? undefined : () => store.commit((draft) => giveReused(draft, ready))
  }

  #facts(): QueueFacts {
    const { sender, handout, isProducing } = this.#options
    const { directConcurrency } = this.#context.settings
    // Results that are being read may still add lines to an open file: lines that fail together go together again.
    const producing = isProducing() || handout.isReading
    return { producing, inFlight: this.#isInFlight(), directBacklog: sender.backlog, directConcurrency }
  }

  #isInFlight(): boolean {
    const { handout, canMove } = this.#options
    if (handout.isBusy) return true
    return [...this.#context.store.head.state.files.values()].some((file) => file.live > 0 && canMove(file))
  }
}
