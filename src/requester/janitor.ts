import { errorText } from '../errors.ts'
import type { Context } from './context.ts'

/** Deletes remote files that are of no more use. What cannot be deleted now is left to the next run. */
export class Janitor {
  readonly #context: Context
  /** Files that could not be deleted in this run: given up until the next. */
  readonly #given = new Set<string>()

  constructor(context: Context) {
    this.#context = context
  }

  /** Whether there is anything to do that has not failed in this run. */
  get hasWork(): boolean {
    return [...this.#context.store.durable.state.litter].some((id) => !this.#given.has(id))
  }

  async run(): Promise<void> {
    const { api, store, stop, emit } = this.#context
    for (const id of store.durable.state.litter) {
      if (stop.aborted) return
      if (this.#given.has(id)) continue
      try {
        await api.deleteFile(id, stop)
      } catch (error) {
        if (stop.aborted) return
        this.#given.add(id)
        const message = `remote file ${id} could not be deleted (${errorText(error)}); the next run tries again`
        // What ails one file mostly ails them all.
        if (this.#given.size === 1) emit({ kind: 'warning', code: 'not_deleted', message })
        continue
      }
      await store.commit((draft) => draft.apply({ kind: 'cleaned', remoteFiles: [id] }))
    }
  }
}
