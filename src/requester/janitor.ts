import { errorText } from '../errors.ts'
import type { Context } from './context.ts'

/** Deletes remote files that are of no more use. What cannot be deleted now is left to the next run. */
export class Janitor {
  readonly #context: Context
  #gaveUp = false

  constructor(context: Context) {
    this.#context = context
  }

  /** Whether there is anything to do that has not failed in this run. */
  get hasWork(): boolean {
    return !this.#gaveUp && this.#context.store.durable.state.litter.size > 0
  }

  async run(): Promise<void> {
    const { api, store, stop, emit } = this.#context
    for (const id of store.durable.state.litter) {
      if (stop.aborted) return
      try {
        await api.deleteFile(id, stop)
      } catch (error) {
        if (stop.aborted) return
        this.#gaveUp = true
        const message = `remote file ${id} could not be deleted (${errorText(error)}); the next run tries again`
        return emit({ kind: 'warning', code: 'not_deleted', message })
      }
      await store.commit((draft) => draft.apply({ kind: 'cleaned', remoteFiles: [id] }))
    }
  }
}
