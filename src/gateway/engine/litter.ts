import { errorText, RemoteError } from '../../errors.ts'
import type { EngineContext } from './context.ts'

/** Files that are deleted in one go. */
const MOST_AT_ONCE = 200
const LISTED = 2_000
/** A file that could not be deleted is left alone for so long. */
const PAUSE_MS = 10 * 60_000

/** Deletes remote files that are of no more use. */
export class Litter {
  readonly #context: EngineContext
  /** When each that could not be deleted may be tried again, in milliseconds since 1970. */
  readonly #notBefore = new Map<string, number>()

  constructor(context: EngineContext) {
    this.#context = context
  }

  async run(): Promise<void> {
    const { store, stop, clock } = this.#context
    const now = clock.now()
    const litter = await store.litter(LISTED)
    for (const id of this.#notBefore.keys()) if (!litter.includes(id)) this.#notBefore.delete(id)
    const due = litter.filter((id) => (this.#notBefore.get(id) ?? 0) <= now).slice(0, MOST_AT_ONCE)
    const deleted: string[] = []
    for (const id of due) {
      if (stop.aborted) break
      if (await this.#isDeleted(id)) deleted.push(id)
      // What ails one file mostly ails them all.
      else break
    }
    if (deleted.length > 0) await store.forgetLitter(deleted)
  }

  async #isDeleted(id: string): Promise<boolean> {
    const { api, stop, clock, log } = this.#context
    try {
      await api.deleteFile(id, stop)
      return true
    } catch (error) {
      if (!(error instanceof RemoteError)) throw error
      if (stop.aborted) return false
      this.#notBefore.set(id, clock.now() + PAUSE_MS)
      log.warn('not_deleted', { file: id, reason: errorText(error) })
      return false
    }
  }
}
