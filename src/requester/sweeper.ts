import { inputsInUse } from '../batch/strays.ts'
import { nextSweep, type SweepAction } from '../batch/sweeps.ts'
import { RemoteError } from '../errors.ts'
import { assertNever } from '../util/exhaustive.ts'
import type { Context } from './context.ts'
import { pause } from './patience.ts'
import { findUploads } from './remote-search.ts'

/** Finds files of uploads whose answers were lost, once no more of them can appear, and has them deleted. */
export class Sweeper {
  readonly #context: Context
  readonly #waited = new Map<string, number>()
  /** Tags of a search that the server refused: left to the next run. */
  readonly #givenUp = new Set<string>()

  constructor(context: Context) {
    this.#context = context
  }

  /** Whether a search is owed, now or when its grace has passed. */
  get hasWork(): boolean {
    return this.#next().do !== 'nothing'
  }

  async run(): Promise<void> {
    for (;;) {
      const action = this.#next()
      if (this.#context.stop.aborted) return
      switch (action.do) {
        case 'nothing':
          return
        case 'wait':
          await this.#wait(action)
          break
        case 'search':
          await this.#search(action.doubts)
          break
        default:
          assertNever(action)
      }
    }
  }

  #next(): SweepAction {
    const { clock, settings, store } = this.#context
    return nextSweep(store.durable.state, {
      nowMs: clock.now(),
      graceMs: settings.createGraceMs,
      waited: this.#waited,
      givenUp: this.#givenUp,
    })
  }

  async #wait({ untilMs, doubts }: Extract<SweepAction, { do: 'wait' }>): Promise<void> {
    const why = 'making sure that no upload whose answer was lost turns up'
    await pause(this.#context, why, untilMs - this.#context.clock.now())
    for (const [tag, at] of doubts) this.#waited.set(tag, at)
  }

  async #search(doubts: ReadonlyMap<string, number>): Promise<void> {
    const { store } = this.#context
    try {
      const found = await findUploads(this.#context, doubts.keys())
      await store.commit((draft) => {
        const used = inputsInUse(draft.state)
        const litter = found.map(({ id }) => id).filter((id) => !used.has(id))
        // What was doubted once more while this search was going on is owed another.
        const tags = [...doubts].filter(([tag, at]) => draft.state.uploadDoubts.get(tag) === at)
        draft.apply({ kind: 'swept', tags: tags.map(([tag]) => tag), litter })
      })
    } catch (error) {
      if (!(error instanceof RemoteError) || error.acted !== 'no') throw error
      for (const tag of doubts.keys()) this.#givenUp.add(tag)
      const message = `the server refuses to list files (${error.message}): an upload whose answer was lost may have left one; the next run looks again`
      this.#context.emit({ kind: 'warning', code: 'not_swept', message })
    }
  }
}
