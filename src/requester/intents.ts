import { randomBytes } from 'node:crypto'
import type { QueueFile } from '../batch/queue-file.ts'
import type { AccountGate } from './account-gate.ts'
import type { Admission } from './admission.ts'
import type { Context } from './context.ts'
import { EnqueueTurn } from './enqueue-turn.ts'

export interface IntentsOptions {
  /** Passed before a new attempt is begun. */
  readonly gate: AccountGate
  readonly admission: Admission
}

/** Begins attempts to make batches of sealed files: finds them room at the account, and sets aside what they may cost. */
export class Intents {
  readonly #context: Context
  readonly #options: IntentsOptions
  readonly #turn: EnqueueTurn

  constructor(context: Context, options: IntentsOptions) {
    this.#context = context
    this.#options = options
    this.#turn = new EnqueueTurn(context)
  }

  /** Resolves when the attempt is on record, or when nothing came of it, which is to be decided anew. */
  async begin(file: QueueFile): Promise<void> {
    const { gate, admission } = this.#options
    await gate.pass()
    const taskId = this.#context.store.durable.state.identity?.taskId ?? 'task'
    const tag = `${taskId}-${file.id}-${randomBytes(6).toString('hex')}`
    if (!(await this.#turn.take(file, tag, () => admission.mustShrink(file)))) return
    let isMade = false
    try {
      isMade = await this.#commit(file.id, tag)
    } finally {
      if (!isMade) await this.#context.governor.release(tag)
    }
  }

  /** False when it is not to be made any more: the time for it, its room or some of its lines went elsewhere meanwhile. */
  #commit(id: number, tag: string): Promise<boolean> {
    const { clock, settings, store } = this.#context
    const { admission } = this.#options
    return store.commit((draft) => {
      const file = draft.state.files.get(id)
      const isWhole = file?.phase === 'sealed' && file.live === file.requests
      if (!isWhole || !admission.mayStart(file)) return false
      const { nanoUsd: expectedNanoUsd, mostNanoUsd: reserved } = admission.loadOf(file)
      const hasCap = settings.limits.maxSpendNanoUsd !== undefined
      const money = { expectedNanoUsd, ...(hasCap && reserved !== undefined && { reserved }) }
      draft.apply({ kind: 'intent', file: id, tag, at: clock.now(), ...money })
      return true
    })
  }
}
